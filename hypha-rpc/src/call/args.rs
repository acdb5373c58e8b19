//! The [`args!`](crate::args) macro.

/// Encodes the arguments of a call for [`RemoteService::call`](crate::RemoteService::call).
/// Positional arguments come first, followed by named arguments of the form `name = value`. A name
/// that is not an identifier is a string: `"with-dash" = value`.
///
/// Values are encoded immediately, so they may be borrowed. If a value cannot be encoded, the call
/// fails with [`Error::Codec`](crate::Error::Codec), which names the value.
///
/// # Examples
///
/// ```
/// use hypha_rpc::args;
///
/// let image = vec![0u8; 16];
/// let _none = args!();
/// let _two = args!(1.5, "text");
/// let _mixed = args!(&image, sigma = 2.0, edge = "wrap");
/// let _dash = args!(&image, "edge-mode" = "wrap");
/// ```
#[macro_export]
macro_rules! args {
    (@push $args:ident ;) => {};
    (@push $args:ident ; $name:ident = $value:expr $(, $($rest:tt)*)?) => {
        $args.push_named(::core::stringify!($name).trim_start_matches("r#"), &$value);
        $crate::args!(@push $args ; $($($rest)*)?);
    };
    (@push $args:ident ; $name:literal = $value:expr $(, $($rest:tt)*)?) => {
        $args.push_named($name, &$value);
        $crate::args!(@push $args ; $($($rest)*)?);
    };
    (@push $args:ident ; $value:expr $(, $($rest:tt)*)?) => {
        $args.push(::core::stringify!($value), &$value);
        $crate::args!(@push $args ; $($($rest)*)?);
    };
    ($($tokens:tt)*) => {{
        // The variable has a reserved name, because a user may have a constant named `args`. A
        // `let` with the name `args` would then match against the constant instead of declaring a
        // variable.
        #[allow(unused_mut)]
        let mut __args = $crate::Args::new(0, 0);
        $crate::args!(@push __args ; $($tokens)*);
        __args
    }};
}
