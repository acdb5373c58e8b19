//! How much may be on its way to the clients of other servers.
//!
//! Redis drops the subscription of a server for which too much piles up, and a server cannot wait
//! while it hands over what others have sent: one slow client would hold up all the rest. So after
//! some bytes for a client its server is asked whether they have passed, and until it says yes the
//! senders wait. A server of the original never answers: its clients get everything at once.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Bytes on their way to one client.
const CLIENT_BYTES: usize = 1024 * 1024;
/// Bytes on their way to all. By default Redis keeps up to 32 MB for a subscription, which several
/// servers share.
const ALL_BYTES: usize = 8 * 1024 * 1024;
/// Time for an answer. A server that takes longer does not know the question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Time in which a server that has not answered is not asked again.
const SILENT: Duration = Duration::from_secs(60);
/// Interval at which a server repeats that a client does not keep up.
pub(crate) const REPEAT: Duration = Duration::from_secs(5);
/// Time after which that is forgotten: its server may have ended.
const HELD: Duration = Duration::from_secs(15);
/// Time after which a few bytes have passed, although nobody was asked.
const IDLE: Duration = Duration::from_secs(1);

/// What is on its way, by address.
pub(super) struct Windows {
    inner: Mutex<Inner>,
    changed: Notify,
}

struct Inner {
    windows: HashMap<Box<str>, Window>,
    /// Bytes in all windows.
    bytes: usize,
    questions: u64,
    /// Number of windows at which unused ones are removed.
    sweep_at: usize,
}

struct Window {
    bytes: usize,
    /// Bytes that Redis has, and no question covers.
    unasked: usize,
    question: Option<Question>,
    /// Nothing is counted until then: the server does not answer.
    silent_until: Option<Instant>,
    used: Instant,
}

struct Question {
    number: u64,
    bytes: usize,
    /// When the answer is overdue.
    until: Instant,
    is_held: bool,
}

/// A question to the server of a client: have the bytes passed?
#[derive(Debug, PartialEq)]
pub(super) struct Ask(pub(super) u64);

enum Next {
    Go,
    Ask(Ask),
    WaitUntil(Instant),
}

impl Default for Windows {
    fn default() -> Self {
        Windows {
            inner: Mutex::new(Inner {
                windows: HashMap::new(),
                bytes: 0,
                questions: 0,
                sweep_at: 1024,
            }),
            changed: Notify::new(),
        }
    }
}

impl Windows {
    /// Waits until `bytes` may be sent to a client, and counts them. `ask` puts a question to its
    /// server.
    pub(super) async fn enter(&self, address: &str, bytes: usize, ask: impl Fn(Ask)) {
        loop {
            let changed = self.changed.notified();
            let next = self.inner.lock().next(address, bytes, Instant::now());
            match next {
                Next::Go => return,
                Next::Ask(question) => ask(question),
                Next::WaitUntil(until) => {
                    let _ = tokio::time::timeout_at(until, changed).await;
                }
            }
        }
    }

    /// Notes that Redis has bytes that were counted, for `receivers` servers. Returns the question
    /// that is due.
    pub(super) fn sent(&self, address: &str, bytes: usize, receivers: u64) -> Option<Ask> {
        let mut inner = self.inner.lock();
        if receivers == 0 {
            inner.remove(address);
            drop(inner);
            self.changed.notify_waiters();
            return None;
        }
        let window = inner.windows.get_mut(address)?;
        if window.bytes == 0 {
            return None;
        }
        window.unasked = (window.unasked + bytes).min(window.bytes);
        let is_due = window.question.is_none() && window.unasked >= CLIENT_BYTES / 2;
        is_due.then(|| inner.ask(address, Instant::now()))?
    }

    /// Notes an answer: the bytes have passed, or they are `held` and another answer will come.
    pub(super) fn answered(&self, address: &str, number: u64, held: bool) {
        let mut inner = self.inner.lock();
        let Some(window) = inner.windows.get_mut(address) else {
            return;
        };
        let Some(question) = &mut window.question else {
            return;
        };
        if question.number != number {
            return;
        }
        if held {
            question.until = Instant::now() + HELD;
            question.is_held = true;
            return;
        }
        let passed = question.bytes.min(window.bytes);
        window.bytes -= passed;
        window.question = None;
        inner.bytes -= passed;
        drop(inner);
        self.changed.notify_waiters();
    }
}

impl Inner {
    fn next(&mut self, address: &str, bytes: usize, now: Instant) -> Next {
        if !self.windows.contains_key(address) {
            self.sweep(now);
            let window = Window {
                bytes: 0,
                unasked: 0,
                question: None,
                silent_until: None,
                used: now,
            };
            self.windows.insert(address.into(), window);
        }
        self.end_question(address, now);
        let all = self.bytes;
        let Some(window) = self.windows.get_mut(address) else {
            return Next::Go;
        };
        window.used = now;
        if window.silent_until.is_some_and(|until| until > now) {
            return Next::Go;
        }
        let fits = window.bytes == 0 || window.bytes + bytes <= CLIENT_BYTES;
        if fits && (all == 0 || all + bytes <= ALL_BYTES) {
            window.bytes += bytes;
            self.bytes += bytes;
            return Next::Go;
        }
        match &window.question {
            Some(question) => Next::WaitUntil(question.until),
            None if window.unasked > 0 => match self.ask(address, now) {
                Some(question) => Next::Ask(question),
                None => Next::WaitUntil(now + IDLE),
            },
            // What is in the way is not here, or on its way to Redis.
            None => {
                self.forget_idle(now);
                if all > self.bytes {
                    return self.next(address, bytes, now);
                }
                Next::WaitUntil(now + IDLE)
            }
        }
    }

