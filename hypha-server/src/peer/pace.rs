//! Limits the rates of a connection, and decides whether a response is charged to the caller or to
//! the callee.
//!
//! A request is charged to its sender. A response is charged to the connection that sent the
//! request, so that callers cannot slow down a service with their requests. This module refuses no
//! message: the server reads from a connection in debt more slowly.

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex;

use crate::rate_limit::RateLimit;
use crate::settings::Limits;

/// Maximum number of connections that a [`Pace`] remembers as requesters. Above this number, the
/// [`Pace`] forgets all requesters. Responses to a forgotten requester are charged to their sender
/// until the requester sends another request.
const REQUESTERS_MAX: usize = 4096;

/// The rate limits of one connection.
pub(crate) struct Pace(Mutex<Buckets>);

/// The token buckets of a connection, and the number of responses that are expected.
struct Buckets {
    /// `None` if the number of messages is not limited.
    messages: Option<RateLimit>,
    /// `None` if the number of bytes is not limited.
    bytes: Option<RateLimit>,
    /// Number of acknowledgements that this connection still has to receive for chunks that it has
    /// sent. These acknowledgements do not count as messages.
    acknowledgements: u64,
    /// Number of responses to clients of other servers that this connection may send without a
    /// charge. The servers of those clients have charged the requests to the clients.
    remote: u64,
    /// Generations of the connections that have sent a message to this connection.
    requesters: HashSet<u64>,
}

impl Pace {
    /// Returns the rate limits of a connection, or `None` if the settings limit no rate.
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
                requesters: HashSet::new(),
            }))
        })
    }

    /// Charges this connection for a message that it has sent. The charge may leave the connection
    /// in debt.
    pub(crate) fn message(&self, bytes: usize) {
        let mut buckets = self.0.lock();
        if let Some(messages) = &mut buckets.messages {
            messages.take(1.0);
        }
        if let Some(rate) = &mut buckets.bytes {
            rate.take(bytes as f64);
        }
    }

    /// Charges this connection for the bytes of a chunk of a large message. Neither the chunk nor
    /// its acknowledgement counts as a message.
    pub(crate) fn part(&self, bytes: usize) {
        let mut buckets = self.0.lock();
        buckets.acknowledgements += 1;
        if let Some(rate) = &mut buckets.bytes {
            rate.take(bytes as f64);
        }
    }

    /// Charges this connection for a response to one of its requests. If the connection's debt is
    /// already as large as the burst, returns false, and the caller must charge the response to its
    /// sender. Without this limit, a peer could block this connection with responses to requests
    /// that this connection has never sent.
    pub(crate) fn response(&self, bytes: usize) -> bool {
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

    /// Remembers that another connection has sent a message to this connection.
    pub(crate) fn add_requester(&self, generation: u64) {
        let requesters = &mut self.0.lock().requesters;
        // All requesters are removed together, because it would cost more to keep their order than
        // to charge a few responses to the senders of these responses.
        if requesters.len() >= REQUESTERS_MAX && !requesters.contains(&generation) {
            requesters.clear();
        }
        requesters.insert(generation);
    }

    /// Returns whether a connection has sent a message to this connection.
    pub(crate) fn is_requester(&self, generation: u64) -> bool {
        self.0.lock().requesters.contains(&generation)
    }

    /// Remembers that a client of another server has sent a message to this connection.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    pub(crate) fn add_remote_requester(&self) {
        self.0.lock().remote += 1;
    }

    /// Charges this connection for a response that it sends to a client of another server. Charges
    /// nothing if such a client has sent a request to which this connection has not responded yet.
    pub(crate) fn remote_response(&self, bytes: usize) {
        // The lock is released at the end of this block, because `message` takes the same lock.
        {
            let mut buckets = self.0.lock();
            if buckets.remote > 0 {
                buckets.remote -= 1;
                return;
            }
        }
        self.message(bytes);
    }

    /// Returns the time until the connection is out of debt, or zero if it has no debt. The server
    /// waits for this time before it reads the connection's next message.
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
    fn without_a_rate_there_is_no_pace() {
        assert!(Pace::limited(&Limits::default()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn chunks_and_acknowledgements_count_as_no_messages() {
        let pace = pace(1.0, 2.0);
        for _ in 0..100 {
            pace.part(1000);
        }
        assert!((0..100).all(|_| pace.response(10)));
        assert_eq!(pace.debt(), Duration::ZERO);
        pace.message(10);
        pace.message(10);
        assert_eq!(pace.debt(), Duration::ZERO);
        pace.message(10);
        assert_eq!(pace.debt(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn responses_cannot_increase_the_debt_without_limit() {
        let pace = pace(1.0, 5.0);
        assert_eq!((0..1000).filter(|_| pace.response(10)).count(), 10);
        assert_eq!(pace.debt(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_have_a_separate_bucket() {
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
    async fn the_number_of_requesters_is_limited() {
        let pace = pace(1.0, 5.0);
        pace.add_requester(7);
        assert!(pace.is_requester(7) && !pace.is_requester(8));
        for generation in 0..3 * REQUESTERS_MAX as u64 {
            pace.add_requester(generation);
        }
        assert!(pace.0.lock().requesters.len() <= REQUESTERS_MAX);
    }
}
