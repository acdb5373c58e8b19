//! Windows: limits on the bytes in transit to clients of other servers.
//!
//! Redis drops the subscription of a server that reads too slowly. A server must not stop reading,
//! because one slow client would then delay all other clients. So the sending server counts the
//! bytes in transit. After some bytes for a client, the sending server sends a probe to the
//! client's server. Once the window is full, the senders wait until a reply says that the client
//! has read the bytes.
//!
//! A Python server never replies. Messages to its clients do not wait, except for an occasional
//! probe.
//!
//! One lock guards all windows, for a few instructions at a time. `Inner::bytes` is the sum of the
//! bytes of all windows that are not held.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Maximum number of bytes in transit to one client. A larger message is sent alone.
const CLIENT_BYTES: usize = 1024 * 1024;
/// Maximum number of bytes in transit to all clients that keep up. By default Redis buffers up to
/// 32 MB for one subscription, and several servers may send to it.
const ALL_BYTES: usize = 8 * 1024 * 1024;
/// A message up to this size, in bytes, need not wait for other clients if nothing else is in
/// transit to its own client. Without this rule, a few busy clients would delay all other clients.
const SMALL: usize = 16 * 1024;
/// Timeout for a reply. After this time, a server that has replied before is probed again. A server
/// that has never replied counts as a server without support for probes.
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before a server that has not replied is probed again. The pause doubles with each missed
/// probe, so that clients of a server that never replies are hardly delayed.
const SILENT_PAUSE: Duration = Duration::from_secs(10);
/// Maximum number of doublings of [`SILENT_PAUSE`]. The longest pause is 640 s.
const DOUBLINGS: u32 = 6;
/// Interval at which a server repeats that a client does not keep up. Less than [`RESET_TIMEOUT`],
/// so that the sending server keeps waiting.
pub(crate) const REPEAT: Duration = Duration::from_secs(5);
/// Time without a reply to a probe after which the window is reset to zero, because the client's
/// server may have ended. The time restarts if the server replies that the client does not keep up.
const RESET_TIMEOUT: Duration = Duration::from_secs(15);
/// Time after which the bytes of a window count as read without a probe. Windows with too few bytes
/// for a probe need this rule.
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
    /// Sum of the bytes of all windows whose `held` is false.
    bytes: usize,
    /// Number of the latest probe.
    probes: u64,
    /// Number of windows above which unused windows are removed.
    sweep_at: usize,
}

/// The bytes in transit to one client.
struct Window {
    bytes: usize,
    /// Bytes that Redis has received and that no probe covers yet.
    unprobed: usize,
    /// The probe that waits for a reply.
    probe: Option<Probe>,
    /// Whether the client's server has replied that the client does not keep up. The window's bytes
    /// then do not count towards the limit for all clients, because they are in the client's queue
    /// and not in Redis.
    held: bool,
    /// Whether the client's server has replied to a probe of this window. Reset when a reply is
    /// missing for [`RESET_TIMEOUT`].
    replies: bool,
    /// Time until which no bytes are counted, because the client's server does not reply.
    silent_until: Option<Instant>,
    /// Consecutive probes without a reply, at most [`DOUBLINGS`].
    missed: u32,
    /// Time of the latest message.
    used: Instant,
}

/// A probe that waits for a reply of a client's server.
struct Probe {
    /// Number of the latest transmission of this probe.
    number: u64,
    /// Number of the first transmission. A reply to any number from `first` to `number` is
    /// accepted.
    first: u64,
    /// Bytes that the probe covers.
    bytes: usize,
    /// Time at which the probe is repeated.
    until: Instant,
    /// Time at which the window is reset to zero if the client's server has not replied.
    end: Instant,
}

/// Number of a probe that the caller must send to the client's server. The probe asks whether the
/// client has read the bytes.
#[derive(Debug, PartialEq)]
pub(super) struct ProbeNumber(pub(super) u64);

