//! Sends notices. A notice is a small request that releases a function or stream of a peer, or
//! cancels a call. A notice is repeated until the peer acknowledges it.
//!
//! Destructors send notices, so no task waits for the response. Without repetition, a notice would
//! be lost if it were sent while the link is down. The peer would then keep the released stream for
//! [`Settings::object_idle_timeout`] after its last use.
//!
//! Any response acknowledges a notice. A rejection also acknowledges a notice, because a peer
//! without the method or stream has nothing to release. There is one exception: if the rejection
//! says that the peer is not connected or too busy, the notice is repeated. The driver repeats the
//! notices at the time [`Notices::due`].
//!
//! [`Settings::object_idle_timeout`]: super::Settings::object_idle_timeout

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hypha_wire::{Args, Head, MemoryCharge, Message, ReplyMode, absolute_address, random_id};
use indexmap::IndexMap;
use parking_lot::Mutex;

use super::sending::MAX_IDLE_TIMEOUT;
use super::stats::{add, count};
use super::{Engine, Handlers, rejection};
use crate::error::{CallSite, Error, from_wire};

/// Pause before an unacknowledged notice is sent again, in milliseconds. The pause doubles with
/// each attempt.
const FIRST_PAUSE: u64 = 5_000;
/// First pause for a peer that is not connected, in milliseconds. The pause is shorter than
/// [`FIRST_PAUSE`], because the server reports such a peer immediately, and most peers reconnect
/// quickly.
const ABSENT_PAUSE: u64 = 500;
/// Maximum pause, in milliseconds.
const LONGEST_PAUSE: u64 = 30_000;

/// Maximum number of notices to one peer that are repeated at once. Further notices follow after
/// [`BATCH_PAUSE`], so that repeated notices do not fill the send queue. If a peer is not
/// connected, only one notice is repeated per round, because one rejection is sufficient to show
/// that the peer is still not connected.
const BATCH: usize = 256;
const BATCH_PAUSE: u64 = 1_000;

/// Memory that a notice occupies in addition to its frame, in bytes.
const OVERHEAD: usize = 256;

/// Value of [`Notices::due`] if no notice waits for a repetition.
const NEVER: u64 = u64::MAX;

/// The unacknowledged notices.
pub(crate) struct Notices {
    table: Mutex<Table>,
    /// Time of the next repetition, in milliseconds of the connection's clock. The time is an
    /// atomic, so that the driver can read the time in each poll without locking the table. The
    /// time is only written while the table is locked. The stored time may be earlier than the next
    /// repetition, but never later.
    due: AtomicU64,
}

#[derive(Default)]
struct Table {
    /// The notices to each peer. The key is the absolute address of the peer. Contains only peers
    /// with unacknowledged notices.
    peers: HashMap<String, Unacknowledged>,
    /// Total number of unacknowledged notices to all peers.
    len: usize,
}

/// The unacknowledged notices to one peer.
struct Unacknowledged {
    /// The key is the id of the session in which the response arrives.
    notices: IndexMap<String, Notice>,
    /// Index of the notice that is repeated next.
    next: usize,
    /// Number of consecutive rounds without an acknowledgment.
    attempts: u32,
    /// Number of notices that are still to be repeated in this round.
    left: usize,
    /// Whether the last notice was rejected because the peer was not connected or too busy.
    absent: bool,
    /// Time of the next repetition, in milliseconds of the connection's clock.
    due: u64,
}

struct Notice {
    frame: Bytes,
    sent: u64,
    _charge: Option<MemoryCharge>,
}

impl Unacknowledged {
    fn new(now: u64) -> Self {
        Unacknowledged {
            notices: IndexMap::new(),
            next: 0,
            attempts: 0,
            left: 0,
            absent: false,
            due: now + FIRST_PAUSE,
        }
    }

