//! The pace of a connection: how much it may send, and who pays for an answer.

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex;

use crate::rate_limit::RateLimit;
use crate::settings::Limits;

/// Bound on the connections remembered as askers. Beyond it they are forgotten, and answers to them
/// are charged to the sender until they ask again.
const ASKERS_MAX: usize = 4096;

/// The buckets of one connection.
pub(crate) struct Pace(Mutex<Buckets>);

struct Buckets {
    messages: Option<RateLimit>,
    bytes: Option<RateLimit>,
    /// Acknowledgements to come of parts that were sent. They are no messages.
    acknowledgements: u64,
    /// Answers to come to clients of other servers, which have paid for them there.
    remote: u64,
    /// Generations of the connections that have sent something to this one.
    askers: HashSet<u64>,
}

impl Pace {
    /// Returns the buckets of a connection, or `None` if no rate is limited.
    pub(crate) fn limited(limits: &Limits) -> Option<Pace> {
        let messages = RateLimit::limited(limits.messages_per_second, limits.message_burst);
        let bytes = RateLimit::limited(limits.bytes_per_second, limits.byte_burst);
        let limited = messages.is_some() || bytes.is_some();
        limited.then(|| {
            Pace(Mutex::new(Buckets {
                messages,
                bytes,
                acknowledgements: 0,
                remote: 0,
                askers: HashSet::new(),
            }))
        })
    }

    /// Charges a message of this connection.
    pub(crate) fn message(&self, bytes: usize) {
        let mut buckets = self.0.lock();
        if let Some(messages) = &mut buckets.messages {
            messages.take(1.0);
        }
        if let Some(rate) = &mut buckets.bytes {
            rate.take(bytes as f64);
        }
    }

    /// Charges a part of a large message: its bytes. Its acknowledgement will be free.
    pub(crate) fn part(&self, bytes: usize) {
        let mut buckets = self.0.lock();
        buckets.acknowledgements += 1;
        if let Some(rate) = &mut buckets.bytes {
            rate.take(bytes as f64);
        }
    }

    /// Charges an answer that this connection has asked for. Returns false if it already pays for
    /// as many as it may: otherwise answers nobody asked for could silence it.
    pub(crate) fn answer(&self, bytes: usize) -> bool {
        let mut buckets = self.0.lock();
        if buckets.acknowledgements > 0 {
            buckets.acknowledgements -= 1;
        } else if let Some(messages) = &mut buckets.messages
            && !messages.take_on_credit(1.0)
        {
            return false;
        }
        let bytes = bytes as f64;
        buckets
            .bytes
            .as_mut()
            .is_none_or(|rate| rate.take_on_credit(bytes))
    }

    /// Remembers that another connection has sent something to this one.
    pub(crate) fn asked_by(&self, generation: u64) {
        let askers = &mut self.0.lock().askers;
        if askers.len() >= ASKERS_MAX && !askers.contains(&generation) {
            askers.clear();
        }
        askers.insert(generation);
    }

    /// Returns whether a connection has sent something to this one.
    pub(crate) fn was_asked_by(&self, generation: u64) -> bool {
        self.0.lock().askers.contains(&generation)
    }

    /// Remembers that a client of another server has sent something to this one.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    pub(crate) fn asked_remotely(&self) {
        self.0.lock().remote += 1;
    }

    /// Charges an answer to a client of another server: nothing if it has asked.
    pub(crate) fn remote_answer(&self, bytes: usize) {
        {
            let mut buckets = self.0.lock();
            if buckets.remote > 0 {
                buckets.remote -= 1;
                return;
            }
        }
        self.message(bytes);
    }

    /// Returns the time to wait before the next message is read; zero if there is no debt.
    pub(crate) fn debt(&self) -> Duration {
        let mut buckets = self.0.lock();
        let buckets = &mut *buckets;
        let each = [&mut buckets.messages, &mut buckets.bytes];
        let waits = each.into_iter().flatten().map(|rate| rate.until(0.0));
        waits.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(messages: f64, burst: f64) -> Pace {
        let limits = Limits {
            messages_per_second: messages,
            message_burst: burst,
            ..Limits::default()
        };
        Pace::limited(&limits).unwrap()
    }

    #[test]
    fn without_a_rate_nothing_is_counted() {
        assert!(Pace::limited(&Limits::default()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn parts_and_their_acknowledgements_are_no_messages() {
        let pace = pace(1.0, 2.0);
        for _ in 0..100 {
            pace.part(1000);
        }
        assert!((0..100).all(|_| pace.answer(10)));
        assert_eq!(pace.debt(), Duration::ZERO);
        pace.message(10);
        pace.message(10);
        assert_eq!(pace.debt(), Duration::ZERO);
        pace.message(10);
        assert_eq!(pace.debt(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn answers_cannot_silence_a_peer() {
        let pace = pace(1.0, 5.0);
        assert_eq!((0..1000).filter(|_| pace.answer(10)).count(), 10);
        assert_eq!(pace.debt(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_have_a_bucket_of_their_own() {
        let limits = Limits {
            bytes_per_second: 1000.0,
            byte_burst: 1000.0,
            ..Limits::default()
        };
        let pace = Pace::limited(&limits).unwrap();
        pace.message(5000);
        assert_eq!(pace.debt(), Duration::from_secs(4));
    }

    #[tokio::test]
    async fn askers_are_remembered_within_a_bound() {
        let pace = pace(1.0, 5.0);
        pace.asked_by(7);
        assert!(pace.was_asked_by(7) && !pace.was_asked_by(8));
        for generation in 0..3 * ASKERS_MAX as u64 {
            pace.asked_by(generation);
        }
        assert!(pace.0.lock().askers.len() <= ASKERS_MAX);
    }
}