/// The permission to send bytes, which are already counted. If it is dropped before
/// [`sent`](Self::sent), the bytes are subtracted again.
pub(super) struct Passage<'a> {
    windows: &'a Windows,
    address: &'a str,
    /// Counted bytes. 0 if nothing is counted for this client.
    bytes: usize,
}

/// The next step of a sender.
enum Next {
    /// Send. This many bytes were counted.
    Go(usize),
    /// Send this probe, then check again.
    Send(ProbeNumber),
    /// Wait for a change, at most until this time, then check again.
    WaitUntil(Instant),
}

impl Default for Windows {
    fn default() -> Self {
        Windows {
            inner: Mutex::new(Inner {
                windows: HashMap::new(),
                bytes: 0,
                probes: 0,
                sweep_at: 1024,
            }),
            changed: Notify::new(),
        }
    }
}

impl Windows {
    /// Waits until `bytes` may be sent to a client, and counts them. `send_probe` must send a probe
    /// to the client's server without waiting.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, nothing is counted.
    pub(super) async fn enter<'a>(
        &'a self,
        address: &'a str,
        bytes: usize,
        send_probe: impl Fn(ProbeNumber),
    ) -> Passage<'a> {
        loop {
            // Created before the state is checked. `notify_waiters` also wakes a future that was
            // not polled yet, so a change after the check is not lost.
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
                Next::Send(probe) => send_probe(probe),
                Next::WaitUntil(until) => {
                    // After a timeout, the state is checked again, as after a change.
                    let _ = tokio::time::timeout_at(until, changed).await;
                }
            }
        }
    }

    /// Records a reply of a client's server: the client has read the bytes, or they are `held` and
    /// another reply will follow. Ignores replies to probes other than the current probe.
    pub(super) fn replied(&self, address: &str, number: u64, held: bool) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let Some(window) = inner.windows.get_mut(address) else {
            return;
        };
        let Some(probe) = &mut window.probe else {
            return;
        };
        if !(probe.first..=probe.number).contains(&number) {
            return;
        }
        window.replies = true;
        window.missed = 0;
        if held {
            // The client's server is alive, so continue to count the bytes.
            let now = Instant::now();
            (probe.until, probe.end) = (now + RESET_TIMEOUT, now + RESET_TIMEOUT);
            if !window.held {
                window.held = true;
                inner.bytes -= window.bytes;
            }
        } else {
            let passed = probe.bytes.min(window.bytes);
            window.probe = None;
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
    /// Records that Redis has received the bytes and passed them to `receivers` servers. Returns
    /// the probe to send, if one is due: after half a window, so that the reply arrives before the
    /// window is full.
    pub(super) fn sent(mut self, receivers: u64) -> Option<ProbeNumber> {
        if receivers == 0 {
            // No server received the bytes, so they must not count: dropping `self` subtracts them.
            return None;
        }
        // Taken out, so that the destructor does not subtract them again.
        let bytes = std::mem::take(&mut self.bytes);
        let mut inner = self.windows.inner.lock();
        let window = inner.windows.get_mut(self.address)?;
        // Limited to the bytes of the window, because the window may have been reset, and then no
        // longer counts the new bytes.
        window.unprobed = (window.unprobed + bytes).min(window.bytes);
        let is_due = window.probe.is_none() && window.unprobed >= CLIENT_BYTES / 2;
        is_due.then(|| inner.start_probe(self.address, Instant::now()))?
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
    /// Returns the next step of a sender of `bytes` to a client. Counts the bytes if they may be
    /// sent.
    fn next(&mut self, address: &str, bytes: usize, now: Instant) -> Next {
        if !self.windows.contains_key(address) {
            self.sweep(now);
            let window = Window {
                bytes: 0,
                unprobed: 0,
                probe: None,
                held: false,
                replies: false,
                silent_until: None,
                missed: 0,
                used: now,
            };
            self.windows.insert(address.into(), window);
        }
        if let Some(probe) = self.overdue(address, now) {
            return Next::Send(probe);
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
        match &window.probe {
            Some(probe) => Next::WaitUntil(probe.until),
            None if window.unprobed > 0 => match self.start_probe(address, now) {
                Some(probe) => Next::Send(probe),
                None => Next::WaitUntil(now + IDLE),
            },
            // A probe cannot help, because the window's own bytes are not in Redis yet, or other
            // windows use up the limit for all clients. Only bytes that count as read can make
            // room.
            None => {
                self.forget_idle(now);
                // The recursion ends, because each repetition requires that bytes were subtracted.
                if all > self.bytes {
                    return self.next(address, bytes, now);
                }
                Next::WaitUntil(now + IDLE)
            }
        }
    }

    /// Creates a probe that covers all bytes of a window that no probe covers yet.
    fn start_probe(&mut self, address: &str, now: Instant) -> Option<ProbeNumber> {
        self.probes += 1;
        let window = self.windows.get_mut(address)?;
        window.probe = Some(Probe {
            number: self.probes,
            first: self.probes,
            bytes: std::mem::take(&mut window.unprobed),
            until: now + REPLY_TIMEOUT,
            end: now + RESET_TIMEOUT,
        });
        Some(ProbeNumber(self.probes))
    }

    /// Handles a probe whose reply is overdue. If the server has replied before, returns the probe
    /// with a new number; otherwise stops counting the bytes of the window.
    fn overdue(&mut self, address: &str, now: Instant) -> Option<ProbeNumber> {
        let window = self.windows.get_mut(address)?;
        let probe = window.probe.as_mut()?;
        if probe.until > now {
            return None;
        }
        if window.replies && probe.end > now {
            // Repeated, because the server may have been busy, or a message was lost.
            self.probes += 1;
            probe.number = self.probes;
            probe.until = now + REPLY_TIMEOUT;
            return Some(ProbeNumber(self.probes));
        }
        if !window.replies {
            window.silent_until = Some(now + SILENT_PAUSE * 2_u32.pow(window.missed));
            window.missed = (window.missed + 1).min(DOUBLINGS);
        }
        window.probe = None;
        window.replies = false;
        window.unprobed = 0;
        let bytes = std::mem::take(&mut window.bytes);
        if !std::mem::take(&mut window.held) {
            self.bytes -= bytes;
        }
        None
    }

    /// Subtracts bytes that were counted but not sent.
    fn give_back(&mut self, address: &str, bytes: usize) {
        if let Some(window) = self.windows.get_mut(address) {
            let bytes = bytes.min(window.bytes);
            window.bytes -= bytes;
            window.unprobed = window.unprobed.min(window.bytes);
            if !window.held {
                self.bytes -= bytes;
            }
        }
    }

    /// Stops counting the bytes of windows that have no probe and have received no bytes for
    /// [`IDLE`]. Such windows usually have too few bytes for a probe.
    fn forget_idle(&mut self, now: Instant) {
        for window in self.windows.values_mut() {
            if window.probe.is_none() && window.used + IDLE <= now {
                self.bytes -= std::mem::take(&mut window.bytes);
                window.unprobed = 0;
            }
        }
    }

    /// Removes unused windows if there are many. The next threshold is twice the number of
    /// remaining windows, so that adding a window takes amortized constant time.
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

    /// Windows, and the last probe.
    #[derive(Default)]
    struct Sender {
        windows: Windows,
        number: AtomicU64,
    }

    impl Sender {
        async fn send(&self, address: &str, bytes: usize) {
            let note = |ProbeNumber(number)| self.number.store(number, Ordering::Relaxed);
            let passage = self.windows.enter(address, bytes, note).await;
            if let Some(probe) = passage.sent(1) {
                note(probe);
            }
        }

        async fn send_many(&self, address: &str, bytes: usize) {
            for _ in 0..bytes / 1024 {
                self.send(address, 1024).await;
            }
        }

        fn reply(&self, held: bool) {
            let number = self.number.load(Ordering::Relaxed);
            self.windows.replied(SLOW, number, held);
        }

        fn bytes(&self) -> usize {
            self.windows.inner.lock().bytes
        }
    }

    #[tokio::test(start_paused = true)]
    async fn senders_wait_for_the_reply_to_a_probe() {
        let sender = Arc::new(Sender::default());
        let begun = Instant::now();
        sender.send_many(SLOW, CLIENT_BYTES).await;
        assert_eq!(sender.bytes(), CLIENT_BYTES);
        sender.send("w/other", 1024).await;
        let waits = sender.clone();
        let waiting = tokio::spawn(async move { waits.send(SLOW, 1024).await });
        sender.reply(true);
        assert_eq!(
            sender.bytes(),
            1024,
            "a slow client does not delay other clients"
        );
        tokio::time::sleep(RESET_TIMEOUT / 2).await;
        sender.reply(true);
        tokio::time::sleep(RESET_TIMEOUT / 2).await;
        assert!(!waiting.is_finished());
        sender.reply(false);
        waiting.await.unwrap();
        assert_eq!(begun.elapsed(), RESET_TIMEOUT);
        assert_eq!(sender.bytes(), CLIENT_BYTES / 2 + 2 * 1024);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_has_replied_is_probed_again() {
        let sender = Arc::new(Sender::default());
        sender.send_many(SLOW, CLIENT_BYTES / 2).await;
        sender.reply(false);
        sender.send_many(SLOW, CLIENT_BYTES).await;
        let (begun, first) = (Instant::now(), sender.number.load(Ordering::Relaxed));
        let waits = sender.clone();
        let waiting = tokio::spawn(async move { waits.send(SLOW, 1024).await });
        tokio::time::sleep(3 * REPLY_TIMEOUT + REPLY_TIMEOUT / 2).await;
        assert!(!waiting.is_finished());
        assert_eq!(sender.number.load(Ordering::Relaxed), first + 3);
        // A late reply to the first probe also ends the wait.
        sender.windows.replied(SLOW, first, false);
        waiting.await.unwrap();
        assert!(begun.elapsed() < RESET_TIMEOUT);
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
        assert_eq!(bytes(), 0, "no server received the bytes");
    }

    #[tokio::test(start_paused = true)]
    async fn servers_without_support_for_probes_get_all_messages() {
        let sender = Sender::default();
        let begun = Instant::now();
        sender.send_many(SLOW, 4 * CLIENT_BYTES).await;
        assert_eq!(begun.elapsed(), REPLY_TIMEOUT);
        tokio::time::sleep(SILENT_PAUSE).await;
        sender.send_many(SLOW, CLIENT_BYTES).await;
        assert_eq!(sender.bytes(), CLIENT_BYTES, "probed again");
        let begun = Instant::now();
        sender.send_many(SLOW, CLIENT_BYTES).await;
        tokio::time::sleep(2 * SILENT_PAUSE - Duration::from_secs(1)).await;
        sender.send_many(SLOW, 4 * CLIENT_BYTES).await;
        let waited = begun.elapsed() + Duration::from_secs(1) - 2 * SILENT_PAUSE;
        assert_eq!(waited, REPLY_TIMEOUT, "the second pause is longer");
    }

    #[tokio::test(start_paused = true)]
    async fn all_clients_share_the_limit_on_bytes_in_transit() {
        let sender = Sender::default();
        for client in 0..ALL_BYTES / SMALL {
            sender.send(&format!("w/{client}"), SMALL).await;
        }
        let begun = Instant::now();
        sender.send("w/small", SMALL).await;
        assert_eq!(
            begun.elapsed(),
            Duration::ZERO,
            "the client does not wait for other clients"
        );
        // A message larger than a window is sent alone.
        sender.send(SLOW, 2 * CLIENT_BYTES).await;
        assert_eq!(begun.elapsed(), IDLE, "the earlier bytes count as read");
        assert_eq!(sender.bytes(), 2 * CLIENT_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn unused_windows_are_removed() {
        let sender = Sender::default();
        for client in 0..5000 {
            sender.send(&format!("v/{client}"), 1).await;
            tokio::time::sleep(IDLE / 100).await;
        }
        assert!(sender.windows.inner.lock().windows.len() < 2048);
    }
}
