//! Windows: upper bounds on the bytes that are on their way to clients of other servers.
//!
//! Redis drops the subscription of a server for which too many bytes pile up. A server cannot slow
//! Redis down, because it must not wait while it delivers what others have sent: one slow client
//! would hold up all others. So the sending server counts. After some bytes for a client it asks
//! the client's server whether they have passed, and until that says yes the senders wait.
//!
//! A server of the original never answers. Its clients then get everything without a wait, except
//! for a question from time to time.
//!
//! One lock guards all windows, for a few instructions at a time. `Inner::bytes` is the sum of the
//! bytes of all windows that are not held.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Upper bound on the bytes on their way to one client. A larger message goes alone.
const CLIENT_BYTES: usize = 1024 * 1024;
/// Upper bound on the bytes on their way to all clients that keep up. By default Redis keeps up to
/// 32 MB for one subscription, and several servers may send to it.
const ALL_BYTES: usize = 8 * 1024 * 1024;
/// A message up to this size, in bytes, need not wait for other clients if nothing else is on its
/// way to its own client. Otherwise a few busy clients would delay all others.
const SMALL: usize = 16 * 1024;
/// Time for an answer. After it a server that has answered before is asked again. Any other server
/// counts as one that does not know the question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for which a server that has not answered is not asked again. It doubles with each such
/// question, so that clients of a server that never answers hardly wait.
const SILENT: Duration = Duration::from_secs(10);
/// Upper bound on the doublings of [`SILENT`]: 640 s.
const DOUBLINGS: u32 = 6;
/// Interval at which a server repeats that a client does not keep up. Less than [`PATIENCE`], so
/// that the asking server keeps waiting.
pub(crate) const REPEAT: Duration = Duration::from_secs(5);
/// Time without any answer after which the bytes are forgotten, because the server may have ended.
const PATIENCE: Duration = Duration::from_secs(15);
/// Time after which a few bytes count as passed without a question.
const IDLE: Duration = Duration::from_secs(1);

/// The windows of all clients at other servers, by address.
pub(super) struct Windows {
    inner: Mutex<Inner>,
    /// Notified when a window has more room.
    changed: Notify,
}

/// The state of the windows.
struct Inner {
    windows: HashMap<Box<str>, Window>,
    /// Bytes in all windows that are not held.
    bytes: usize,
    /// Number of the latest question.
    questions: u64,
    /// Number of windows at which unused ones are removed.
    sweep_at: usize,
}

/// The bytes on their way to one client.
struct Window {
    bytes: usize,
    /// Bytes that Redis has and that no question covers yet.
    unasked: usize,
    /// The question that waits for an answer.
    question: Option<Question>,
    /// The client's server says that the client does not keep up. Its bytes then do not count
    /// towards the bound for all clients, because they are in the client's queue and not in Redis.
    held: bool,
    /// The client's server has answered a question of this window.
    answers: bool,
    /// Until then nothing is counted, because the client's server does not answer.
    silent_until: Option<Instant>,
    /// Questions in a row that the client's server has not answered, at most [`DOUBLINGS`].
    unanswered: u32,
    /// Time of the latest message.
    used: Instant,
}

/// A question to the server of a client that waits for an answer.
struct Question {
    /// The number with which it was asked last.
    number: u64,
    /// The number with which it was asked first. An answer to any number in between counts.
    first: u64,
    /// Bytes that it covers.
    bytes: usize,
    /// Time at which it is asked again.
    until: Instant,
    /// Time at which its bytes are forgotten.
    end: Instant,
}

/// A question to send to the server of a client, by its number: have the bytes passed?
#[derive(Debug, PartialEq)]
pub(super) struct Ask(pub(super) u64);

/// The permission to send bytes, which are counted. Dropping it before [`sent`](Self::sent) takes
/// them out of the count.
pub(super) struct Passage<'a> {
    windows: &'a Windows,
    address: &'a str,
    /// Counted bytes; 0 if nothing is counted for this client.
    bytes: usize,
}

/// The next step of a sender.
enum Next {
    /// Send; this many bytes were counted.
    Go(usize),
    /// Put this question, then look again.
    Ask(Ask),
    /// Wait for a change, at most until this time, then look again.
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
    /// Waits until `bytes` may be sent to a client, and counts them. `ask` must send a question to
    /// the client's server without waiting.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, nothing is counted.
    pub(super) async fn enter<'a>(
        &'a self,
        address: &'a str,
        bytes: usize,
        ask: impl Fn(Ask),
    ) -> Passage<'a> {
        loop {
            // Created before the look, so that a change in between is not missed: `notify_waiters`
            // wakes it even if it is not polled yet.
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
                    // A timeout is a reason to look again, like a change.
                    let _ = tokio::time::timeout_at(until, changed).await;
                }
            }
        }
    }

    /// Notes an answer of a client's server: the bytes have passed, or they are `held` and another
    /// answer will follow. Ignores answers to other questions than the current one.
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
            // The server is alive, so its bytes must not be forgotten yet.
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
    /// Notes that Redis has the bytes and has passed them to `receivers` servers. Returns the
    /// question to send, if one is due: after half a window, so that the answer arrives before the
    /// window is full.
    pub(super) fn sent(mut self, receivers: u64) -> Option<Ask> {
        if receivers == 0 {
            // Nobody received the bytes, so they must not count: dropping `self` takes them out.
            return None;
        }
        // Taken out, so that the destructor does not give them back.
        let bytes = std::mem::take(&mut self.bytes);
        let mut inner = self.windows.inner.lock();
        let window = inner.windows.get_mut(self.address)?;
        // At most the bytes of the window, because they may have been forgotten in the meantime.
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
    /// Returns the next step of a sender of `bytes` to a client. Counts them if they may go.
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
            // A question cannot help, because the window's own bytes are not in Redis yet, or other
            // windows fill the bound for all clients. Only bytes that count as passed can make
            // room.
            None => {
                self.forget_idle(now);
                // Ends, because each repetition requires that bytes were forgotten.
                if all > self.bytes {
                    return self.next(address, bytes, now);
                }
                Next::WaitUntil(now + IDLE)
            }
        }
    }

    /// Creates a question that covers all bytes of a window that no question covers.
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

    /// Handles a question whose answer is overdue: returns it with a new number if the server has
    /// answered before, otherwise forgets the bytes of the window.
    fn overdue(&mut self, address: &str, now: Instant) -> Option<Ask> {
        let window = self.windows.get_mut(address)?;
        let question = window.question.as_mut()?;
        if question.until > now {
            return None;
        }
        if window.answers && question.end > now {
            // Asked again, because the server may have been busy, or a message was lost.
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

    /// Takes bytes out of the count that were not sent.
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

    /// Forgets the bytes of windows without a question to which nothing was added for [`IDLE`].
    /// Such windows usually have too few bytes for a question.
    fn forget_idle(&mut self, now: Instant) {
        for window in self.windows.values_mut() {
            if window.question.is_none() && window.used + IDLE <= now {
                self.bytes -= std::mem::take(&mut window.bytes);
                window.unasked = 0;
            }
        }
    }

    /// Removes unused windows if there are many. The next threshold is twice the number that is
    /// left, so that a new window costs constant time on average.
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
