//! A token bucket: a rate with bursts.
//!
//! governor 0.10 is not used: it cannot tell whether a bucket is empty without taking a token, so
//! each valid request would be charged to the address that it comes from. Layers of tower limit all
//! callers together.

use tokio::time::Instant;

/// A token bucket of `burst` tokens that refills at `per_second`. Each message costs one token.
pub(crate) struct RateLimit {
    per_second: f64,
    burst: f64,
    left: f64,
    since: Instant,
}

impl RateLimit {
    pub(crate) fn new(per_second: f64, burst: f64) -> RateLimit {
        RateLimit {
            per_second,
            burst,
            left: burst,
            since: Instant::now(),
        }
    }

    /// Takes a token at the time `now`. Returns false if there is none.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        self.earn(now);
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }

    /// Returns whether the bucket is empty, without taking a token.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.earn(Instant::now());
        self.left < 1.0
    }

    /// Returns whether the bucket is full, like a new one.
    pub(crate) fn is_full(&mut self) -> bool {
        self.earn(Instant::now());
        self.left >= self.burst
    }

    fn earn(&mut self, now: Instant) {
        let earned = now.duration_since(self.since).as_secs_f64() * self.per_second;
        self.left = (self.left + earned).min(self.burst);
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_the_rate_counts() {
        let mut limit = RateLimit::new(10.0, 5.0);
        assert!((0..5).all(|_| limit.admit(Instant::now())));
        assert!(!limit.admit(Instant::now()));
        tokio::time::advance(Duration::from_millis(250)).await;
        assert!(limit.admit(Instant::now()));
        assert!(limit.admit(Instant::now()));
        assert!(!limit.admit(Instant::now()));
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(
            (0..100).filter(|_| limit.admit(Instant::now())).count(),
            5,
            "no more than a burst is saved"
        );
    }
}
