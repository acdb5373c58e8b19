//! Pauses between attempts to reconnect and between retries of calls.
//!
//! The task of a connection (`engine/redial.rs`) uses [`Backoff`]. Retries of calls
//! (`engine/retry.rs`) and of HTTP requests (`transport/http/`) use [`Doubling`]. Both take the
//! random number as an argument, so that tests can choose it.

use std::time::Duration;

/// Longest pause: one year. A much longer pause would overflow the clock.
const LONGEST_PAUSE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Pauses that double up to a limit. Each pause is multiplied by a random factor from 0.5 to 1.5,
/// so that clients that failed together do not retry together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubling {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Doubling {
    /// Returns the pause after this number of doublings; `chance` is a random number from 0 to 1.
    pub(crate) fn pause(&self, doublings: u32, chance: f64) -> Duration {
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let pause = self.first.saturating_mul(factor).min(self.longest);
        let pause = pause.min(LONGEST_PAUSE);
        (pause / 2).saturating_add(pause.mul_f64(chance.clamp(0.0, 0.999)))
    }

    /// Waits for the pause after this number of doublings.
    pub(crate) async fn wait(&self, doublings: u32) {
        crate::runtime::sleep(self.pause(doublings, rand::random())).await;
    }
}

/// Policy for reconnecting: the pauses between attempts and the maximum number of attempts.
///
/// Set the policy with [`ConnectOptions::reconnect`](crate::ConnectOptions::reconnect). It applies
/// to a connection that was lost, and with
/// [`retry_on_initial_connect`](crate::ConnectOptions::retry_on_initial_connect) also to the first
/// attempt of [`connect`](crate::connect()).
///
/// The first attempt starts after a random part of [`spread`](Self::spread), so that the clients of
/// a restarting server do not all connect at once. After each failed attempt the pause doubles,
/// from [`first`](Self::first) up to [`longest`](Self::longest). Each pause is multiplied by a
/// random factor from 0.5 to 1.5. A connection that is shorter than [`stable`](Self::stable) counts
/// as a failed attempt.
///
/// With the defaults, a thousand clients of one server make at most 1500 attempts in any second.
/// While the server is unreachable, the rate falls to about 17 attempts per second.
///
/// # Examples
///
/// ```no_run
/// # use std::time::Duration;
/// # use hypha_rpc::client::Backoff;
/// # async fn example() -> Result<(), hypha_rpc::Error> {
/// // Pauses of about 30 s at most. Gives up after 20 failed attempts.
/// let backoff = Backoff::default().longest(Duration::from_secs(30)).attempts(20);
/// let hypha = hypha_rpc::connect("http://localhost:9527").reconnect(backoff).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// Length of the window in which the first attempt starts, at a random time. Default: 1 s.
    pub spread: Duration,
    /// Pause after the first failed attempt. Default: 1 s.
    pub first: Duration,
    /// Maximum pause, before the random factor is applied. Default: 60 s.
    pub longest: Duration,
    /// Minimum duration of a connection that counts as a success. Default: 5 s. A shorter
    /// connection counts as a failed attempt, so that a server that drops clients immediately does
    /// not get a new attempt every second.
    pub stable: Duration,
    /// Maximum number of consecutive failed attempts, after which the client stops reconnecting. 0
    /// counts as 1. Default: no limit.
    pub attempts: Option<u32>,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff {
            spread: Duration::from_secs(1),
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            stable: Duration::from_secs(5),
            attempts: None,
        }
    }
}

impl Backoff {
    /// Sets the maximum number of consecutive failed attempts, after which the client stops
    /// reconnecting.
    ///
    /// The connection then ends with [`CloseReason::GaveUp`](crate::client::CloseReason::GaveUp). 0
    /// counts as 1. Default: no limit.
    #[must_use]
    pub fn attempts(mut self, most: u32) -> Self {
        self.attempts = Some(most);
        self
    }

    /// Sets the maximum pause. A longer [`first`](Self::first) pause is shortened to this value.
    ///
    /// The random factor is applied afterwards, so a pause may last up to 1.5 times this value.
    /// Default: 60 s.
    #[must_use]
    pub fn longest(mut self, pause: Duration) -> Self {
        self.longest = pause;
        self.first = self.first.min(pause);
        self
    }

    /// Returns the pause after `failures` failed attempts. `chance` is a random number from 0 to 1.
    pub(crate) fn pause(&self, failures: u32, chance: f64) -> Duration {
        match failures.checked_sub(1) {
            None => self.spread.min(LONGEST_PAUSE).mul_f64(chance),
            Some(doublings) => Doubling {
                first: self.first,
                longest: self.longest,
            }
            .pause(doublings, chance),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn no_pause_is_too_long_for_the_clock() {
        let backoff = Backoff {
            spread: Duration::MAX,
            first: Duration::MAX,
            longest: Duration::MAX,
            ..Backoff::default()
        };
        for failures in [0, 70] {
            let pause = backoff.pause(failures, 0.999);
            assert!(
                pause > Duration::from_secs(100) && Instant::now().checked_add(pause).is_some()
            );
        }
    }
}
