//! Errors of encoding and decoding values.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use hypha_wire::{DecodeError, EncodeError};

use super::CallSite;
use super::cause::{Cause, source_of};

/// A value cannot be encoded, or a received one does not have the expected type.
///
/// [`source`](std::error::Error::source) is the [`DecodeError`](crate::error::DecodeError) or
/// [`EncodeError`](crate::error::EncodeError), if there is one. It names the types and the position
/// inside the value. Not retryable: the types of the two sides differ, or the value cannot be sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CodecError {
    /// Description of the value that does not fit and of the position inside it, without the
    /// message of the cause.
    pub message: String,
    /// True if a received value does not fit; then the method has run. False if a value could not
    /// be sent; then the method did not run.
    pub received: bool,
    /// The call that the value belongs to.
    pub call: CallSite,
    source: Option<Cause>,
}

impl CodecError {
    /// Creates the error for a received value that can be decoded, but violates the contract.
    pub(crate) fn unfit(message: impl Into<String>, call: CallSite) -> Self {
        CodecError {
            message: message.into(),
            received: true,
            call,
            source: None,
        }
    }

    /// Creates the error for a received value that cannot be decoded; `what` names it.
    pub(crate) fn receiving(what: &str, error: DecodeError, call: CallSite) -> Self {
        CodecError {
            source: Some(Arc::new(error.clone())),
            ..CodecError::unfit(unfit_message(what, &error), call)
        }
    }

    /// Creates the error for a value that cannot be sent for a reason other than encoding, such as
    /// its size.
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

/// Returns the message for a received value that does not have the expected type. `what` names the
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
