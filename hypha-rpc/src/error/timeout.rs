//! A call without an answer in time.

use std::{fmt, time::Duration};

use super::CallSite;

/// No answer came within a limit of the call.
///
/// Retryable. The method may have run, or still be running, if [`sent`](Self::sent) is true.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Timeout {
    /// Which limit passed.
    pub kind: TimeoutKind,
    /// The limit.
    pub limit: Duration,
    /// True if the request had left this program.
    pub sent: bool,
    /// The call that waited.
    pub call: CallSite,
}

/// The limits of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutKind {
    /// Neither a result nor a heartbeat came for that long (`docs/protocol/02-messages.md#s6`).
    Idle,
    /// The caller's own limit for the whole call, [`Call::timeout`](crate::Call::timeout).
    Total,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = match self.kind {
            TimeoutKind::Idle => "sign of life",
            TimeoutKind::Total => "answer",
        };
        write!(f, "{}: no {missing} within {:?}", self.call, self.limit)
    }
}

impl std::error::Error for Timeout {}
