//! Timeouts of calls.

use std::fmt;
use std::time::Duration;

use super::CallSite;

/// The call exceeded its idle timeout or its total timeout.
///
/// The error is retryable. If [`sent`](Self::sent) is true, the method may have run or may still be
/// running. The cancellation token of a method in Rust is cancelled. A method in another language
/// runs to completion.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Timeout {
    /// The timeout that was exceeded.
    pub kind: TimeoutKind,
    /// Duration of the exceeded timeout.
    pub limit: Duration,
    /// Whether the request was sent. If true, the method may have run.
    pub sent: bool,
    /// Call that timed out.
    pub call: CallSite,
}

/// Kind of a timeout of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutKind {
    /// Idle timeout. No heartbeat and no response arrived for this time
    /// (`docs/protocol/02-messages.md#s6`). Set the idle timeout with
    /// [`Call::idle_timeout`](crate::Call::idle_timeout).
    Idle,
    /// Total timeout of the call. Set the total timeout with
    /// [`Call::timeout`](crate::Call::timeout).
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
