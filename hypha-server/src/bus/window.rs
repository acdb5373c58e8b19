//! Bounds on the messages that are on their way to the clients of other servers.
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
/// Bytes on their way to all clients that keep up. By default Redis keeps up to 32 MB for a
/// subscription, which several servers share.
const ALL_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of a message that need not wait for other clients, if it is the only one to its own.
const SMALL: usize = 16 * 1024;
/// Time for an answer. After it a server that has answered before is asked again, and another one
/// counts as one that does not know the question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Time in which a server that has not answered is not asked again. It doubles with each such
/// question, so that the clients of a server that knows none hardly wait.
const SILENT: Duration = Duration::from_secs(10);
/// Number of times that it doubles.
const DOUBLINGS: u32 = 6;
/// Interval at which a server repeats that a client does not keep up.
pub(crate) const REPEAT: Duration = Duration::from_secs(5);
/// Time without any answer after which the bytes are forgotten: the server may have ended.
const PATIENCE: Duration = Duration::from_secs(15);
/// Time after which a few bytes have passed, although nobody was asked.
const IDLE: Duration = Duration::from_secs(1);

/// What is on its way, by address.
pub(super) struct Windows {
    inner: Mutex<Inner>,
    changed: Notify,
}

struct Inner {
    windows: HashMap<Box<str>, Window>,
    /// Bytes in all windows that are not held.
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
    /// The client does not keep up, says its server.
    held: bool,
    /// Its server has answered.
    answers: bool,
    /// Nothing is counted until then: the server does not answer.
    silent_until: Option<Instant>,
    /// Questions in a row that it has not answered.
    unanswered: u32,
    used: Instant,
}

struct Question {
    /// Its number, and the one with which it was asked first.
    number: u64,
    first: u64,
    bytes: usize,
    /// When it is asked again, and when its bytes are forgotten.
    until: Instant,
    end: Instant,
}

/// A question to the server of a client: have the bytes passed?
#[derive(Debug, PartialEq)]
pub(super) struct Ask(pub(super) u64);

/// Bytes that are counted. They no longer are if this is dropped before they are sent.
pub(super) struct Passage<'a> {
    windows: &'a Windows,
    address: &'a str,
    bytes: usize,
}

enum Next {
    Go(usize),
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
    pub(super) async fn enter<'a>(
        &'a self,
        address: &'a str,
        bytes: usize,
        ask: impl Fn(Ask),
    ) -> Passage<'a> {
        loop {
            let changed = self.changed.notified();
            let next = self.inner.lock().next(address, bytes, Instant::now());
            match next {
                Next::Go(bytes) => {
                    return Passage {
                        windows: self,
                        address,
                        bytes,
                    };
                }
                Next::Ask(question) => ask(question),
                Next::WaitUntil(until) => {
                    let _ = tokio::time::timeout_at(until, changed).await;
                }
            }
        }
    }

    /// Notes an answer: the bytes have passed, or they are `held` and another answer will come.
    pub(super) fn answered(&self, address: &str, number: u64, held: bool) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let Some(window) = inner.windows.get_mut(address) else {
            return;
        };
        let Some(question) = &mut window.question else {
            return;
        };
        if !(question.first..=question.number).contains(&number) {
            return;
        }
        window.answers = true;
        window.unanswered = 0;
        if held {
            let now = Instant::now();
            (question.until, question.end) = (now + PATIENCE, now + PATIENCE);
            if !window.held {
                window.held = true;
                inner.bytes -= window.bytes;
            }
        } else {
            let passed = question.bytes.min(window.bytes);
            window.question = None;
            if window.held {
                window.held = false;
                inner.bytes += window.bytes;
            }
            window.bytes -= passed;
            inner.bytes -= passed;
        }
        self.changed.notify_waiters();
    }
}

