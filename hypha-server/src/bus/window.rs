//! Limits the bytes that are in transit to clients of other servers. The limit for one client is
//! called a window.
//!
//! Redis drops the subscription of a server that reads too slowly. A server must not stop reading
//! when one client is slow, because all its other clients would have to wait too. Therefore the
//! sending server counts the bytes in transit to each client. When half of a window is used, the
//! sending server sends a probe to the server of the client. When the window is full, the senders
//! wait for a reply that says that the client has read the bytes.
//!
//! A Python server never replies to a probe. Messages to the clients of a Python server do not
//! wait, except while the sending server occasionally waits for a reply to a probe.
//!
//! One lock protects all windows. It is held only for a few instructions at a time. `Inner::bytes`
//! is the sum of the bytes of all windows that are not `held`.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Maximum number of bytes in transit to one client. A larger message is sent when no other bytes
/// are in transit to this client.
const CLIENT_BYTES: usize = 1024 * 1024;
/// Maximum number of bytes in transit to all clients together, except clients that read too slowly.
/// By default, Redis buffers up to 32 MB for one subscription, and several servers may send to the
/// same subscription.
const ALL_BYTES: usize = 8 * 1024 * 1024;
/// Maximum size of a small message, in bytes. If nothing else is in transit to a client, a small
/// message to this client is sent even if [`ALL_BYTES`] is exceeded. Without this rule, a few busy
/// clients would delay the messages to all other clients.
const SMALL: usize = 16 * 1024;
/// Timeout for the reply to a probe. After this timeout, a server that has replied to an earlier
/// probe receives another probe. A server that has never replied is treated as a server that does
/// not support probes.
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before a server that has not replied to a probe receives another probe. The pause doubles
/// with each probe without a reply, so that a server without support for probes hardly delays
/// messages.
const SILENT_PAUSE: Duration = Duration::from_secs(10);
/// Maximum number of doublings of [`SILENT_PAUSE`]. The longest pause is 640 s.
const DOUBLINGS: u32 = 6;
/// Interval at which the server of a slow client repeats its reply. This interval is shorter than
/// [`RESET_TIMEOUT`], so that the sending server keeps waiting.
pub(crate) const REPEAT: Duration = Duration::from_secs(5);
/// Time without a reply to a probe after which the sending server resets the window to zero,
/// because the server of the client may have ended. If that server replies that the client is slow,
/// the time starts again.
const RESET_TIMEOUT: Duration = Duration::from_secs(15);
/// If a window has no probe and no message has been sent for this time, the bytes of the window
/// count as read. This rule is for windows with too few bytes for a probe.
const IDLE: Duration = Duration::from_secs(1);

/// The windows of all clients that are connected to other servers, by address.
pub(super) struct Windows {
    inner: Mutex<Inner>,
    /// Notified when the bytes of a window have changed.
    changed: Notify,
}

/// The state of the windows.
struct Inner {
    windows: HashMap<Box<str>, Window>,
    /// Sum of the bytes of all windows that are not `held`.
    bytes: usize,
    /// Number of the latest probe.
    probes: u64,
    /// Number of windows at which unused windows are removed.
    sweep_at: usize,
}

/// The bytes in transit to one client.
struct Window {
    bytes: usize,
    /// Bytes that Redis has received, and that were sent after the latest probe.
    unprobed: usize,
    /// The probe that has no reply yet.
    probe: Option<Probe>,
    /// Whether the server of the client has replied that the client reads too slowly. The bytes of
    /// the window are then in the queue of the client and not in Redis, so they do not count
    /// towards the limit for all clients.
    held: bool,
    /// Whether the server of the client has replied to a probe of this window. Reset to false if
    /// the reply to a later probe is missing for [`RESET_TIMEOUT`].
    replies: bool,
    /// Time until which bytes for this client are not counted, because the server of the client
    /// does not reply to probes.
    silent_until: Option<Instant>,
    /// Number of consecutive probes without a reply, at most [`DOUBLINGS`].
    missed: u32,
    /// Time of the latest message.
    used: Instant,
}

/// A probe for which the sending server has not received a reply yet.
struct Probe {
    /// Number under which this probe was last sent.
    number: u64,
    /// Number under which this probe was first sent. A reply to any number from `first` to `number`
    /// is accepted.
    first: u64,
    /// Number of bytes that a reply to this probe confirms as read.
    bytes: usize,
    /// Time at which the probe is sent again.
    until: Instant,
    /// Time at which the window is reset to zero if no reply has arrived.
    end: Instant,
}

