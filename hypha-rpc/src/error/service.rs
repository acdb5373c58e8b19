//! Error types of methods, and their conversion to and from the error on the wire.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;

use hypha_wire::WireError;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::Error;
use super::cause::{RemoteCause, caused_by};

/// Error type of a service method.
///
/// Derive it with [`#[derive(RemoteError)]`](derive@crate::RemoteError). Callers in Rust then get
/// the value as [`Error::Service`]. Types with only a message (`String`, `anyhow::Error`, `Box<dyn
/// Error + Send + Sync>`, `std::io::Error`) arrive as [`Error::Remote`]. The last three also send
/// their causes, as strings. [`Error`] implements this trait too, so a method can return the error
/// of another service with `?`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a service method",
    label = "this error cannot be sent to callers",
    note = "add `#[derive(hypha_rpc::RemoteError)]` to the type, or use `anyhow::Error` and lose the type"
)]
pub trait ServiceError: Sized {
    /// Converts the error to the form that is sent. The [`backtrace`](WireError::backtrace) is sent
    /// only if the service [allows it](crate::Service::send_backtraces).
    fn to_wire(self) -> WireError;
    /// Converts a received error to this type. Returns `None` if it is another error.
    fn from_wire(error: &WireError) -> Option<Self>;

    /// Returns the schema of the data of the error, or `None` if the error cannot occur or schemas
    /// leave it out. The default describes a string, for errors that have only a message.
    #[doc(hidden)]
    #[must_use]
    fn describe(_: &mut SchemaGenerator) -> Option<Schema> {
        Some(json_schema!({ "type": "string" }))
    }
}

impl ServiceError for Infallible {
    fn to_wire(self) -> WireError {
        match self {}
    }
    fn from_wire(_: &WireError) -> Option<Self> {
        None
    }
    fn describe(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }
}

/// Forwards the error of another service. The caller receives each variant as [`Error::Remote`].
/// The causes of an [`Error::Remote`] are sent as a list. The messages of the other variants
/// include their causes.
impl<E: fmt::Display> ServiceError for Error<E> {
    fn to_wire(self) -> WireError {
        match self {
            Error::Remote(error) => {
                let mut wire = WireError::new(match &error.class {
                    Some(class) => format!("{class}: {}", error.message),
                    None => error.message,
                });
                // The trace may contain stack frames, which the peer sent only to this program. As
                // a backtrace, they are sent only if this service allows it.
                wire.backtrace = Some(error.trace)
                    .filter(|trace| !trace.is_empty())
                    .map(Into::into);
                wire.data = error.data.map(Box::new);
                wire.causes = RemoteCause::texts(error.cause);
                wire
            }
            other => WireError::new(other.text_with_causes()),
        }
    }

    fn from_wire(_: &WireError) -> Option<Self> {
        None
    }
}

/// Returns an error with `message` and the chain of causes that starts with `cause`. The trace
/// contains the causes too, because clients in other languages read only the trace.
fn with_causes(message: String, cause: Option<&(dyn StdError + 'static)>) -> WireError {
    let chain = std::iter::successors(cause, |&cause| cause.source());
    let causes: Vec<String> = chain.map(ToString::to_string).collect();
    let trace = match causes.is_empty() {
        true => String::new(),
        false => format!("{message}\n\n{}", caused_by(&causes)),
    };
    let mut wire = WireError::new(message);
    wire.trace = trace;
    wire.causes = causes;
    wire
}

macro_rules! untyped {
    ($($ty:ty => |$e:ident| $wire:expr;)*) => {$(
        impl ServiceError for $ty {
            fn to_wire(self) -> WireError {
                let $e = self;
                $wire
            }
            fn from_wire(_: &WireError) -> Option<Self> {
                None
            }
        }
    )*};
}

untyped! {
    String => |e| WireError::new(e);
    anyhow::Error => |e| {
        let mut wire = with_causes(e.to_string(), e.chain().nth(1));
        wire.backtrace = frames(e.backtrace());
        wire
    };
    Box<dyn StdError + Send + Sync> => |e| with_causes(e.to_string(), e.source());
    std::io::Error => |e| with_causes(e.to_string(), e.source());
}

/// Returns the stack frames, if they were captured.
fn frames(backtrace: &Backtrace) -> Option<Box<str>> {
    match backtrace.status() {
        BacktraceStatus::Captured => Some(format!("\nStack backtrace:\n{backtrace}").into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_chain_of_causes_is_sent_and_frames_are_kept_apart() {
        let io = std::io::Error::from(std::io::ErrorKind::NotFound);
        let failed: Result<(), _> = Err(io);
        let error = failed.context("no calibration").context("cannot start");
        let wire = error.expect_err("fails").to_wire();
        assert_eq!(wire.message, "cannot start");
        assert_eq!(wire.causes, ["no calibration", "entity not found"]);
        assert_eq!(
            wire.trace,
            "cannot start\n\nCaused by:\n    0: no calibration\n    1: entity not found\n"
        );
        let wire = anyhow::anyhow!("alone").to_wire();
        assert_eq!((wire.trace.as_str(), wire.causes.len()), ("", 0));
        let frames = frames(&Backtrace::force_capture()).expect("captured");
        assert!(frames.starts_with("\nStack backtrace:\n"), "{frames}");
        assert!(frames.contains("frames_are_kept_apart"), "{frames}");
    }

    #[test]
    fn the_causes_of_another_service_are_passed_on_without_its_frames() {
        let mut error = WireError::new("a");
        error.trace = "Traceback (most recent call last):\n  File \"x.py\"\n".into();
        error.causes = vec!["b".into(), "c".into()];
        let call = super::super::CallSite::default();
        let error = super::super::from_wire::<Infallible>(error, call);
        assert_eq!(super::super::report(&error), "call: a: b: c");
        let wire = error.to_wire();
        assert_eq!((wire.message.as_str(), wire.trace.as_str()), ("a", ""));
        assert_eq!(wire.causes, ["b", "c"]);
        assert!(wire.backtrace.is_some_and(|frames| frames.contains("x.py")));
    }
}
