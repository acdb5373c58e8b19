//! Limits the rate of attempts to sign up or sign in.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::Refusal;
use crate::rate_limit::RateLimit;

/// Maximum number of token buckets in one [`Attempts`]. There is one bucket for each client or for
/// each account.
const BUCKETS_MAX: usize = 20_000;

/// Token buckets by the name of a client or account. A bucket contains at most `per_minute`
/// attempts, and an empty bucket is full again after a minute. If `per_minute` is 0, the rate is
/// not limited.
pub(super) struct Attempts {
    per_minute: f64,
    buckets: Mutex<HashMap<String, RateLimit>>,
}

impl Attempts {
    pub(super) fn new(per_minute: f64) -> Attempts {
        Attempts {
            per_minute,
            buckets: Mutex::default(),
        }
    }

    /// Takes one attempt from the bucket of `name`.
    ///
    /// # Errors
    /// Fails if the bucket is empty. The error contains the number of seconds until the next
    /// attempt is possible.
    pub(super) fn take(&self, name: &str) -> Result<(), Refusal> {
        if self.per_minute == 0.0 {
            return Ok(());
        }
        let mut buckets = self.buckets.lock();
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(name) {
            // Remove full buckets, because a full bucket is equal to a new bucket.
            buckets.retain(|_, bucket| !bucket.is_full());
            if buckets.len() >= BUCKETS_MAX {
                return Err("Too many attempts. Please try again later.".into());
            }
        }
        let fresh = || RateLimit::new(self.per_minute / 60.0, self.per_minute);
        let bucket = buckets.entry(name.to_owned()).or_insert_with(fresh);
        let wait = bucket.until(1.0);
        if !wait.is_zero() {
            let seconds = wait.as_secs_f64().ceil();
            return Err(format!("Too many attempts. Please try again in {seconds} s.").into());
        }
        bucket.take(1.0);
        Ok(())
    }

    /// Puts an attempt back into the bucket of `name`. The server calls this method after a correct
    /// password, so that only wrong passwords count.
    pub(super) fn give_back(&self, name: &str) {
        let mut buckets = self.buckets.lock();
        if let Some(bucket) = buckets.get_mut(name) {
            bucket.take(-1.0);
            if bucket.is_full() {
                buckets.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_name_has_its_own_attempts() {
        let attempts = Attempts::new(3.0);
        let allowed = |name: &str| (0..10).filter(|_| attempts.take(name).is_ok()).count();
        assert_eq!((allowed("a"), allowed("b")), (3, 3));
        let refused = attempts.take("a").unwrap_err().to_string();
        assert!(refused.contains("try again in 20 s"), "{refused}");
        advance(Duration::from_secs(20)).await;
        assert_eq!(allowed("a"), 1);
        attempts.give_back("a");
        assert_eq!(allowed("a"), 1);
        advance(Duration::from_secs(120)).await;
        attempts.take("b").unwrap();
        attempts.give_back("b");
        assert!(!attempts.buckets.lock().contains_key("b"));
        assert_eq!(Attempts::new(0.0).take("a"), Ok(()));
    }
}