/// Number of a probe. The caller must send this probe to the server of the client. The probe asks
/// whether the client has read the bytes.
#[derive(Debug, PartialEq)]
pub(super) struct ProbeNumber(pub(super) u64);

/// The permission to send bytes. The window already counts these bytes. Dropping this value without
/// calling [`sent`](Self::sent) subtracts the bytes again.
pub(super) struct Passage<'a> {
    windows: &'a Windows,
    address: &'a str,
    /// Number of counted bytes. 0 if bytes for this client are not counted.
    bytes: usize,
}

/// The next step of a sender.
enum Next {
    /// Send the message. The window has counted this number of bytes.
    Go(usize),
    /// Send this probe. Then ask for the next step again.
    Send(ProbeNumber),
    /// Wait until a window changes, but at most until this time. Then ask for the next step again.
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
    /// Waits until `bytes` bytes may be sent to a client, and adds them to the client's window.
    /// `send_probe` must send a probe to the server of the client, and must not wait.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, no bytes are added to the window.
    pub(super) async fn enter<'a>(
        &'a self,
        address: &'a str,
        bytes: usize,
        send_probe: impl Fn(ProbeNumber),
    ) -> Passage<'a> {
        loop {
            // Create this future before reading the state, so that no later change is lost:
            // `notify_waiters` also wakes a future that has not been polled yet.
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
                    // Ignore a timeout, because the loop reads the state again in any case.
                    let _ = tokio::time::timeout_at(until, changed).await;
                }
            }
        }
    }

    /// Handles a reply of the server of a client. If `held` is false, the client has read the
    /// bytes. If `held` is true, the client reads too slowly, and another reply will follow.
    /// Ignores a reply to a probe other than the current probe.
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
            // The reply shows that the server of the client is alive, so keep the bytes in the
            // window.
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
    /// Records that Redis has received the bytes and has passed them to `receivers` servers.
    /// Returns a probe if the caller must send one. This happens when half of the window is used,
    /// so that the reply arrives before the window is full.
    pub(super) fn sent(mut self, receivers: u64) -> Option<ProbeNumber> {
        if receivers == 0 {
            // No server has received the bytes. Dropping `self` subtracts them from the window.
            return None;
        }
        // Set `self.bytes` to 0, so that the destructor does not subtract the bytes.
        let bytes = std::mem::take(&mut self.bytes);
        let mut inner = self.windows.inner.lock();
        let window = inner.windows.get_mut(self.address)?;
        // If the window was reset in the meantime, it no longer counts the new bytes. Therefore
        // limit `unprobed` to the bytes of the window.
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
    /// Returns the next step of a sender that wants to send `bytes` bytes to a client. If the bytes
    /// may be sent, adds them to the window of the client.
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
            // A probe would not help here. Either the bytes of this window are not in Redis yet, or
            // other windows use the whole limit for all clients. Only bytes that count as read can
            // free a part of the limits.
            None => {
                self.forget_idle(now);
                // This recursion ends, because each repetition requires that bytes were subtracted
                // before.
                if all > self.bytes {
                    return self.next(address, bytes, now);
                }
                Next::WaitUntil(now + IDLE)
            }
        }
    }

    /// Creates a probe for all bytes of a window that were sent after the latest probe.
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

    /// Handles a missing reply to a probe. If the server of the client has replied to an earlier
    /// probe, returns the probe with a new number, to send it again. Otherwise, stops counting the
    /// bytes of the window for a while.
    fn overdue(&mut self, address: &str, now: Instant) -> Option<ProbeNumber> {
        let window = self.windows.get_mut(address)?;
        let probe = window.probe.as_mut()?;
        if probe.until > now {
            return None;
        }
        if window.replies && probe.end > now {
            // Send the probe again, because the server of the client may have been busy, or a
            // message may have been lost.
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

    /// Subtracts bytes that were added to a window but not sent.
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

    /// Subtracts the bytes of each window that has no probe and has counted no new bytes for
    /// [`IDLE`]. Such a window usually has too few bytes for a probe.
    fn forget_idle(&mut self, now: Instant) {
        for window in self.windows.values_mut() {
            if window.probe.is_none() && window.used + IDLE <= now {
                self.bytes -= std::mem::take(&mut window.bytes);
                window.unprobed = 0;
            }
        }
    }

    /// Removes unused windows if there are many windows. Then sets the next threshold to twice the
    /// number of remaining windows, so that adding a window takes amortized constant time.
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

    /// The windows of a sending server, and the number of its last probe.
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
        // A message that is larger than a window is sent alone.
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
