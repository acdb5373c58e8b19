//! Error of a call that lost its connection or its peer before the response arrived.

use std::error::Error;
use std::fmt;

use super::CallSite;
use super::cause::{Cause, source_of};

/// The connection or the peer was lost before a response arrived.
///
/// [`lost`](Self::lost) names the part that was lost. This part determines whether a new call may
/// succeed. [`may_have_run`](Self::may_have_run) tells whether the method may have run.
///
/// If the link has failed, [`source`](std::error::Error::source) returns the cause of the failure.
/// This cause is an [`io::Error`](std::io::Error), or an error of the WebSocket or HTTP library. If
/// the server rejected a reconnect, the source is the [`ConnectError`](super::ConnectError) of that
/// reconnect.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Disconnected {
    /// Part that was lost: the peer, the link or the connection.
    pub lost: Lost,
    /// Description of the failure. The description does not contain the message of the cause.
    pub reason: String,
    /// Whether the request was sent. If true, the method may have run. Then repeat the call only if
    /// running the method twice does no harm.
    pub may_have_run: bool,
    /// The call that was interrupted.
    pub call: CallSite,
    source: Option<Cause>,
}

/// Part that was lost during a call: the peer, the link or the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lost {
    /// The peer has disconnected from the server, but this client is still connected. The error is
    /// retryable, because the next call looks up the service again. The next call succeeds if
    /// another client provides the service, or if the peer has reconnected.
    Peer,
    /// The link to the server was lost, and the client is opening another link. The error is
    /// retryable, because a new call waits for the new link.
    Link,
    /// The connection is permanently closed. [`Client::closed`](crate::Client::closed) returns the
    /// reason. The error is not retryable. Create a new connection.
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
