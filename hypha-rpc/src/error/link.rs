//! Errors of links.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::ConnectError;
use super::cause::{Cause, source_of};

/// Error of a link to the server. The link was lost, or the link could not be opened.
///
/// A [`Link`](crate::transport::Link) reports one such error and then ends. Calls in flight fail
/// with [`Error::Disconnected`](super::Error::Disconnected). The
/// [`source`](std::error::Error::source) of that error is the cause of this error. The client
/// automatically opens another link.
///
/// Cloning is cheap. Two errors are equal if their messages are equal. The causes are not compared.
#[derive(Clone)]
pub struct LinkError(Arc<Inner>);

enum Inner {
    Broken {
        message: Cow<'static, str>,
        source: Option<Cause>,
    },
    /// The link could not be opened. An existing link can report this error: an HTTP link connects
    /// only when the first frame is sent, after [`Dial`](crate::transport::Dial) has returned the
    /// link.
    NotOpened(ConnectError),
}

impl LinkError {
    /// Creates an error from a message. The message should be in lower case, without a full stop.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        LinkError(Arc::new(Inner::Broken {
            message: message.into(),
            source: None,
        }))
    }

    /// Sets the cause. The message of this error must not repeat the message of the cause, because
    /// [`report`](super::report) prints both.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.with_cause(Some(source.into().into()))
    }

    /// If the link could not be opened, returns the error that occurred. Otherwise returns `None`.
    #[must_use]
    pub fn as_connect_error(&self) -> Option<&ConnectError> {
        match &*self.0 {
            Inner::NotOpened(error) => Some(error),
            Inner::Broken { .. } => None,
        }
    }

    /// Returns an error with the same cause. The message of the returned error consists of `words`
    /// and the message of this error.
    pub(crate) fn context(&self, words: &str) -> Self {
        let cause = match &*self.0 {
            Inner::Broken { source, .. } => source.clone(),
            Inner::NotOpened(error) => error.cause(),
        };
        LinkError::new(format!("{words}: {self}")).with_cause(cause)
    }

    pub(crate) fn with_cause(self, cause: Option<Cause>) -> Self {
        let message = match &*self.0 {
            Inner::Broken { message, .. } => message.clone(),
            Inner::NotOpened(error) => error.to_string().into(),
        };
        LinkError(Arc::new(Inner::Broken {
            message,
            source: cause,
        }))
    }

    pub(crate) fn cause(&self) -> Option<Cause> {
        match &*self.0 {
            Inner::Broken { source, .. } => source.clone(),
            Inner::NotOpened(error) => Some(Arc::new(error.clone())),
        }
    }
}

impl From<String> for LinkError {
    fn from(message: String) -> Self {
        LinkError::new(message)
    }
}

impl From<&'static str> for LinkError {
    fn from(message: &'static str) -> Self {
        LinkError::new(message)
    }
}

impl From<ConnectError> for LinkError {
    fn from(error: ConnectError) -> Self {
        LinkError(Arc::new(Inner::NotOpened(error)))
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Inner::Broken { message, .. } => f.write_str(message),
            Inner::NotOpened(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Inner::Broken { message, source } => f
                .debug_struct("LinkError")
                .field("message", message)
                .field("source", source)
                .finish(),
            Inner::NotOpened(error) => f.debug_tuple("LinkError").field(error).finish(),
        }
    }
}

impl Error for LinkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.0 {
            Inner::Broken { source, .. } => source_of(source),
            Inner::NotOpened(error) => error.source(),
        }
    }
}

impl PartialEq for LinkError {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.to_string() == other.to_string()
    }
}

impl Eq for LinkError {}
