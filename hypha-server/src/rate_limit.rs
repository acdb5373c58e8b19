//! Limits the rate of an operation with a token bucket, which allows bursts.
//!
//! The crate governor 0.10 is not used, because it cannot test whether a bucket is empty without
//! taking a token, and allows no debt. With governor, each request with a valid token would also be
//! charged to the IP address, and a message larger than the burst would never pass. The rate limits
//! of tower apply to all callers together, not to each caller.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket that holds up to `burst` tokens and refills at `per_second`. The bucket allows
/// debt: a caller takes tokens first and waits afterwards.
pub(crate) struct RateLimit {
    per_second: f64,
    burst: f64,
    /// Number of tokens at the time `since`. The number is negative while the bucket is in debt.
    left: f64,
    since: Instant,
}

impl RateLimit {
    /// Returns a full bucket. `per_second` must be positive.
    pub(crate) fn new(per_second: f64, burst: f64) -> RateLimit {
        RateLimit {
            per_second,
            burst,
            left: burst,
            since: Instant::now(),
        }
    }

    /// Returns a full bucket, or `None` if `per_second` is not positive, which means that there is
    /// no limit.
    pub(crate) fn limited(per_second: f64, burst: f64) -> Option<RateLimit> {
        (per_second > 0.0).then(|| RateLimit::new(per_second, burst))
    }

    /// Takes tokens. The bucket may go into debt without limit.
    pub(crate) fn take(&mut self, tokens: f64) {
        self.earn();
        self.left -= tokens;
    }

    /// Takes tokens if the debt is less than `burst`. Returns whether the tokens were taken.
    pub(crate) fn take_on_credit(&mut self, tokens: f64) -> bool {
        self.earn();
        let fits = self.left > -self.burst;
        if fits {
            self.left -= tokens;
        }
        fits
    }

    /// Takes a token if it is available within `max_wait`. Returns the time until the token is
    /// available; the caller must wait for that time.
    ///
    /// # Errors
    ///
    /// If the time exceeds `max_wait`, takes no token and returns the time as an error.
    pub(crate) fn reserve(&mut self, max_wait: Duration) -> Result<Duration, Duration> {
        let wait = self.until(1.0);
        if wait > max_wait {
            return Err(wait);
        }
        self.left -= 1.0;
        Ok(wait)
    }

    /// Returns the time until the bucket has this many tokens. Takes no tokens.
    pub(crate) fn until(&mut self, tokens: f64) -> Duration {
        // This case does not read the clock, because reading the clock costs more than the rest of
        // this function.
        if self.left >= tokens {
            return Duration::ZERO;
        }
        self.earn();
        let missing = (tokens - self.left).max(0.0);
        // With a very small rate, the time may not fit into a `Duration`.
        Duration::try_from_secs_f64(missing / self.per_second).unwrap_or(Duration::MAX)
    }

    /// Returns whether the bucket is full. A full bucket is equal to a new bucket, so it can be
    /// dropped.
    pub(crate) fn is_full(&mut self) -> bool {
        self.earn();
        self.left >= self.burst
    }

    /// Adds the tokens for the time since the last call.
    fn earn(&mut self) {
        let now = Instant::now();
        let earned = now.duration_since(self.since).as_secs_f64() * self.per_second;
        self.left = (self.left + earned).min(self.burst);
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_the_rate_applies() {
        let mut limit = RateLimit::new(10.0, 5.0);
        let none = Duration::ZERO;
        assert!((0..5).all(|_| limit.reserve(none).is_ok()));
        assert_eq!(limit.reserve(none), Err(Duration::from_millis(100)));
        advance(Duration::from_millis(250)).await;
        assert!(limit.reserve(none).is_ok() && limit.reserve(none).is_ok());
        assert!(limit.reserve(none).is_err());
        advance(Duration::from_secs(3600)).await;
        assert_eq!(
            (0..100).filter(|_| limit.reserve(none).is_ok()).count(),
            5,
            "the bucket holds at most the burst"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_debt_is_waited_for_and_the_rate_is_sustained() {
        let mut limit = RateLimit::new(2000.0, 10.0);
        let begun = Instant::now();
        for _ in 0..10_000 {
            limit.take(1.0);
            sleep(limit.until(0.0)).await;
        }
        let took = begun.elapsed().as_secs_f64();
        // Each wait is rounded up to the timer's resolution. The bucket also earns tokens during
        // the excess time, so the errors do not add up.
        assert!((4.9..5.1).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn debt_is_limited_to_one_burst() {
        let mut limit = RateLimit::new(1.0, 5.0);
        assert_eq!((0..100).filter(|_| limit.take_on_credit(1.0)).count(), 10);
        assert_eq!(limit.until(0.0), Duration::from_secs(5));
        let slow = RateLimit::new(f64::MIN_POSITIVE, 1.0).until(2.0);
        assert_eq!(slow, Duration::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_zero_is_no_limit() {
        assert!(RateLimit::limited(0.0, 1.0).is_none());
        assert!(RateLimit::limited(1.0, 1.0).is_some());
    }
}
