//! Errors of encoding and decoding values.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use hypha_wire::{DecodeError, EncodeError};

use super::CallSite;
use super::cause::{Cause, source_of};

/// A value could not be encoded, or a received value does not have the expected type.
///
/// [`source`](std::error::Error::source) is the [`DecodeError`](crate::error::DecodeError) or
/// [`EncodeError`](crate::error::EncodeError), if there is one. It names the types and the position
/// inside the value. Not retryable: the next call would fail in the same way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CodecError {
    /// Names the value and the position inside it. Does not contain the message of the cause.
    pub message: String,
    /// True if a received value was invalid; the method has then run. False if a value could not be
    /// sent; the method did not run.
    pub received: bool,
    /// Call to which the value belongs.
    pub call: CallSite,
    source: Option<Cause>,
}

impl CodecError {
    /// Creates the error for a received value that was decoded, but violates the contract.
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
            source: Some(Arc::new(error)),
            ..CodecError::unsendable(message, call)
        }
    }

    pub(crate) fn with_cause(mut self, cause: Option<Cause>) -> Self {
        self.source = cause;
        self
    }
}

/// Returns the message for a received value of another type than expected. `what` names the value.
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
