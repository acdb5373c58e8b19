//! Retry policy of calls.

use std::time::Duration;

use crate::backoff::Doubling;

/// Retry policy of a call. The policy applies to errors that are
/// [retryable](crate::Error::is_retryable). Default: [`Retry::never`].
///
/// If the method may have run, the call is sent again only if the call is
/// [idempotent](crate::Call::idempotent). The pause doubles after each attempt, with a jitter of 50
/// %. The [`timeout`](crate::Call::timeout) of the call includes all attempts and pauses. If all
/// attempts fail, the call returns the error of the last attempt.
///
/// Set the policy for one call with [`Call::retry`](crate::Call::retry), or for all calls of a
/// client with [`Settings::retry`](crate::client::Settings::retry).
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// use hypha_rpc::Retry;
///
/// let patient = Retry::times(5).first(Duration::from_millis(200));
/// # let _ = patient;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    times: u32,
    pauses: Doubling,
}

impl Retry {
    /// Returns the policy without retries.
    #[must_use]
    pub const fn never() -> Self {
        Self::times(0)
    }

    /// Returns a policy with at most `times` retries, a first pause of 100 ms and a maximum pause
    /// of 5 s.
    #[must_use]
    pub const fn times(times: u32) -> Self {
        Retry {
            times,
            pauses: Doubling {
                first: Duration::from_millis(100),
                longest: Duration::from_secs(5),
            },
        }
    }

    /// Sets the pause after the first failure. Default: 100 ms.
    #[must_use]
    pub const fn first(mut self, pause: Duration) -> Self {
        self.pauses.first = pause;
        self
    }

    /// Sets the maximum pause. Default: 5 s.
    #[must_use]
    pub const fn longest(mut self, pause: Duration) -> Self {
        self.pauses.longest = pause;
        self
    }

    pub(crate) fn is_never(&self) -> bool {
        self.times == 0
    }

    /// Returns the pause after `failures` failed attempts. Returns `None` if no further attempt is
    /// allowed. `chance` is a random number from 0 to 1.
    pub(crate) fn pause(&self, failures: u32, chance: f64) -> Option<Duration> {
        if failures > self.times || failures == 0 {
            return None;
        }
        Some(self.pauses.pause(failures - 1, chance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_the_last_retry() {
        let retry = Retry::times(3)
            .first(Duration::from_secs(1))
            .longest(Duration::from_secs(3));
        let pauses = (1..5).map(|n| retry.pause(n, 0.5));
        let seconds: Vec<_> = pauses.map(|p| p.map(|p| p.as_secs())).collect();
        assert_eq!(seconds, [Some(1), Some(2), Some(3), None]);
        assert_eq!(Retry::never().pause(1, 0.5), None);
    }
}
