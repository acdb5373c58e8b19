//! Defines the error of a method that failed, and converts received errors to [`Error`].

use hypha_wire::{Value, WireError};

use super::cause::RemoteCause;
use super::{CallSite, Error, RejectKind, Rejection, ServiceError, class};

/// Error of a called method that is not of the error type in the contract
/// (`docs/protocol/02-messages.md#s8`).
///
/// [`source`](std::error::Error::source) returns the causes that a Rust peer sent, or the
/// exceptions before the last one in the traceback of a Python peer, at most 16.
/// [`trace`](Self::trace) contains the same causes as a string. The JavaScript client does not send
/// causes.
///
/// The method has run, at least in part. The error is not retryable, because the method itself has
/// failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
#[error("{}{}{message}", call.prefix(), self.class_prefix())]
pub struct RemoteError {
    /// Message of the error, without the class and the trace.
    pub message: String,
    /// Class of the exception, such as `ValueError`, `TypeError` or `Error`, if the peer sent it.
    pub class: Option<String>,
    /// Name of a typed error of a Rust peer, such as `CalcError.TooLarge`.
    pub name: Option<String>,
    /// Stack trace that the peer sent. Empty if the peer sent none. A Rust peer sends stack frames
    /// only if the called service [allows it](crate::Service::send_backtraces).
    pub trace: String,
    /// Content of a typed error of a Rust peer. Decode it with [`Value::decode_as`].
    pub data: Option<Value>,
    /// Call that failed. Empty for the error of another call that [`Error::untyped`] converted.
    pub call: CallSite,
    /// Causes that a Rust peer sent, or that a traceback contains.
    #[source]
    pub(super) cause: Option<Box<RemoteCause>>,
}

/// Converts the argument of a `reject` message to the error that the caller gets. First checks
/// whether the argument is a rejection. Then tries to decode the error type of the contract. If
/// both fail, returns a [`RemoteError`].
pub(crate) fn from_wire<E: ServiceError>(error: WireError, call: CallSite) -> Error<E> {
    let (_, message) = class::split(&error, &[]);
    let kind = match &error.name {
        Some(name) => RejectKind::from_wire_name(name),
        None => RejectKind::from_text(&message, &call),
    };
    // Check for rejections first, because the method did not run in this case. An error type with
    // an `other` variant would match every error, including rejections.
    if let Some(kind) = kind {
        return Error::Rejected(Rejection {
            kind,
            message,
            call,
        });
    }
    if let Some(own) = E::from_wire(&error) {
        return Error::Service(own);
    }
    Error::Remote(Box::new(RemoteError::of(error, call)))
}

impl RemoteError {
    /// Returns the class or the name, with a colon. Empty if the error has neither.
    fn class_prefix(&self) -> String {
        let class = self.class.as_ref().or(self.name.as_ref());
        class.map(|class| format!("{class}: ")).unwrap_or_default()
    }

    /// Converts an error on the wire, of the call `call`.
    pub(super) fn of(error: WireError, call: CallSite) -> RemoteError {
        let (class, message) = class::split(&error, &[]);
        let causes = match error.causes.is_empty() {
            true => class::causes(&error),
            false => error.causes,
        };
        RemoteError {
            message,
            class,
            name: error.name,
            trace: error.trace,
            data: error.data.map(|data| *data),
            call,
            cause: RemoteCause::chain(causes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn wire(message: &str, trace: &str) -> WireError {
        let mut error = WireError::new(message);
        error.trace = trace.into();
        error
    }

    #[test]
    fn refusals_are_recognised_in_every_form() {
        let call = |method: &str| CallSite {
            method: method.into(),
            peer: "ws/c".into(),
        };
        let traceback = "Traceback (most recent call last):\n  File\nPermissionError: Permission \
                         denied for invoking protected method a/b:services.x.y, workspace \
                         mismatch: a != b\n";
        let cases = [
            (
                "Method expired or not found: a/b:services.x.y",
                "x.y",
                RejectKind::UnknownMethod,
            ),
            (
                "KeyError: 'Service not found: x'",
                "built-in.get_service",
                RejectKind::UnknownService,
            ),
            (
                "Target peer ws/c is not connected",
                "x.y",
                RejectKind::PeerNotConnected,
            ),
            (traceback, "x.y", RejectKind::PermissionDenied),
        ];
        for (text, method, kind) in cases {
            match from_wire::<Infallible>(wire(text, ""), call(method)) {
                Error::Rejected(r) => assert_eq!(r.kind, kind),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn exceptions_of_a_method_are_not_refusals() {
        for text in [
            "PermissionError: Permission denied for dataset",
            "KeyError: 'Service not found: x'",
            "Method expired or not found: a/b:services.other.method",
            "Target peer of the telescope is not connected",
        ] {
            let call = CallSite {
                method: "x.y".into(),
                peer: "ws/c".into(),
            };
            let error = from_wire::<Infallible>(wire(text, ""), call);
            assert!(
                matches!(error, Error::Remote(_)) && error.may_have_run(),
                "{error:?}"
            );
        }
    }
}