    fn ask(&mut self, address: &str, now: Instant) -> Option<Ask> {
        self.questions += 1;
        let window = self.windows.get_mut(address)?;
        window.question = Some(Question {
            number: self.questions,
            bytes: std::mem::take(&mut window.unasked),
            until: now + ANSWER_TIMEOUT,
            is_held: false,
        });
        Some(Ask(self.questions))
    }

    /// Ends a question whose answer is overdue.
    fn end_question(&mut self, address: &str, now: Instant) {
        let Some(window) = self.windows.get_mut(address) else {
            return;
        };
        let Some(question) = window.question.take_if(|question| question.until <= now) else {
            return;
        };
        // A server that has answered before knows the question: it has ended, or the client left.
        if !question.is_held {
            window.silent_until = Some(now + SILENT);
        }
        self.bytes -= std::mem::take(&mut window.bytes);
        window.unasked = 0;
    }

    /// Forgets the bytes that nobody asks about and nothing was added to for some time.
    fn forget_idle(&mut self, now: Instant) {
        for window in self.windows.values_mut() {
            if window.question.is_none() && window.used + IDLE <= now {
                self.bytes -= std::mem::take(&mut window.bytes);
                window.unasked = 0;
            }
        }
    }

    /// Removes windows that are not used, before there are too many.
    fn sweep(&mut self, now: Instant) {
        if self.windows.len() < self.sweep_at {
            return;
        }
        self.forget_idle(now);
        self.windows.retain(|_, window| {
            window.bytes > 0 || window.silent_until.is_some_and(|until| until > now)
        });
        self.sweep_at = 1024.max(2 * self.windows.len());
    }

    fn remove(&mut self, address: &str) {
        if let Some(window) = self.windows.remove(address) {
            self.bytes -= window.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const SLOW: &str = "w/slow";

    /// Windows, and the last question.
    #[derive(Default)]
    struct Asked {
        windows: Windows,
        number: AtomicU64,
    }

    impl Asked {
        async fn send(&self, address: &str, bytes: usize) {
            let note = |Ask(number)| self.number.store(number, Ordering::Relaxed);
            self.windows.enter(address, bytes, note).await;
            if let Some(question) = self.windows.sent(address, bytes, 1) {
                note(question);
            }
        }

        async fn send_many(&self, address: &str, bytes: usize) {
            for _ in 0..bytes / 1024 {
                self.send(address, 1024).await;
            }
        }

        fn answer(&self, held: bool) {
            let number = self.number.load(Ordering::Relaxed);
            self.windows.answered(SLOW, number, held);
        }

        fn bytes(&self) -> usize {
            self.windows.inner.lock().bytes
        }
    }

    #[tokio::test(start_paused = true)]
    async fn senders_wait_for_the_answer() {
        let asked = Arc::new(Asked::default());
        let begun = Instant::now();
        asked.send_many(SLOW, CLIENT_BYTES).await;
        assert_eq!(asked.bytes(), CLIENT_BYTES);
        asked.send("w/other", 1024).await;
        let waits = asked.clone();
        let waiting = tokio::spawn(async move { waits.send(SLOW, 1024).await });
        asked.answer(true);
        tokio::time::sleep(HELD / 2).await;
        asked.answer(true);
        tokio::time::sleep(HELD / 2).await;
        assert!(!waiting.is_finished());
        asked.answer(false);
        waiting.await.unwrap();
        assert_eq!(begun.elapsed(), HELD);
        assert_eq!(asked.bytes(), CLIENT_BYTES / 2 + 2 * 1024);
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_know_no_questions_get_everything() {
        let asked = Asked::default();
        let begun = Instant::now();
        asked.send_many(SLOW, 4 * CLIENT_BYTES).await;
        assert_eq!(begun.elapsed(), ANSWER_TIMEOUT);
        tokio::time::sleep(SILENT).await;
        asked.send_many(SLOW, CLIENT_BYTES).await;
        assert_eq!(asked.bytes(), CLIENT_BYTES, "it is asked again");
    }

    #[tokio::test(start_paused = true)]
    async fn all_clients_share_what_redis_holds() {
        let asked = Asked::default();
        for client in 0..ALL_BYTES / 1024 {
            asked.send(&format!("w/{client}"), 1024).await;
        }
        let begun = Instant::now();
        // Larger than a window: alone in it.
        asked.send(SLOW, 2 * CLIENT_BYTES).await;
        assert_eq!(begun.elapsed(), IDLE, "a few bytes have passed by then");
        assert_eq!(asked.bytes(), 2 * CLIENT_BYTES);
        asked.windows.sent(SLOW, 1024, 0);
        assert_eq!(asked.bytes(), 0, "nobody is there");
    }

    #[tokio::test(start_paused = true)]
    async fn windows_that_are_not_used_are_forgotten() {
        let asked = Asked::default();
        for client in 0..5000 {
            asked.send(&format!("v/{client}"), 1).await;
            tokio::time::sleep(IDLE / 100).await;
        }
        assert!(asked.windows.inner.lock().windows.len() < 2048);
    }
}
