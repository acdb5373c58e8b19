//! Timeouts of calls.

use std::fmt;
use std::time::Duration;

use super::CallSite;

/// The call exceeded its idle timeout or its total timeout.
///
/// Retryable. If [`sent`](Self::sent) is true, the method may have run or may still be running. A
/// method in Rust is notified through its cancellation token. Methods in other languages run to
/// completion.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Timeout {
    /// Timeout that was exceeded.
    pub kind: TimeoutKind,
    /// Value of the exceeded timeout.
    pub limit: Duration,
    /// True if the request was sent, so that the method may have run.
    pub sent: bool,
    /// Call that timed out.
    pub call: CallSite,
}

/// Kind of a timeout of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutKind {
    /// The idle timeout: neither a heartbeat nor a response arrived for this time
    /// (`docs/protocol/02-messages.md#s6`). Set with
    /// [`Call::idle_timeout`](crate::Call::idle_timeout).
    Idle,
    /// The total timeout of the call. Set with [`Call::timeout`](crate::Call::timeout).
    Total,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = match self.kind {
            TimeoutKind::Idle => "heartbeat or response",
            TimeoutKind::Total => "response",
        };
        write!(f, "{}: no {missing} within {:?}", self.call, self.limit)
    }
}

impl std::error::Error for Timeout {}
