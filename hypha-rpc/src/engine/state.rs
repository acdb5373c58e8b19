//! Defines the states of a connection, and the policy for reconnecting
//! (`docs/protocol/01-transport-websocket.md#s9`).
//!
//! The code in this module uses no clock, random numbers or tasks, which makes it easy to test. The
//! module `redial` passes the times and the random numbers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use web_time::Instant;

use crate::backoff::Backoff;
use crate::error::{Cause, ConnectError, LinkError};

/// State of a connection. Returned by [`Client::state`](crate::Client::state) and
/// [`Client::states`](crate::Client::states).
///
/// A new connection has the state `Connecting`. The connection then changes between the first three
/// states until it is `Closed`. A closed connection stays closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// The client is opening a link and registering its services. This happens when the client
    /// connects, and again after a lost link. Calls wait in this state. The total timeout limits
    /// the wait of a call. If a call has no total timeout, the idle timeout limits the wait.
    Connecting,
    /// The link is open, and all services are registered at the server.
    Connected,
    /// The link was lost, and the client pauses before the next attempt to reconnect. Calls wait in
    /// this state.
    Backoff {
        /// Number of the next attempt to reconnect. The first attempt after the link was lost has
        /// the number 1.
        attempt: u32,
        /// Time at which the next attempt starts.
        until: Instant,
    },
    /// The connection is permanently closed.
    Closed {
        /// The reason.
        reason: Arc<CloseReason>,
    },
}

impl State {
    /// Returns whether the connection is permanently closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, State::Closed { .. })
    }
}

/// Reason why a connection was permanently closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// This program disconnected or dropped the last handle of the connection.
    Requested,
    /// The link was lost, and reconnecting is disabled or not possible.
    Lost(LinkError),
    /// The server rejected the reconnect of this client, for example because the token is no longer
    /// valid or the workspace was deleted.
    Refused(ConnectError),
    /// [`Backoff::attempts`] consecutive attempts to reconnect failed.
    GaveUp {
        /// Number of failed attempts.
        attempts: u32,
        /// Error of the last attempt.
        last: LinkError,
    },
    /// Another connection took over the id of this client.
    Replaced,
    /// The server told this client to disconnect. Contains the reason. The client does not
    /// reconnect.
    Dismissed(String),
}

impl CloseReason {
    /// Returns the cause as a shared value. [`source`](std::error::Error::source) returns the same
    /// cause by reference.
    fn cause(&self) -> Option<Cause> {
        match self {
            CloseReason::Lost(error) | CloseReason::GaveUp { last: error, .. } => {
                // The message of this `CloseReason` already contains the message of `error`. So
                // return the cause of `error` instead of `error`.
                match error.as_connect_error() {
                    Some(error) => error.cause(),
                    None => error.cause(),
                }
            }
            CloseReason::Refused(error) => Some(Arc::new(error.clone())),
            CloseReason::Requested | CloseReason::Replaced | CloseReason::Dismissed(_) => None,
        }
    }

    /// Returns the error for calls that wait for this connection.
    pub(crate) fn as_link_error(&self) -> LinkError {
        LinkError::from(self.to_string()).with_cause(self.cause())
    }
}

impl std::error::Error for CloseReason {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CloseReason::Lost(error) | CloseReason::GaveUp { last: error, .. } => error.source(),
            CloseReason::Refused(error) => Some(error),
            CloseReason::Requested | CloseReason::Replaced | CloseReason::Dismissed(_) => None,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Requested => f.write_str("RPC connection closed"),
            CloseReason::Lost(reason) => reason.fmt(f),
            CloseReason::Refused(_) => f.write_str("Connection lost: Server refused reconnection"),
            CloseReason::GaveUp { attempts, last } => {
                write!(
                    f,
                    "Connection lost: gave up after {attempts} attempts: {last}"
                )
            }
            CloseReason::Replaced => {
                f.write_str("Connection lost: another client has taken over the id")
            }
            CloseReason::Dismissed(reason) => {
                write!(
                    f,
                    "Connection closed: the server told this client to leave: {reason}"
                )
            }
        }
    }
}

