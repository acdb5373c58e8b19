//! Defines the error types of methods, and converts errors to and from the form in which they are
//! sent.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;

use hypha_wire::WireError;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::Error;
use super::cause::{RemoteCause, caused_by, texts};

/// Error type of a service method.
///
/// Derive this trait with [`#[derive(RemoteError)]`](derive@crate::RemoteError). A caller in Rust
/// then gets the value in [`Error::Service`]. The types `String`, `anyhow::Error`, `Box<dyn Error +
/// Send + Sync>` and `std::io::Error` implement this trait as well. Only the message of such an
/// error is sent, and the caller gets [`Error::Remote`]. For the last three types, the causes are
/// sent too, as strings. [`Error`] also implements this trait, so a method can return the error of
/// another service with `?`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a service method",
    label = "this error cannot be sent to callers",
    note = "add `#[derive(hypha_rpc::RemoteError)]` to the type, or use `anyhow::Error` and lose the type"
)]
pub trait ServiceError: Sized {
    /// Converts the error to the form that is sent. The [`backtrace`](WireError::backtrace) is sent
    /// only if the service [allows it](crate::Service::send_backtraces).
    fn to_wire(self) -> WireError;
    /// Converts a received error to this type. Returns `None` if the received error has another
    /// type.
    fn from_wire(error: &WireError) -> Option<Self>;

    /// Returns the cause of the error. It is also the [`source`](StdError::source) of an
    /// [`Error::Service`] that contains the error. With the derive macro, it is the source of the
    /// error. The default implementation returns `None`.
    fn error_source(&self) -> Option<&(dyn StdError + 'static)> {
        None
    }

    /// Returns the schema of the data in the error. Returns `None` if the error cannot occur, or if
    /// the error does not appear in schemas. The default implementation describes a string, for
    /// errors that have only a message.
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

/// Sends the error of another service to the caller. [`Error::Service`] and [`Error::Remote`] are
/// sent as the other service sent them, with the name, the data and the causes. So a caller whose
/// contract has the error type of the other service receives [`Error::Service`]. For the remaining
/// variants, only the message is sent, which includes the causes. If a method returns `Error<E>`,
/// the caller receives each variant as [`Error::Remote`].
impl<E: ServiceError + fmt::Display> ServiceError for Error<E> {
    fn to_wire(self) -> WireError {
        match self {
            Error::Service(error) => error.to_wire(),
            Error::Remote(error) => {
                let mut wire = WireError::new(match &error.class {
                    Some(class) => format!("{class}: {}", error.message),
                    None => error.message,
                });
                // The trace may contain stack frames that the peer sent only to this program. Send
                // the trace as a backtrace, so that callers receive it only if this service allows
                // it.
                wire.backtrace = Some(error.trace)
                    .filter(|trace| !trace.is_empty())
                    .map(Into::into);
                // Names that begin with `hypha.` are refusals of the runtime. This method has run,
                // so its caller must not get a refusal.
                wire.name = error.name.filter(|name| !name.starts_with("hypha."));
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

    fn error_source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause()
    }
}

/// Returns an error with `message` and a chain of causes. `cause` is the first cause. The trace
/// also contains the causes, because clients in other languages read only the trace.
fn with_causes(message: String, cause: Option<&(dyn StdError + 'static)>) -> WireError {
    let causes = texts(&message, cause);
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
    ($($ty:ty => |$e:ident| $wire:expr, $source:expr;)*) => {$(
        impl ServiceError for $ty {
            fn to_wire(self) -> WireError {
                let $e = self;
                $wire
            }
            fn from_wire(_: &WireError) -> Option<Self> {
                None
            }
            fn error_source(&self) -> Option<&(dyn StdError + 'static)> {
                let $e = self;
                $source
            }
        }
    )*};
}

untyped! {
    String => |e| WireError::new(e), { let _ = e; None };
    anyhow::Error => |e| {
        let mut wire = with_causes(e.to_string(), e.source());
        wire.backtrace = frames(e.backtrace());
        wire
    }, e.source();
    Box<dyn StdError + Send + Sync> => |e| with_causes(e.to_string(), e.source()), e.source();
    std::io::Error => |e| with_causes(e.to_string(), e.source()), e.source();
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
        assert_eq!(super::super::report(&error), "a: b: c");
        let wire = error.to_wire();
        assert_eq!((wire.message.as_str(), wire.trace.as_str()), ("a", ""));
        assert_eq!(wire.causes, ["b", "c"]);
        assert!(wire.backtrace.is_some_and(|frames| frames.contains("x.py")));
    }

    #[test]
    fn names_of_refusals_are_not_passed_on() {
        for (name, sent) in [("hypha.Busy", None), ("Lab.Off", Some("Lab.Off"))] {
            let mut wire = WireError::new("a");
            wire.name = Some(name.into());
            let error = crate::error::RemoteError::of(wire, super::super::CallSite::default());
            let error = <Error>::Remote(Box::new(error)).to_wire();
            assert_eq!(error.name.as_deref(), sent);
        }
    }

    #[test]
    fn errors_of_every_type_have_the_source_of_the_contained_error() {
        fn source<E>(error: E) -> Option<String>
        where
            E: ServiceError + fmt::Debug + fmt::Display + 'static,
        {
            let error = Error::Service(error);
            let source = StdError::source(&error).map(ToString::to_string);
            assert_eq!(source.as_slice(), error.to_wire().causes);
            source
        }
        let failed = || anyhow::anyhow!("no calibration").context("cannot start");
        let expected = Some("no calibration".to_owned());
        assert_eq!(source(failed()), expected);
        let boxed: Box<dyn StdError + Send + Sync> = failed().into();
        assert_eq!(source(boxed), expected);
        assert_eq!(source(std::io::Error::other(failed())), expected);
        assert_eq!(source(Error::Service(failed())), expected);
        assert_eq!(source("cannot start".to_owned()), None);
        assert!(StdError::source(&<Error>::Invalid("a".into())).is_none());
    }
}
