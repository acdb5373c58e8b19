//! Calls whose connection or peer was lost before the response.

use std::error::Error;
use std::fmt;

use super::CallSite;
use super::cause::{Cause, source_of};

/// The connection or the peer was lost before a response arrived.
///
/// [`lost`](Self::lost) names the lost part, which determines whether a new call may succeed.
/// [`may_have_run`](Self::may_have_run) states whether the method may have run.
///
/// [`source`](std::error::Error::source) is the failure of the link, if there was one: an
/// [`io::Error`](std::io::Error), or the error of the WebSocket or HTTP library. If the connection
/// was closed because the server rejected a reconnect, the source is that
/// [`ConnectError`](super::ConnectError).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Disconnected {
    /// Lost part: the peer, the link or the connection.
    pub lost: Lost,
    /// Description of the failure. Does not contain the message of the cause.
    pub reason: String,
    /// True if the request was sent, so that the method may have run. Repeat the call only if
    /// running the method twice does no harm.
    pub may_have_run: bool,
    /// The call that was interrupted.
    pub call: CallSite,
    source: Option<Cause>,
}

/// Lost part of a [`Disconnected`] call: the peer, the link or the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lost {
    /// The peer disconnected from the server, but this client is still connected. Retryable: the
    /// next call looks up the service again. It succeeds if any client provides the service,
    /// including the same peer after a reconnect.
    Peer,
    /// The link to the server was lost, and the client is opening another link. Retryable: a new
    /// call waits for that link.
    Link,
    /// The connection is permanently closed. [`Client::closed`](crate::Client::closed) returns the
    /// reason. Not retryable: connect again.
    Connection,
}

impl Lost {
    /// Returns whether a new call on the same [`Client`](crate::Client) may succeed.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Lost::Peer | Lost::Link)
    }
}

impl Disconnected {
    pub(crate) fn new(
        lost: Lost,
        reason: impl Into<String>,
        may_have_run: bool,
        call: CallSite,
    ) -> Self {
        Disconnected {
            lost,
            reason: reason.into(),
            may_have_run,
            call,
            source: None,
        }
    }

    pub(crate) fn with_cause(mut self, cause: Option<Cause>) -> Self {
        self.source = cause;
        self
    }
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.reason)?;
        match self.may_have_run {
            true => f.write_str(" (it may have run)"),
            false => Ok(()),
        }
    }
}

impl Error for Disconnected {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        source_of(&self.source)
    }
}