/// Counts failed attempts to reconnect, during the whole life of a connection.
#[derive(Debug)]
pub(crate) struct Recovery {
    backoff: Backoff,
    /// Number of failures since the last stable link. Failures are failed attempts, and links that
    /// were open for less than [`Backoff::stable`]. The number determines the pause.
    failures: u32,
    /// Number of attempts since the last link. This number is only used in [`State::Backoff`].
    attempt: u32,
}

/// Next step after a link was lost or an attempt has failed.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Start the attempt number `attempt` after `pause`.
    Try { attempt: u32, pause: Duration },
    /// Stop reconnecting.
    GiveUp { attempts: u32 },
}

impl Recovery {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Recovery {
            backoff,
            failures: 0,
            attempt: 0,
        }
    }

    /// Records that a link was lost after it was open for `lasted`. Returns the next step.
    pub(crate) fn lost(&mut self, lasted: Duration, chance: f64) -> Next {
        self.attempt = 0;
        if lasted < self.backoff.stable {
            self.failures = self.failures.saturating_add(1);
        } else {
            self.failures = 0;
        }
        self.next(chance)
    }

    /// Records a failed attempt, and returns the next step.
    pub(crate) fn failed(&mut self, chance: f64) -> Next {
        self.failures = self.failures.saturating_add(1);
        self.next(chance)
    }

    fn next(&mut self, chance: f64) -> Next {
        // Treat 0 as 1. With 0, the client would give up without a single attempt after a stable
        // link was lost.
        if self
            .backoff
            .attempts
            .is_some_and(|most| self.failures >= most.max(1))
        {
            return Next::GiveUp {
                attempts: self.failures,
            };
        }
        self.attempt = self.attempt.saturating_add(1);
        Next::Try {
            attempt: self.attempt,
            pause: self.backoff.pause(self.failures, chance),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(next: Next) -> f64 {
        match next {
            Next::Try { pause, .. } => pause.as_secs_f64(),
            Next::GiveUp { attempts } => panic!("gave up after {attempts}"),
        }
    }

    const LONG: Duration = Duration::from_secs(100);

    #[test]
    fn pauses_double_up_to_a_limit() {
        let mut recovery = Recovery::new(Backoff::default());
        assert_eq!(seconds(recovery.lost(LONG, 0.25)), 0.25);
        let pauses: Vec<f64> = (0..9).map(|_| seconds(recovery.failed(0.5))).collect();
        assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]);
        assert_eq!(seconds(recovery.failed(0.0)), 30.0);
        assert!((seconds(recovery.failed(1.0)) - 90.0).abs() < 0.1);
        for _ in 0..100 {
            assert_eq!(seconds(recovery.failed(0.5)), 60.0);
        }
    }

    #[test]
    fn only_a_stable_link_resets_the_pause() {
        let mut recovery = Recovery::new(Backoff::default());
        for _ in 0..4 {
            recovery.failed(0.5);
        }
        assert_eq!(seconds(recovery.lost(Duration::from_secs(4), 0.5)), 16.0);
        assert_eq!(seconds(recovery.lost(Duration::ZERO, 0.5)), 32.0);
        assert_eq!(seconds(recovery.lost(LONG, 0.5)), 0.5);
    }

    #[test]
    fn attempts_are_counted_since_the_last_link() {
        let mut recovery = Recovery::new(Backoff::default());
        let attempt = |next| match next {
            Next::Try { attempt, .. } => attempt,
            Next::GiveUp { .. } => 0,
        };
        assert_eq!(attempt(recovery.lost(LONG, 0.0)), 1);
        assert_eq!(attempt(recovery.failed(0.0)), 2);
        assert_eq!(attempt(recovery.failed(0.0)), 3);
        assert_eq!(attempt(recovery.lost(Duration::ZERO, 0.0)), 1);
    }

    #[test]
    fn gives_up_after_the_maximum_number_of_attempts() {
        let mut recovery = Recovery::new(Backoff::default().attempts(2));
        assert_eq!(seconds(recovery.lost(LONG, 0.5)), 0.5);
        assert_eq!(seconds(recovery.failed(0.5)), 1.0);
        assert_eq!(recovery.failed(0.5), Next::GiveUp { attempts: 2 });
    }
}