    /// Returns the frames that must be sent again now, and sets the time of the next repetition.
    fn turn(&mut self, now: u64) -> Vec<Bytes> {
        let len = self.notices.len();
        if self.left == 0 {
            self.left = if self.absent { 1 } else { len };
            self.attempts += 1;
        }
        let count = self.left.min(len).min(BATCH);
        let indices = (self.next..self.next + count).map(|index| index % len);
        let frames = indices.filter_map(|index| self.notices.get_index(index));
        let frames = frames.map(|(_, notice)| notice.frame.clone()).collect();
        self.next = (self.next + count) % len.max(1);
        self.left = self.left.min(len) - count;
        let pause = match (self.left > 0, self.absent) {
            (true, _) => BATCH_PAUSE,
            (false, true) => ABSENT_PAUSE << (self.attempts - 1).min(16),
            (false, false) => FIRST_PAUSE << self.attempts.min(16),
        };
        self.due = now + pause.min(LONGEST_PAUSE);
        frames
    }
}

impl Notices {
    pub(super) fn new() -> Self {
        Notices {
            table: Mutex::default(),
            due: AtomicU64::new(NEVER),
        }
    }

    /// Adds a notice. Returns `false` if the table is full.
    fn add(&self, peer: &str, session: &str, notice: Notice, most: usize, now: u64) -> bool {
        let mut table = self.table.lock();
        if table.len >= most {
            return false;
        }
        table.len += 1;
        let peers = &mut table.peers;
        let unacknowledged = match peers.get_mut(peer) {
            Some(unacknowledged) => unacknowledged,
            None => {
                let new = Unacknowledged::new(now);
                peers.entry(peer.to_owned()).or_insert(new)
            }
        };
        unacknowledged.notices.insert(session.to_owned(), notice);
        self.due.fetch_min(unacknowledged.due, Ordering::AcqRel);
        true
    }

    /// Returns whether the notice with this session was sent to `peer` and is not acknowledged yet.
    pub(super) fn knows(&self, session: &str, peer: &str) -> bool {
        let table = self.table.lock();
        let unacknowledged = table.peers.get(peer);
        unacknowledged.is_some_and(|u| u.notices.contains_key(session))
    }

    /// Removes an acknowledged notice.
    fn acknowledge(&self, session: &str, peer: &str, now: u64) {
        let mut table = self.table.lock();
        let Some(unacknowledged) = table.peers.get_mut(peer) else {
            return;
        };
        let ended = unacknowledged.notices.swap_remove(session);
        if unacknowledged.absent {
            // The peer is connected again, but did not receive the other notices. Repeat the other
            // notices immediately.
            unacknowledged.absent = false;
            unacknowledged.left = 0;
            unacknowledged.due = now;
        }
        unacknowledged.attempts = 0;
        let due = match unacknowledged.notices.is_empty() {
            true => NEVER,
            false => unacknowledged.due,
        };
        if due == NEVER {
            table.peers.remove(peer);
        }
        table.len -= usize::from(ended.is_some());
        self.due.fetch_min(due, Ordering::AcqRel);
        // Release the lock before dropping the notice. The destructor of the notice calls the
        // memory account, which is code of the program.
        drop(table);
        drop(ended);
    }

    /// Records that a peer has not received a notice, because the peer was not connected or too
    /// busy.
    fn set_absent(&self, peer: &str, now: u64) {
        let mut table = self.table.lock();
        if let Some(unacknowledged) = table.peers.get_mut(peer) {
            if !unacknowledged.absent {
                unacknowledged.absent = true;
                unacknowledged.attempts = 0;
                unacknowledged.left = 0;
                unacknowledged.due = now + ABSENT_PAUSE;
                self.due.fetch_min(unacknowledged.due, Ordering::AcqRel);
            }
        }
    }

    /// Schedules all notices for an immediate repetition. Called when a new link is open, because
    /// the notices on the previous link may be lost.
    pub(super) fn repeat_all(&self, now: u64) {
        let mut table = self.table.lock();
        for unacknowledged in table.peers.values_mut() {
            unacknowledged.attempts = 0;
            unacknowledged.left = 0;
            unacknowledged.absent = false;
            unacknowledged.due = now;
            self.due.store(now, Ordering::Release);
        }
    }

    /// Returns when the next repetition is due, in milliseconds of the connection's clock.
    pub(super) fn due(&self) -> Option<u64> {
        let due = self.due.load(Ordering::Acquire);
        (due != NEVER).then_some(due)
    }

