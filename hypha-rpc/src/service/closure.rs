//! Creates methods from closures: contains the macro [`method!`](crate::method) and the functions
//! that its expansion calls.

use std::convert::Infallible;

use super::IncomingCall;
use super::macro_support::{ErrorOf, ReturnOf, ServiceResult};
use crate::error::ServiceError;
use hypha_wire::{Args, Binary, WireError};

/// Creates a [`Method`](crate::service::Method) from a closure with typed arguments, for services
/// without a contract.
///
/// The macro takes an optional doc comment, the name of the method, and the closure. The macro
/// generates the schema from the argument names and types of the closure and from the doc comments.
/// Callers pass arguments by position or by name.
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
/// * An argument can have any type that is allowed in a contract, except a borrowed type: write
///   `String` instead of `&str`. Callers may omit an `Option`.
/// * If the first argument is written `ctx: Context`, it receives the [`Context`](crate::Context)
///   of the call. This argument is not part of the schema.
/// * The result is any type that is allowed in a contract, or a `Result` of such a type and an
///   error that implements [`ServiceError`](crate::ServiceError).
/// * A stream is returned as `RemoteStream::<u32>::new(stream)`.
/// * The closure may be `async |x: f64| ..` or `async move |x: f64| ..` instead. It then lends its
///   captured variables to the calls.
/// * The closure runs for each call, and calls run concurrently. Without `async`, clone captured
///   variables for the future: `move |x: f64| { let stage = stage.clone(); async move { .. } }`.
#[macro_export]
macro_rules! method {
    ($(#[doc = $doc:expr])* $name:literal, async move $($closure:tt)+) => {
        $crate::method!(@closure [$($doc)*] [$name] [async move] $($closure)+)
    };
    ($(#[doc = $doc:expr])* $name:literal, async $($closure:tt)+) => {
        $crate::method!(@closure [$($doc)*] [$name] [async] $($closure)+)
    };
    ($(#[doc = $doc:expr])* $name:literal, move $($closure:tt)+) => {
        $crate::method!(@closure [$($doc)*] [$name] [move] $($closure)+)
    };
    ($(#[doc = $doc:expr])* $name:literal, | $($closure:tt)+) => {
        $crate::method!(@closure [$($doc)*] [$name] [] | $($closure)+)
    };
    ($(#[doc = $doc:expr])* $name:literal, || $($closure:tt)+) => {
        $crate::method!(@closure [$($doc)*] [$name] [] || $($closure)+)
    };
    (@closure $docs:tt $name:tt $keywords:tt || $($body:tt)+) => {
        $crate::method!(@build $docs $name $keywords [] [] $($body)+)
    };
    (
        @closure $docs:tt $name:tt $keywords:tt
        | $ctx:ident : Context $(, $(#[doc = $doc:expr])* $arg:ident : $ty:ty)* $(,)? | $($body:tt)+
    ) => {
        $crate::method!(
            @build $docs $name $keywords [$ctx] [$({[$($doc)*] $arg, $ty})*] $($body)+
        )
    };
    (
        @closure $docs:tt $name:tt $keywords:tt
        | $($(#[doc = $doc:expr])* $arg:ident : $ty:ty),* $(,)? | $($body:tt)+
    ) => {
        $crate::method!(@build $docs $name $keywords [] [$({[$($doc)*] $arg, $ty})*] $($body)+)
    };
    (
        @build [$($doc:expr)*] [$name:expr] [$($keyword:ident)*] [$($ctx:ident)?]
        [$({[$($arg_doc:expr)*] $arg:ident, $ty:ty})*] $($body:tt)+
    ) => {{
        #[allow(unused_imports, reason = "which of them are used depends on the types")]
        use $crate::__private::{
            AnyArgument as _, AnyError as _, AnyReturn as _, BytesReturn as _, ClosureBytes as _,
            ClosureOutcome as _, ClosureResult as _, ClosureValue as _, ClosureReturn as _,
            ErrorSchema as _, SchemaReturn as _,
        };
        const __NAMES: &[&str] = &[$($crate::__private::unraw(::core::stringify!($arg))),*];
        let __function = $($keyword)* |
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
        // This closure is never called. It exists because the compiler infers the result type of
        // the method from it.
        #[allow(
            unreachable_code, unused_variables, clippy::diverging_sub_expression,
            reason = "the arguments are never made"
        )]
        let __returned = $crate::__private::returned(|| {
            $(let $ctx: $crate::Context = ::core::unreachable!();)?
            $(let $arg: $ty = ::core::unreachable!();)*
            __function($($ctx,)? $($arg),*)
        });
        let __schema = (&&&__returned.success()).result(__schema);
        let __schema = (&&__returned.failure()).error(__schema).finish();
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
    ($($other:tt)*) => {
        ::core::compile_error!(
            "`method!` takes a name and a closure whose arguments have types, such as \
             `method!(\"add\", move |a: f64, b: f64| async move { a + b })`; clone captured \
             variables before the macro"
        )
    };
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

/// Sets the description of a method, if `doc` is not empty.
#[must_use]
pub fn documented(method: super::Method, doc: String) -> super::Method {
    match doc.is_empty() {
        true => method,
        false => method.doc(doc),
    }
}

/// Returns a marker for the result type of a closure. Does not call the closure.
#[must_use]
pub fn returned<T>(_: impl FnOnce() -> T) -> ReturnOf<T::Output>
where
    T: ClosureFuture,
{
    ReturnOf::new()
}

/// Trait of the future that the closure of a method returns. All futures implement this trait. The
/// trait exists only to improve the error message of the compiler.
#[diagnostic::on_unimplemented(
    message = "the closure of `method!` must return a future, and `{Self}` is not a future",
    label = "this closure is not asynchronous",
    note = "write `|argument: T| async move {{ .. }}`, or `async |argument: T| ..`"
)]
pub trait ClosureFuture: Future {}

#[diagnostic::do_not_recommend]
impl<F: Future> ClosureFuture for F {}

/// Provides markers for the success type and the error type of a `Result`. [`ClosureReturn`]
/// handles all other types. Method lookup prefers this trait to [`ClosureReturn`], because calling
/// a method of this trait needs no extra reference.
pub trait ClosureResult {
    /// Type of the successful result.
    type Success;
    /// Type of the error.
    type Failure;

    /// Returns the marker for the type of the successful result.
    fn success(self) -> ReturnOf<Self::Success>;

    /// Returns the marker for the type of the error.
    fn failure(self) -> ErrorOf<Self::Failure>;
}

impl<T, E> ClosureResult for ReturnOf<Result<T, E>> {
    type Success = T;
    type Failure = E;

    fn failure(self) -> ErrorOf<E> {
        ErrorOf::new()
    }

    fn success(self) -> ReturnOf<T> {
        ReturnOf::new()
    }
}

/// Provides markers for a result type that is not a `Result`. See [`ClosureResult`].
pub trait ClosureReturn {
    /// Type of the result.
    type Success;

    /// Returns the marker for the type of the result.
    fn success(self) -> ReturnOf<Self::Success>;

    /// Returns the marker for an error that cannot occur.
    fn failure(self) -> ErrorOf<Infallible>;
}

impl<T> ClosureReturn for &ReturnOf<T> {
    type Success = T;

    fn failure(self) -> ErrorOf<Infallible> {
        ErrorOf::new()
    }

    fn success(self) -> ReturnOf<T> {
        ReturnOf::new()
    }
}

/// Output of a closure, which `reply` encodes. Method lookup chooses [`ClosureOutcome`] for a
/// `Result`, [`ClosureBytes`] for `bytes::Bytes`, and [`ClosureValue`] for all other types. The
/// methods of these traits have the bounds, so that the compiler reports a type that does not
/// satisfy them. If the impls had the bounds, the compiler would silently try the next trait.
#[derive(Debug)]
pub struct ClosureOutput<T>(pub T);

/// Encodes a `Result`. See [`ClosureOutput`].
pub trait ClosureOutcome {
    /// Type of the successful result.
    type Success;
    /// Type of the error.
    type Error;

    /// Encodes the output.
    ///
    /// # Errors
    ///
    /// Returns the error of the closure, or an error if the result cannot be encoded.
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

/// Encodes `bytes::Bytes`. See [`ClosureOutput`].
pub trait ClosureBytes {
    /// Encodes the output.
    ///
    /// # Errors
    ///
    /// Returns an error if the output cannot be encoded.
    fn reply(self, call: &IncomingCall) -> Result<Args, WireError>;
}

impl ClosureBytes for ClosureOutput<bytes::Bytes> {
    fn reply(self, call: &IncomingCall) -> Result<Args, WireError> {
        call.reply(&Binary(self.0))
    }
}

/// Encodes a value of any other type. See [`ClosureOutput`].
pub trait ClosureValue {
    /// Type of the result.
    type Value;

    /// Encodes the output.
    ///
    /// # Errors
    ///
    /// Returns an error if the output cannot be encoded.
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
