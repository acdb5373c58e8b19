//! Methods made of closures: the macro [`method!`](crate::method), and the code that it expands to.

use super::IncomingCall;
use super::macro_support::{ReturnOf, ServiceResult};
use crate::error::ServiceError;
use hypha_wire::{Args, Binary, WireError};

/// A [`Method`](crate::service::Method) made of a closure with typed arguments, for services
/// without a contract.
///
/// The name of the method comes first, after an optional doc comment, then the closure. The names
/// and types of its arguments are those of the method, and its schema is made of them, with the doc
/// comments. Callers pass them by position or by name.
///
/// ```
/// use hypha_rpc::prelude::*;
///
/// let lab = Service::new("lab")
///     .method(method!("add", |a: f64, b: f64| async move { a + b }))
///     .method(method!(
///         /// Divides one number by another.
///         "divide",
///         |a: f64,
///          /// The divisor; 1 if it is left out.
///          b: Option<f64>| async move {
///             match b.unwrap_or(1.0) {
///                 0.0 => Err("division by zero".to_owned()),
///                 b => Ok(a / b),
///             }
///         }
///     ))
///     .method(method!("who", |ctx: Context| async move { ctx.from().to_owned() }));
/// ```
///
/// * Each argument has a type that a contract could have, except for borrowed ones: `String` in
///   place of `&str`. An `Option` may be left out.
/// * A first argument that is written `ctx: Context` is the [`Context`](crate::Context) of the
///   call; callers do not see it.
/// * The result is a type that a contract could return, or a `Result` with one and an error that
///   [`ServiceError`](crate::ServiceError) is implemented for.
/// * The closure runs for each call, and calls run at the same time. What it captures is cloned
///   into the future: `move |x: f64| { let stage = stage.clone(); async move { .. } }`.
#[macro_export]
macro_rules! method {
    ($(#[doc = $doc:expr])* $name:literal, move $($closure:tt)+) => {
        $crate::method!(@closure [$($doc)*] [$name] [move] $($closure)+)
    };
    ($(#[doc = $doc:expr])* $name:literal, | $($closure:tt)+) => {
        $crate::method!(@closure [$($doc)*] [$name] [] | $($closure)+)
    };
    ($(#[doc = $doc:expr])* $name:literal, || $($closure:tt)+) => {
        $crate::method!(@closure [$($doc)*] [$name] [] || $($closure)+)
    };
    (@closure $docs:tt $name:tt $move:tt || $($body:tt)+) => {
        $crate::method!(@build $docs $name $move [] [] $($body)+)
    };
    (
        @closure $docs:tt $name:tt $move:tt
        | $ctx:ident : Context $(, $(#[doc = $doc:expr])* $arg:ident : $ty:ty)* $(,)? | $($body:tt)+
    ) => {
        $crate::method!(
            @build $docs $name $move [$ctx] [$({[$($doc)*] $arg, $ty})*] $($body)+
        )
    };
    (
        @closure $docs:tt $name:tt $move:tt
        | $($(#[doc = $doc:expr])* $arg:ident : $ty:ty),* $(,)? | $($body:tt)+
    ) => {
        $crate::method!(@build $docs $name $move [] [$({[$($doc)*] $arg, $ty})*] $($body)+)
    };
    (
        @build [$($doc:expr)*] [$name:expr] [$($move:ident)?] [$($ctx:ident)?]
        [$({[$($arg_doc:expr)*] $arg:ident, $ty:ty})*] $($body:tt)+
    ) => {{
        #[allow(unused_imports, reason = "which of them are used depends on the types")]
        use $crate::__private::{
            AnyArgument as _, AnyReturn as _, BytesReturn as _, ClosureBytes as _,
            ClosureOutcome as _, ClosureResult as _, ClosureValue as _, ClosureReturn as _,
            SchemaReturn as _,
        };
        const __NAMES: &[&str] = &[$($crate::__private::unraw(::core::stringify!($arg))),*];
        let __function = $($move)? |
            $($ctx: $crate::Context,)? $($arg: $ty),*
        | $($body)+;
        let __name = ::std::string::String::from($name);
        let __doc = $crate::__private::joined_docs(&[$($doc),*]);
        let __schema = $crate::__private::FunctionSchema::new(
            __name.as_str(),
            __doc.as_str(),
        );
        $(
            let __schema = $crate::__private::ArgumentOf::<$ty>::codec().describe(
                __schema,
                $crate::__private::unraw(::core::stringify!($arg)),
                &$crate::__private::joined_docs(&[$($arg_doc),*]),
            );
        )*
        // Never called: it tells the type of the result.
        #[allow(
            unreachable_code, unused_variables, clippy::diverging_sub_expression,
            reason = "the arguments are never made"
        )]
        let __returned = $crate::__private::returned(|| {
            $(let $ctx: $crate::Context = ::core::unreachable!();)?
            $(let $arg: $ty = ::core::unreachable!();)*
            __function($($ctx,)? $($arg),*)
        });
        let __schema = (&&&__returned.success()).result(__schema).finish();
        let __needs_context = false $(|| { ::core::stringify!($ctx); true })?;
        let __function = ::std::sync::Arc::new(__function);
        let __method = $crate::service::Method::new(
            __name,
            move |__call: $crate::service::IncomingCall| {
                let __function = ::std::sync::Arc::clone(&__function);
                async move {
                    let __args = __call.args(__NAMES)?;
                    #[allow(unused_mut, unused_variables, reason = "there may be no argument")]
                    let mut __indexes = 0_usize..;
                    $(
                        let $arg = $crate::__private::ArgumentOf::<$ty>::codec().required(
                            &__args,
                            __indexes.next().unwrap_or_default(),
                        )?;
                    )*
                    $(let $ctx = __call.context().clone();)?
                    let __output = __function($($ctx,)? $($arg),*).await;
                    $crate::__private::ClosureOutput(__output).reply(&__call)
                }
            },
        );
        $crate::__private::documented(__method, __doc)
            .schema(__schema)
            .needs_context(__needs_context)
    }};
}

/// Returns the name of an argument without the `r#` of a raw identifier.
#[must_use]
pub const fn unraw(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', rest @ ..] => match std::str::from_utf8(rest) {
            Ok(name) => name,
            Err(_) => name,
        },
        _ => name,
    }
}

/// Joins the lines of a doc comment.
#[must_use]
pub fn joined_docs(lines: &[&str]) -> String {
    let lines: Vec<&str> = lines
        .iter()
        .flat_map(|line| line.lines())
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .collect();
    lines.join("\n").trim().to_owned()
}

/// Sets the documentation of a method, if there is one.
#[must_use]
pub fn documented(method: super::Method, doc: String) -> super::Method {
    match doc.is_empty() {
        true => method,
        false => method.doc(doc),
    }
}

/// Returns the type of the result of a closure, which is not called.
#[must_use]
pub fn returned<T>(_: impl FnOnce() -> T) -> ReturnOf<T::Output>
where
    T: Future,
{
    ReturnOf::new()
}

/// Takes the type of a `Result` apart. The method of [`ClosureReturn`] is for all other types:
/// method lookup prefers this one, which needs no reference.
pub trait ClosureResult {
    /// Type of the successful result.
    type Success;

    /// Its description.
    fn success(self) -> ReturnOf<Self::Success>;
}

impl<T, E> ClosureResult for ReturnOf<Result<T, E>> {
    type Success = T;

    fn success(self) -> ReturnOf<T> {
        ReturnOf::new()
    }
}

/// See [`ClosureResult`].
pub trait ClosureReturn {
    /// Type of the result.
    type Success;

    /// Its description.
    fn success(self) -> ReturnOf<Self::Success>;
}

impl<T> ClosureReturn for &ReturnOf<T> {
    type Success = T;

    fn success(self) -> ReturnOf<T> {
        ReturnOf::new()
    }
}

/// The output of a closure, which `reply` encodes: as a [`ClosureOutcome`] if it is a `Result`, as
/// [`ClosureBytes`] if it is `bytes::Bytes`, else as a [`ClosureValue`]. The bounds are on the
/// methods, so that a type without them is reported, and not taken for another kind of output.
#[derive(Debug)]
pub struct ClosureOutput<T>(pub T);

/// See [`ClosureOutput`].
pub trait ClosureOutcome {
    /// Type of the successful result.
    type Success;
    /// Type of the error.
    type Error;

    /// Encodes the output.
    ///
    /// # Errors
    ///
    /// That of the closure, or if the result cannot be encoded.
    fn reply(self, call: &IncomingCall) -> Result<Args, WireError>
    where
        Self::Success: ServiceResult,
        Self::Error: ServiceError;
}

impl<T, E> ClosureOutcome for ClosureOutput<Result<T, E>> {
    type Success = T;
    type Error = E;

    fn reply(self, call: &IncomingCall) -> Result<Args, WireError>
    where
        T: ServiceResult,
        E: ServiceError,
    {
        match self.0 {
            Ok(value) => call.reply(&value),
            Err(error) => Err(call.fail(error)),
        }
    }
}

/// See [`ClosureOutput`].
pub trait ClosureBytes {
    /// Encodes the output.
    ///
    /// # Errors
    ///
    /// If it cannot be encoded.
    fn reply(self, call: &IncomingCall) -> Result<Args, WireError>;
}

impl ClosureBytes for ClosureOutput<bytes::Bytes> {
    fn reply(self, call: &IncomingCall) -> Result<Args, WireError> {
        call.reply(&Binary(self.0))
    }
}

/// See [`ClosureOutput`].
pub trait ClosureValue {
    /// Type of the result.
    type Value;

    /// Encodes the output.
    ///
    /// # Errors
    ///
    /// If it cannot be encoded.
    fn reply(self, call: &IncomingCall) -> Result<Args, WireError>
    where
        Self::Value: ServiceResult;
}

impl<T> ClosureValue for &ClosureOutput<T> {
    type Value = T;

    fn reply(self, call: &IncomingCall) -> Result<Args, WireError>
    where
        T: ServiceResult,
    {
        call.reply(&self.0)
    }
}