impl Passage<'_> {
    /// Notes that Redis has the bytes, for `receivers` servers. Returns the question that is due.
    pub(super) fn sent(mut self, receivers: u64) -> Option<Ask> {
        if receivers == 0 {
            // Its drop gives them back.
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes);
        let mut inner = self.windows.inner.lock();
        let window = inner.windows.get_mut(self.address)?;
        window.unasked = (window.unasked + bytes).min(window.bytes);
        let is_due = window.question.is_none() && window.unasked >= CLIENT_BYTES / 2;
        is_due.then(|| inner.ask(self.address, Instant::now()))?
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.windows
                .inner
                .lock()
                .give_back(self.address, self.bytes);
            self.windows.changed.notify_waiters();
        }
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
                held: false,
                answers: false,
                silent_until: None,
                unanswered: 0,
                used: now,
            };
            self.windows.insert(address.into(), window);
        }
        if let Some(question) = self.overdue(address, now) {
            return Next::Ask(question);
        }
        let all = self.bytes;
        let Some(window) = self.windows.get_mut(address) else {
            return Next::Go(0);
        };
        if window.silent_until.is_some_and(|until| until > now) {
            return Next::Go(0);
        }
        let fits = window.bytes == 0 || window.bytes + bytes <= CLIENT_BYTES;
        let is_small = window.bytes == 0 && bytes <= SMALL;
        if !window.held && fits && (is_small || all == 0 || all + bytes <= ALL_BYTES) {
            window.bytes += bytes;
            window.used = now;
            self.bytes += bytes;
            return Next::Go(bytes);
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
            first: self.questions,
            bytes: std::mem::take(&mut window.unasked),
            until: now + ANSWER_TIMEOUT,
            end: now + PATIENCE,
        });
        Some(Ask(self.questions))
    }

    /// Asks again if the answer is overdue, or forgets the bytes of a server that does not answer.
    fn overdue(&mut self, address: &str, now: Instant) -> Option<Ask> {
        let window = self.windows.get_mut(address)?;
        let question = window.question.as_mut()?;
        if question.until > now {
            return None;
        }
        if window.answers && question.end > now {
            // It may have been busy, or out of touch.
            self.questions += 1;
            question.number = self.questions;
            question.until = now + ANSWER_TIMEOUT;
            return Some(Ask(self.questions));
        }
        if !window.answers {
            window.silent_until = Some(now + SILENT * 2_u32.pow(window.unanswered));
            window.unanswered = (window.unanswered + 1).min(DOUBLINGS);
        }
        window.question = None;
        window.answers = false;
        window.unasked = 0;
        let bytes = std::mem::take(&mut window.bytes);
        if !std::mem::take(&mut window.held) {
            self.bytes -= bytes;
        }
        None
    }

    /// Removes bytes that were counted and are not on their way.
    fn give_back(&mut self, address: &str, bytes: usize) {
        if let Some(window) = self.windows.get_mut(address) {
            let bytes = bytes.min(window.bytes);
            window.bytes -= bytes;
            window.unasked = window.unasked.min(window.bytes);
            if !window.held {
                self.bytes -= bytes;
            }
        }
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
            let passage = self.windows.enter(address, bytes, note).await;
            if let Some(question) = passage.sent(1) {
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
        assert_eq!(asked.bytes(), 1024, "a slow client is in nobody's way");
        tokio::time::sleep(PATIENCE / 2).await;
        asked.answer(true);
        tokio::time::sleep(PATIENCE / 2).await;
        assert!(!waiting.is_finished());
        asked.answer(false);
        waiting.await.unwrap();
        assert_eq!(begun.elapsed(), PATIENCE);
        assert_eq!(asked.bytes(), CLIENT_BYTES / 2 + 2 * 1024);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_has_answered_is_asked_again() {
        let asked = Arc::new(Asked::default());
        asked.send_many(SLOW, CLIENT_BYTES / 2).await;
        asked.answer(false);
        asked.send_many(SLOW, CLIENT_BYTES).await;
        let (begun, first) = (Instant::now(), asked.number.load(Ordering::Relaxed));
        let waits = asked.clone();
        let waiting = tokio::spawn(async move { waits.send(SLOW, 1024).await });
        tokio::time::sleep(3 * ANSWER_TIMEOUT + ANSWER_TIMEOUT / 2).await;
        assert!(!waiting.is_finished());
        assert_eq!(asked.number.load(Ordering::Relaxed), first + 3);
        // The answer to the first of them is as good.
        asked.windows.answered(SLOW, first, false);
        waiting.await.unwrap();
        assert!(begun.elapsed() < PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_not_sent_is_not_counted() {
        let windows = Windows::default();
        let bytes = || windows.inner.lock().bytes;
        let passage = windows.enter(SLOW, 15 * CLIENT_BYTES, |_| ()).await;
        assert_eq!(bytes(), 15 * CLIENT_BYTES);
        drop(passage);
        assert_eq!(bytes(), 0);
        let begun = Instant::now();
        let passage = windows.enter(SLOW, 15 * CLIENT_BYTES, |_| ()).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(passage.sent(0), None);
        assert_eq!(bytes(), 0, "nobody is there");
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
        let begun = Instant::now();
        asked.send_many(SLOW, CLIENT_BYTES).await;
        tokio::time::sleep(2 * SILENT - Duration::from_secs(1)).await;
        asked.send_many(SLOW, 4 * CLIENT_BYTES).await;
        let waited = begun.elapsed() + Duration::from_secs(1) - 2 * SILENT;
        assert_eq!(waited, ANSWER_TIMEOUT, "but less often");
    }

    #[tokio::test(start_paused = true)]
    async fn all_clients_share_what_redis_holds() {
        let asked = Asked::default();
        for client in 0..ALL_BYTES / SMALL {
            asked.send(&format!("w/{client}"), SMALL).await;
        }
        let begun = Instant::now();
        asked.send("w/small", SMALL).await;
        assert_eq!(
            begun.elapsed(),
            Duration::ZERO,
            "it waits for no other client"
        );
        // Larger than a window: alone in it.
        asked.send(SLOW, 2 * CLIENT_BYTES).await;
        assert_eq!(begun.elapsed(), IDLE, "a few bytes have passed by then");
        assert_eq!(asked.bytes(), 2 * CLIENT_BYTES);
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
