//! Retry policy of calls.

use std::time::Duration;

/// Retry policy of a call, for errors that are
/// [retryable](crate::Error::is_retryable). Default: [`Retry::never`].
///
/// A call that may have run is sent again only if it is [idempotent](crate::Call::idempotent). The pause
/// doubles after each attempt, with a jitter of 50 %. The [`timeout`](crate::Call::timeout) of the call
/// includes all attempts and pauses.
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
    first: Duration,
    longest: Duration,
}

impl Retry {
    /// Returns the policy without retries.
    pub const fn never() -> Self {
        Self::times(0)
    }

    /// Returns a policy with at most `times` retries, a first pause of 100 ms and a longest pause of 5 s.
    pub const fn times(times: u32) -> Self {
        Retry {
            times,
            first: Duration::from_millis(100),
            longest: Duration::from_secs(5),
        }
    }

    /// Sets the pause after the first failure. Default: 100 ms.
    pub const fn first(mut self, pause: Duration) -> Self {
        self.first = pause;
        self
    }

    /// Sets the longest pause. Default: 5 s.
    pub const fn longest(mut self, pause: Duration) -> Self {
        self.longest = pause;
        self
    }

    pub(super) fn is_never(&self) -> bool {
        self.times == 0
    }

    /// How long to wait after so many failures; `None` if it is not made again. `chance` is a random number
    /// from 0 to 1.
    pub(super) fn pause(&self, failures: u32, chance: f64) -> Option<Duration> {
        if failures > self.times || failures == 0 {
            return None;
        }
        let factor = 1u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
        let pause = self.first.saturating_mul(factor).min(self.longest);
        Some((pause / 2).saturating_add(pause.mul_f64(chance.clamp(0.0, 0.999))))
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
