//! What a call does about failures that pass.

use std::time::Duration;

use super::backoff::Doubling;

/// How often a call is made again when it fails for a reason that may pass: see
/// [`Error::is_retryable`](crate::Error::is_retryable).
///
/// A call that may have run is only made again if it is [idempotent](crate::Call::idempotent). The pause
/// doubles each time, and is between one half and one and a half of that. The call's
/// [`timeout`](crate::Call::timeout) includes everything.
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
    /// Not at all; what happens if nothing else is said.
    pub const fn never() -> Self {
        Self::times(0)
    }

    /// So many times, 100 ms after the first failure, and never more than 5 s after one.
    pub const fn times(times: u32) -> Self {
        Retry {
            times,
            pauses: Doubling {
                first: Duration::from_millis(100),
                longest: Duration::from_secs(5),
            },
        }
    }

    /// Another pause after the first failure.
    pub const fn first(mut self, pause: Duration) -> Self {
        self.pauses.first = pause;
        self
    }

    /// Another longest pause.
    pub const fn longest(mut self, pause: Duration) -> Self {
        self.pauses.longest = pause;
        self
    }

    pub(crate) fn is_never(&self) -> bool {
        self.times == 0
    }

    /// How long to wait after so many failures; `None` if it is not made again. `chance` is a random number
    /// from 0 to 1.
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
    fn pauses_double_and_end() {
        let retry = Retry::times(3)
            .first(Duration::from_secs(1))
            .longest(Duration::from_secs(3));
        let pauses = (1..5).map(|n| retry.pause(n, 0.5));
        let seconds: Vec<_> = pauses.map(|p| p.map(|p| p.as_secs())).collect();
        assert_eq!(seconds, [Some(1), Some(2), Some(3), None]);
        assert_eq!(Retry::never().pause(1, 0.5), None);
    }
}