    /// Returns the frames to send again, and the number of dropped notices. Drops notices that are
    /// older than `life` milliseconds. Peers remove an object that is unused for `life`, so such a
    /// notice is no longer necessary.
    fn take_due(&self, now: u64, life: u64) -> (Vec<Bytes>, usize) {
        let mut table = self.table.lock();
        let mut frames = Vec::new();
        let mut expired = Vec::new();
        let mut next = NEVER;
        table.peers.retain(|_, unacknowledged| {
            if unacknowledged.due <= now {
                let before = expired.len();
                let kept = std::mem::take(&mut unacknowledged.notices).into_iter();
                let kept = kept.filter_map(|(session, notice)| {
                    if now.saturating_sub(notice.sent) < life {
                        return Some((session, notice));
                    }
                    expired.push(notice);
                    None
                });
                unacknowledged.notices = kept.collect();
                if expired.len() > before {
                    unacknowledged.next = 0;
                }
                frames.extend(unacknowledged.turn(now));
            }
            let stays = !unacknowledged.notices.is_empty();
            if stays {
                next = next.min(unacknowledged.due);
            }
            stays
        });
        table.len -= expired.len();
        self.due.store(next, Ordering::Release);
        drop(table);
        (frames, expired.len())
    }

    /// Returns the number of unacknowledged notices.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.table.lock().len
    }

    /// Drops all notices.
    pub(super) fn clear(&self) {
        let table = std::mem::take(&mut *self.table.lock());
        self.due.store(NEVER, Ordering::Release);
        drop(table);
    }
}

impl<H: Handlers> Engine<H> {
    /// Sends a small request about an argument of the call `parent`. Does not wait, and does not
    /// repeat the request. If the request is lost, the argument is still removed when the call
    /// `parent` ends.
    ///
    /// The request asks for no response. If the request asked for a response, a JavaScript peer
    /// would process the request after the next messages. One of these messages may be the response
    /// to `parent`. The argument would then be removed before the request could use it.
    pub(super) fn notify_once(&self, to: &str, method: &str, parent: &str, args: Args) {
        if self.lifecycle.is_closed() {
            return;
        }
        let head = Head {
            from: &self.identity().address(),
            to,
            method,
            parent: Some(parent),
            session: None,
        };
        // Encoding plain data cannot fail.
        let frame = args.finish(&head, ReplyMode::None);
        if frame.is_ok_and(|frame| !self.outbound.post(frame)) {
            count(&self.counters.undelivered);
        }
    }

    /// Sends a small request without waiting. The request is repeated until `to` acknowledges it.
    pub(crate) fn notify(&self, to: &str, method: &str, args: Args) {
        if self.lifecycle.is_closed() {
            return;
        }
        let identity = self.identity();
        let session = random_id();
        let head = Head {
            from: &identity.address(),
            to,
            method,
            parent: None,
            session: Some(&session),
        };
        let limit = self.settings.idle_timeout.min(MAX_IDLE_TIMEOUT);
        let interval = limit.as_secs_f64() / 2.0;
        // Encoding plain data cannot fail.
        let Ok(frame) = args.finish(&head, ReplyMode::Star { interval }) else {
            return;
        };
        let peer = absolute_address(to, &identity.workspace);
        let now = self.clock.now();
        let memory = self.settings.memory.as_ref();
        let charge = memory.map(|memory| memory.charge(&peer, frame.len() + OVERHEAD));
        // Add the notice to the table before sending it, because the response may arrive before
        // this function returns. If the memory account or the table is full, the notice is sent
        // only once.
        let is_kept = charge.transpose().is_ok_and(|charge| {
            let notice = Notice {
                frame: frame.clone(),
                sent: now,
                _charge: charge,
            };
            let most = self.settings.max_unacknowledged;
            self.notices.add(&peer, &session, notice, most, now)
        });
        if !self.outbound.post(frame) && !is_kept {
            count(&self.counters.undelivered);
        }
    }

