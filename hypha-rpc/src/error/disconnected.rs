//! Calls whose connection or peer was lost before the response.

use std::error::Error;
use std::fmt;

use super::CallSite;
use super::cause::{Cause, source_of};

/// The connection, or the peer behind it, was lost before a response arrived.
///
/// [`lost`](Self::lost) names the lost part, which decides whether a new call may succeed.
/// [`may_have_run`](Self::may_have_run) tells whether the method may have run.
///
/// [`source`](std::error::Error::source) is the failure of the link, if there was one: an
/// [`io::Error`](std::io::Error) or the error of the WebSocket or HTTP library. If the connection
/// ended because the server refused to take this client back, it is that
/// [`ConnectError`](super::ConnectError).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Disconnected {
    /// The lost part of the way to the callee.
    pub lost: Lost,
    /// Description of the failure in one sentence, without the text of the cause.
    pub reason: String,
    /// True if the request had been sent, so that the method may have run. Repeat the call only if
    /// running it twice does no harm.
    pub may_have_run: bool,
    /// The call that was interrupted.
    pub call: CallSite,
    source: Option<Cause>,
}

/// The part of the way to a callee that a [`Disconnected`] call lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lost {
    /// The peer has left the server; this client is still connected. Retryable: the next call looks
    /// the service up by its id, and finds it if another client, or the same one again, hosts it.
    Peer,
    /// The link to the server broke, and the client opens another one. Retryable: a new call waits
    /// for the new link.
    Link,
    /// The connection has ended and does not reconnect, as
    /// [`Client::closed`](crate::Client::closed) says. Not retryable: connect again.
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
