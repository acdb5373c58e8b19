//! Errors that occur when a value is encoded or decoded.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use hypha_wire::{DecodeError, EncodeError};

use super::CallSite;
use super::cause::{Cause, source_of};

/// A value could not be encoded, or a received value does not have the expected type.
///
/// [`source`](std::error::Error::source) returns the [`DecodeError`](crate::error::DecodeError) or
/// [`EncodeError`](crate::error::EncodeError), if there is one. That error names the types and the
/// position inside the value. This error is not retryable, because the next call would fail in the
/// same way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CodecError {
    /// Message that names the value and the position inside the value. Does not contain the message
    /// of the cause.
    pub message: String,
    /// Whether the value was received. If true, a received value was invalid, and the method has
    /// run. If false, a value could not be sent, and the method did not run.
    pub received: bool,
    /// Call in which the value was an argument or a result.
    pub call: CallSite,
    source: Option<Cause>,
}

impl CodecError {
    /// Creates the error for a received value that can be decoded but violates the contract.
    pub(crate) fn unfit(message: impl Into<String>, call: CallSite) -> Self {
        CodecError {
            message: message.into(),
            received: true,
            call,
            source: None,
        }
    }

    /// Creates the error for a received value that cannot be decoded. `what` names the value.
    pub(crate) fn receiving(what: &str, error: DecodeError, call: CallSite) -> Self {
        CodecError {
            source: Some(Arc::new(error.clone())),
            ..CodecError::unfit(unfit_message(what, &error), call)
        }
    }

    /// Creates the error for a value that cannot be sent although it can be encoded, for example
    /// because it is too large.
    pub(crate) fn unsendable(message: impl Into<String>, call: CallSite) -> Self {
        CodecError {
            message: message.into(),
            received: false,
            call,
            source: None,
        }
    }

    /// Creates the error for a value that cannot be encoded.
    pub(crate) fn sending(error: EncodeError, call: CallSite) -> Self {
        let message = match error.argument() {
            Some(argument) => format!("argument `{argument}` cannot be sent"),
            None => "the value cannot be sent".to_owned(),
        };
        CodecError {
            // The message names the argument already.
            source: Some(Arc::new(error.short())),
            ..CodecError::unsendable(message, call)
        }
    }

    pub(crate) fn with_cause(mut self, cause: Option<Cause>) -> Self {
        self.source = cause;
        self
    }
}

/// Returns the message for a received value whose type is not the expected type. `what` names the
/// value.
pub(crate) fn unfit_message(what: &str, error: &DecodeError) -> String {
    match error.path() {
        path if path.is_empty() => format!("{what} is not of the expected type"),
        path => format!("{what} is not of the expected type at `{path}`"),
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.message)
    }
}

impl Error for CodecError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        source_of(&self.source)
    }
}