    /// Handles the response to a notice. Returns `false` if the message does not belong to a
    /// notice.
    pub(super) fn acknowledged(
        &self,
        message: &Message,
        session: &str,
        from: &str,
        is_rejected: bool,
    ) -> bool {
        if !self.notices.knows(session, from) {
            return false;
        }
        let now = self.clock.now();
        if is_rejected && is_to_be_repeated(message, from) {
            self.notices.set_absent(from, now);
        } else {
            self.notices.acknowledge(session, from, now);
        }
        true
    }

    /// Sends all notices again that are due.
    pub(super) fn repeat_notices(&self) {
        let life = self.settings.object_idle_timeout.as_millis() as u64;
        let (frames, expired) = self.notices.take_due(self.clock.now(), life);
        add(&self.counters.undelivered, expired);
        add(&self.counters.notices_repeated, frames.len());
        for frame in frames {
            // If the queue is full, the notice stays in the table and is repeated later.
            self.outbound.post(frame);
        }
    }
}

/// Returns whether the notice must be sent again after a rejection. This is the case if the peer
/// did not receive the notice or was too busy.
fn is_to_be_repeated(message: &Message, peer: &str) -> bool {
    let site = CallSite {
        method: String::new(),
        peer: peer.to_owned(),
    };
    match from_wire::<Infallible>(rejection(message), site) {
        Error::Rejected(rejection) => rejection.kind.is_retryable(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1000;

    fn noted(notices: &Notices, peer: &str, session: &str, now: u64) -> bool {
        let notice = Notice {
            frame: Bytes::copy_from_slice(session.as_bytes()),
            sent: now,
            _charge: None,
        };
        notices.add(peer, session, notice, MOST, now)
    }

    fn taken(notices: &Notices, now: u64) -> usize {
        notices.take_due(now, 600_000).0.len()
    }

    #[test]
    fn pauses_grow_until_the_notice_is_acknowledged() {
        let notices = Notices::new();
        assert_eq!(notices.due(), None);
        assert!(noted(&notices, "w/a", "s", 0));
        let mut times = Vec::new();
        while let Some(due) = notices.due().filter(|due| *due < 100_000) {
            assert_eq!(taken(&notices, due - 1), 0);
            assert_eq!(taken(&notices, due), 1);
            times.push(due);
        }
        assert_eq!(times, [5_000, 15_000, 35_000, 65_000, 95_000]);
        assert!(!notices.knows("s", "w/b"));
        notices.acknowledge("s", "w/a", 100_000);
        assert_eq!((notices.len(), notices.due().is_some()), (0, true));
        assert_eq!(taken(&notices, 200_000), 0);
        assert_eq!(notices.due(), None);
    }

    #[test]
    fn a_disconnected_peer_gets_one_notice_per_round() {
        let notices = Notices::new();
        for n in 0..10 {
            noted(&notices, "w/a", &n.to_string(), 0);
        }
        notices.set_absent("w/a", 0);
        assert_eq!(taken(&notices, 500), 1);
        notices.set_absent("w/a", 500);
        assert_eq!(taken(&notices, 900), 0);
        assert_eq!(taken(&notices, 1_000), 1);
        notices.acknowledge("1", "w/a", 1_000);
        assert_eq!(taken(&notices, 1_000), 9);
    }

    #[test]
    fn repetitions_are_sent_in_batches() {
        let notices = Notices::new();
        for n in 0..2 * BATCH + 1 {
            noted(&notices, "w/a", &n.to_string(), 0);
        }
        let mut seen = std::collections::HashSet::new();
        for now in [5_000, 6_000, 7_000] {
            seen.extend(notices.take_due(now, 600_000).0);
        }
        assert_eq!(seen.len(), 2 * BATCH + 1);
    }

    #[test]
    fn notices_are_limited_and_expire() {
        let notices = Notices::new();
        for n in 0..MOST {
            assert!(noted(&notices, &format!("w/{n}"), "s", 0));
        }
        assert!(!noted(&notices, "w/one-more", "s", 0));
        assert_eq!(notices.take_due(600_000, 600_000), (vec![], MOST));
        assert_eq!((notices.len(), notices.due()), (0, None));
    }
}
