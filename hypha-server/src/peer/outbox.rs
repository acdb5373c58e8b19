//! Queues the frames for a client. This queue is the outbox of the client.
//!
//! Each sender has its own lane, which is a queue for the frames of this sender. Deficit round
//! robin over bytes selects the next lane, so a sender of large messages gets only its fair share
//! of the link. The order of frames in a lane never changes.
//!
//! The queue has room for a number of bytes, and each lane has a share of the room. Frames of other
//! peers take room. A sender whose lane is full waits, which slows the sender down to the pace of
//! the receiver. Frames of the server itself (responses of the manager, events, rejections) take no
//! room and never wait, because one slow client would otherwise block the manager for all clients.
//!
//! All frames are charged to the memory account of the receiver. Large frames are charged
//! separately. Small frames are charged together, in steps. If the account has no memory for a
//! frame of the server itself, the receiver is disconnected.
//!
//! One lock guards the lanes. No task holds the lock across an await. Dropping a [`Held`] takes
//! this lock, so code that holds the lock must release it before it drops a [`Held`].

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hypha_wire::Stamped;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, SetOnce, oneshot};

use crate::memory::{Account, Charge, OverBudget};

/// Memory that a queued frame needs in addition to its length, in bytes: the queue entry of the
/// frame and the allocator's overhead. Measurements show 192 bytes for a message in one piece, and
/// 32 more bytes for a second piece.
const FRAME_OVERHEAD: usize = 224;
/// Minimum cost of a frame that is charged separately, in bytes.
const SEPARATE: usize = 16 * 1024;
/// Number of bytes of small frames that need no charge of their own. The server charges a fixed
/// amount of memory for each connection, and this amount covers these frames.
const COVERED: usize = 8 * 1024;
/// Step by which the charge for small frames grows, in bytes. Charging each small frame separately
/// would cost more than queuing it.
const STEP: usize = 64 * 1024;
/// Number of bytes that a lane may send per turn.
const QUANTUM: usize = 64 * 1024;
/// Maximum number of bytes that the writer takes at once. A frame that arrives while the writer
/// writes a batch waits for the end of the batch, so a larger limit would delay this frame for
/// longer.
const BATCH_BYTES: usize = 128 * 1024;
/// Maximum size of the server's own small frames that are queued when the account has no memory
/// left, in bytes. Without this allowance, a pong or an error could not reach a client whose
/// account is full.
const SPARE: usize = 64 * 1024;
/// Maximum number of waiting senders that are examined when room becomes free. The number is
/// limited, because the lock is held during the examination.
const EXAMINED_MAX: usize = 32;
/// Maximum number of empty lanes that are kept for reuse. Without reuse, each frame of a sender
/// that sends single frames would allocate a new lane.
const SPARE_LANES: usize = 2;
/// Upper bound on the capacity of a kept lane, in frames.
const SPARE_FRAMES: usize = 16;

/// Number of the lane of the server's own frames. The number of any other lane is the generation
/// of its connection, which is never 0.
const SERVER: u64 = 0;

/// The error of a frame that was not queued, because the receiver has disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disconnected;

/// The reason why a frame was not queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The receiver has disconnected.
    Disconnected,
    /// The account of the receiver has no memory for the frame.
    OverBudget(OverBudget),
}

/// The error of a frame that was dropped. The receiver has disconnected, or has no room or no
/// memory for the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// The order to close a connection, with the reason for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloseOrder {
    /// WebSocket close code.
    pub(crate) code: u16,
    /// Close reason. A close frame contains at most 123 bytes of the reason.
    pub(crate) reason: String,
    /// Whether the whole reason is also sent in an error frame before the close frame.
    pub(crate) error_frame: bool,
}

impl CloseOrder {
    /// Creates an order without an error frame.
    pub(crate) fn new(code: u16, reason: impl Into<String>) -> CloseOrder {
        CloseOrder {
            code,
            reason: reason.into(),
            error_frame: false,
        }
    }

    /// Creates an order for a connection whose memory is exhausted, with code 1013 (try again
    /// later).
    pub(crate) fn over_budget(reason: impl ToString) -> CloseOrder {
        CloseOrder::new(1013, reason.to_string()).with_error_frame()
    }

    /// Adds an error frame with the reason.
    pub(crate) fn with_error_frame(mut self) -> CloseOrder {
        self.error_frame = true;
        self
    }
}

/// A frame for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// A message.
    Binary(Stamped),
    /// A control message of the connection, as JSON.
    Text(String),
}

impl Outgoing {
    /// Returns the memory that the frame costs while it is queued, in bytes.
    fn cost(&self) -> usize {
        let length = match self {
            Outgoing::Binary(message) => message.len(),
            Outgoing::Text(text) => text.len(),
        };
        length + FRAME_OVERHEAD
    }
}

/// A queued frame, with the room and the memory that it occupies.
pub(crate) struct Queued {
    pub(crate) frame: Outgoing,
    pub(crate) held: Held,
}

/// The room and the memory that a frame occupies. When this value is dropped or passed to
/// [`Queue::free`], the room and the memory are released, and waiting senders are woken.
pub(crate) struct Held {
    /// `None` after the room and the memory are released.
    shared: Option<Arc<Shared>>,
    /// Generation of the sender, or [`SERVER`].
    lane: u64,
    /// Room that the frame takes in the lane. 0 for the server's own frames, which never wait.
    room: usize,
    /// Memory of the frame, in bytes.
    cost: usize,
    /// Whether the frame is charged together with other small frames. `charge` is then `None`.
    pooled: bool,
    charge: Option<Arc<Charge>>,
}

impl Held {
    /// Returns the charge of a frame that is charged separately. The charge pays for bytes of the
    /// frame that live longer than their queue entry.
    pub(crate) fn charge(&self) -> Option<Arc<Charge>> {
        self.charge.clone()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.release(std::slice::from_ref(self));
        }
    }
}

/// The frames of one sender.
#[derive(Default)]
struct Lane {
    frames: VecDeque<Queued>,
    /// Room that is taken by `frames`, by frames that are being written, and by senders that have
    /// room but still wait for memory.
    room: usize,
    /// Bytes that the lane may still send in this turn.
    deficit: usize,
    /// Whether the lane has received its bytes ([`QUANTUM`]) for the current turn.
    in_turn: bool,
}

/// Hashes the generations of connections. The default hasher would cost more than all other work on
/// a small frame. The server chooses the generations, so no client can cause collisions.
#[derive(Default)]
struct GenerationHasher(u64);

impl Hasher for GenerationHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // This is Fibonacci hashing: the number is multiplied by 2^64 divided by the golden ratio.
        // The products of consecutive numbers also differ in their upper bits, which the map uses.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A sender that waits for room.
struct Waiter {
    lane: u64,
    room: usize,
    cost: usize,
    /// Sends the reserved room to the waiting sender. The channel is closed if the sender no longer
    /// waits.
    grant: oneshot::Sender<Held>,
}

/// The lanes of an outbox.
///
/// Invariants: `room` is the sum of `room` over all lanes. `turns` contains each lane with frames
/// exactly once. A lane without frames and without room is removed.
struct Lanes {
    lanes: HashMap<u64, Lane, BuildHasherDefault<GenerationHasher>>,
    /// Lanes with frames, in the order of their turns.
    turns: VecDeque<u64>,
    /// Empty lanes, kept for reuse.
    spare: Vec<Lane>,
    /// Room of the queue in bytes.
    capacity: usize,
    /// Room that all lanes occupy, in bytes.
    room: usize,
    /// Number of frames that are larger than the queue and not written yet, without the server's
    /// own frames. There is at most one such frame, because it occupies more memory than room, and
    /// the receiver is charged for the memory.
    giants: usize,
    /// Sum of the costs of all small frames.
    small: usize,
    /// Sum of the costs of the server's own frames, which take no room.
    own: usize,
    /// Notified when `own` drops to half of the capacity or less.
    relief: Vec<oneshot::Sender<()>>,
    /// Charge for the small frames above [`COVERED`].
    charge: Option<Charge>,
    /// Senders that wait for room, in the order of their arrival.
    waiters: VecDeque<Waiter>,
    /// Whether the first waiting sender needs room that other lanes occupy. If so, no other sender
    /// may overtake this sender: otherwise a steady flow of small frames could delay a large frame
    /// without end.
    full: bool,
    /// Whether the outbox refuses further frames.
    closed: bool,
    /// Whether the outbox was dropped. If so, the queue ends after its last frame.
    ended: bool,
}

/// The state that the outbox, the queue and the held frames share.
struct Shared {
    lanes: Mutex<Lanes>,
    /// The account of the receiver.
    account: Account,
    /// Notified when the first frame arrives in an empty queue, and when the outbox is dropped.
    arrived: Notify,
    /// A number that changes whenever the receiver accepts data. The accesses are `Relaxed`,
    /// because readers only compare two values, and no other data depends on these values.
    progress: AtomicU64,
}

impl Lanes {
    /// Returns a lane. Creates the lane if it does not exist.
    fn lane(&mut self, lane: u64) -> &mut Lane {
        match self.lanes.entry(lane) {
            Entry::Occupied(lane) => lane.into_mut(),
            Entry::Vacant(place) => place.insert(self.spare.pop().unwrap_or_default()),
        }
    }

    /// Returns the room that a frame takes. The room is at most a quarter of the queue, because a
    /// large frame would otherwise wait until the queue is nearly empty.
    fn room_for(&self, cost: usize) -> usize {
        cost.min(self.capacity / 4)
    }

    /// Returns whether a lane may take `room` more bytes. All lanes have equal shares of the
    /// capacity. The shares are computed for one lane more than there is, so that room is left for
    /// the next sender. A lane without frames may always take one frame.
    fn within_share(&self, lane: u64, room: usize) -> bool {
        self.lanes.get(&lane).is_none_or(|lane| {
            lane.room == 0 || lane.room + room <= self.capacity / (self.lanes.len() + 1)
        })
    }

    /// Returns whether the queue has this much room. If the queue is empty, any frame fits.
    fn fits(&self, room: usize) -> bool {
        self.room == 0 || self.room + room <= self.capacity
    }

    /// Returns whether a frame is from a peer and larger than the whole queue.
    fn is_giant(&self, room: usize, cost: usize) -> bool {
        room > 0 && cost > self.capacity
    }

    /// Returns false if the frame is larger than the queue and must wait until another such frame
    /// is written.
    fn passes(&self, room: usize, cost: usize) -> bool {
        self.giants == 0 || !self.is_giant(room, cost)
    }

    /// Returns whether a frame may be queued without waiting. Returns false if another frame of the
    /// same sender already waits, because the order in a lane must not change.
    fn admits(&self, lane: u64, room: usize, cost: usize) -> bool {
        !self.full
            && self.passes(room, cost)
            && self.within_share(lane, room)
            && self.fits(room)
            && !self.waiters.iter().any(|waiter| waiter.lane == lane)
    }

    /// Takes room for a frame, even if there is no room.
    fn reserve(&mut self, lane: u64, room: usize, cost: usize, shared: &Arc<Shared>) -> Held {
        self.lane(lane).room += room;
        self.room += room;
        self.giants += usize::from(self.is_giant(room, cost));
        Held {
            shared: Some(shared.clone()),
            lane,
            room,
            cost,
            pooled: false,
            charge: None,
        }
    }

    /// Charges a frame to the receiver. Charges small frames together, and large frames separately.
    ///
    /// # Errors
    ///
    /// Fails if the account has no room now. Nothing is charged then.
    fn charge(&mut self, held: &mut Held, account: &Account) -> Result<(), OverBudget> {
        let cost = held.cost;
        if cost > SEPARATE {
            held.charge = Some(Arc::new(account.try_charge(cost)?));
            return Ok(());
        }
        let needed = (self.small + cost).saturating_sub(COVERED);
        let charged = self.charge.as_ref().map_or(0, Charge::bytes);
        if needed > charged {
            let more = (needed - charged).next_multiple_of(STEP);
            match &mut self.charge {
                Some(charge) => charge.try_grow(more)?,
                None => self.charge = Some(account.try_charge(more)?),
            }
        }
        self.small += cost;
        held.pooled = true;
        Ok(())
    }

    /// Releases the memory of a small frame. The charge may stay up to two steps larger than
    /// necessary, so that it does not change again and again while the size of the queue varies
    /// around a step.
    fn uncharge_small(&mut self, cost: usize) {
        self.small -= cost;
        let needed = self.small.saturating_sub(COVERED);
        if needed == 0 {
            self.charge = None;
        } else if let Some(charge) = &mut self.charge
            && charge.bytes() > needed + 2 * STEP
        {
            charge.shrink_to(needed.next_multiple_of(STEP));
        }
    }

    /// Queues a frame. Returns whether the queue was empty. In this case, the caller must wake the
    /// writer.
    fn put(&mut self, queued: Queued) -> bool {
        let lane_id = queued.held.lane;
        if queued.held.room == 0 {
            self.own += queued.held.cost;
        }
        let lane = self.lane(lane_id);
        lane.frames.push_back(queued);
        if lane.frames.len() > 1 {
            return false;
        }
        self.turns.push_back(lane_id);
        self.turns.len() == 1
    }

    /// Takes the next frame by deficit round robin. Each turn adds [`QUANTUM`] to the bytes that a
    /// lane may send. A lane whose next frame costs more skips its turn and keeps the bytes. If
    /// only one lane has frames, that lane sends immediately.
    fn pop(&mut self) -> Option<Queued> {
        loop {
            let lane_id = *self.turns.front()?;
            let lane = self.lanes.get_mut(&lane_id)?;
            if !lane.in_turn {
                lane.in_turn = true;
                lane.deficit += QUANTUM;
            }
            let cost = lane.frames.front()?.held.cost;
            if cost > lane.deficit && self.turns.len() > 1 {
                lane.in_turn = false;
                self.turns.rotate_left(1);
                continue;
            }
            lane.deficit = lane.deficit.saturating_sub(cost);
            let queued = lane.frames.pop_front()?;
            if lane.frames.is_empty() {
                lane.in_turn = false;
                lane.deficit = 0;
                self.turns.pop_front();
            }
            return Some(queued);
        }
    }

    /// Releases the room of a frame, and its memory if the frame is charged together with others.
    /// The charge of a frame that is charged separately is released when the last clone of the
    /// charge is dropped.
    fn release(&mut self, freed: &Held) {
        if freed.pooled {
            self.uncharge_small(freed.cost);
        }
        if freed.room == 0 {
            self.own = self.own.saturating_sub(freed.cost);
            if self.own <= self.capacity / 2 {
                for waiting in self.relief.drain(..) {
                    // The result is ignored, because an error means that no task waits any more.
                    let _ = waiting.send(());
                }
            }
        }
        self.room -= freed.room;
        self.giants -= usize::from(self.is_giant(freed.room, freed.cost));
        if let Entry::Occupied(mut entry) = self.lanes.entry(freed.lane) {
            let lane = entry.get_mut();
            lane.room -= freed.room;
            if lane.room == 0 && lane.frames.is_empty() {
                let lane = entry.remove();
                if self.spare.len() < SPARE_LANES && lane.frames.capacity() <= SPARE_FRAMES {
                    self.spare.push(lane);
                }
            }
        }
    }

    /// Reserves room for the waiting senders that may continue now. Returns the channels of these
    /// senders with the reserved room. The caller releases the lock before it sends the room to the
    /// senders: if a sender no longer waits, its room is dropped, and the drop takes the lock.
    ///
    /// A sender whose own lane is full moves to the end of the list of waiting senders, so that it
    /// does not block other senders. A sender that waits for room of other lanes stays first, and
    /// no further senders are examined.
    fn grant(&mut self, shared: &Arc<Shared>) -> Vec<(oneshot::Sender<Held>, Held)> {
        let mut granted = Vec::new();
        self.full = false;
        for _ in 0..self.waiters.len().min(EXAMINED_MAX) {
            let Some(waiter) = self.waiters.pop_front() else {
                break;
            };
            let Waiter {
                lane, room, cost, ..
            } = waiter;
            if waiter.grant.is_closed() {
                continue;
            }
            if !self.within_share(lane, room) || !self.passes(room, cost) {
                self.waiters.push_back(waiter);
            } else if !self.fits(room) {
                self.waiters.push_front(waiter);
                self.full = true;
                break;
            } else {
                let held = self.reserve(lane, room, cost, shared);
                granted.push((waiter.grant, held));
            }
        }
        granted
    }
}

/// The sending half of an outbox. All senders to the receiver share it. When the sending half is
/// dropped, the queue ends after its last frame.
pub(crate) struct Outbox {
    shared: Arc<Shared>,
    /// The order to close the connection, if there is one.
    order: Arc<SetOnce<CloseOrder>>,
}

/// The receiving half of an outbox, for the task that writes to the client. When the queue is
/// dropped, all of its frames are dropped, and all senders fail.
pub(crate) struct Queue {
    shared: Arc<Shared>,
    order: Arc<SetOnce<CloseOrder>>,
}

/// Reports that the receiver has accepted a part of a frame. Without this report, waiting senders
/// would consider the receiver dead.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Shared>);

impl Progress {
    /// Reports a partial write.
    pub(crate) fn made(&self) {
        self.0.progress.fetch_add(1, Ordering::Relaxed);
    }
}

impl Outbox {
    /// Creates a queue with room for `capacity` bytes, or for four empty frames if that is more.
    /// The frames in the queue are charged to `account`.
    pub(crate) fn new(capacity: usize, account: Account) -> (Outbox, Queue) {
        let shared = Arc::new(Shared {
            lanes: Mutex::new(Lanes {
                lanes: HashMap::default(),
                turns: VecDeque::new(),
                spare: Vec::new(),
                // The capacity must not be smaller, because an empty frame must fit into a quarter
                // of the capacity: see `room_for`.
                capacity: capacity.max(4 * FRAME_OVERHEAD),
                room: 0,
                giants: 0,
                small: 0,
                own: 0,
                relief: Vec::new(),
                charge: None,
                waiters: VecDeque::new(),
                full: false,
                closed: false,
                ended: false,
            }),
            account,
            arrived: Notify::new(),
            progress: AtomicU64::new(0),
        });
        let order = Arc::new(SetOnce::new());
        let outbox = Outbox {
            shared: shared.clone(),
            order: order.clone(),
        };
        (outbox, Queue { shared, order })
    }

    /// Returns the account of the receiver.
    pub(crate) fn account(&self) -> &Account {
        &self.shared.account
    }

    /// Queues a frame of the connection `sender`. Waits for room, then for memory.
    ///
    /// # Errors
    ///
    /// Fails if the receiver has disconnected, or if its account gets no memory within the budget's
    /// timeout.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped while it waits, the frame is not queued and its room is released.
    pub(crate) async fn send(&self, sender: u64, frame: impl Into<Stamped>) -> Result<(), Unsent> {
        let frame = Outgoing::Binary(frame.into());
        match self.queue_now(sender, frame)? {
            None => Ok(()),
            Some(frame) => self.queue_later(sender, frame).await,
        }
    }

    /// Queues a frame if there is room and memory now. Otherwise returns the frame.
    fn queue_now(&self, sender: u64, frame: Outgoing) -> Result<Option<Outgoing>, Unsent> {
        let cost = frame.cost();
        let mut lanes = self.shared.lanes.lock();
        if lanes.closed {
            return Err(Unsent::Disconnected);
        }
        let room = lanes.room_for(cost);
        if !lanes.admits(sender, room, cost) {
            return Ok(Some(frame));
        }
        let mut held = lanes.reserve(sender, room, cost, &self.shared);
        if lanes.charge(&mut held, self.account()).is_err() {
            // The lock is released first, because dropping `held` takes the lock.
            drop(lanes);
            drop(held);
            return Ok(Some(frame));
        }
        self.put(lanes, Queued { frame, held });
        Ok(None)
    }

    /// Waits for room and memory, then queues a frame.
    async fn queue_later(&self, sender: u64, frame: Outgoing) -> Result<(), Unsent> {
        let cost = frame.cost();
        let room = {
            let mut lanes = self.shared.lanes.lock();
            if lanes.closed {
                return Err(Unsent::Disconnected);
            }
            let room = lanes.room_for(cost);
            let (grant, granted) = oneshot::channel();
            // Room may have become free after `queue_now` released the lock, and no later release
            // would wake this sender. Therefore the frame is checked again. The check also succeeds
            // if the frame had room and lacked only memory.
            if lanes.admits(sender, room, cost) {
                let held = lanes.reserve(sender, room, cost, &self.shared);
                drop(lanes);
                drop(grant.send(held));
            } else {
                lanes.waiters.push_back(Waiter {
                    lane: sender,
                    room,
                    cost,
                    grant,
                });
            }
            granted
        };
        let mut held = room.await.map_err(|_| Unsent::Disconnected)?;
        // The frame is charged separately even if it is small, because the lock of the charge for
        // small frames must not be held during a wait.
        let charge = self.shared.account.charge(cost).await;
        held.charge = Some(Arc::new(charge.map_err(Unsent::OverBudget)?));
        let lanes = self.shared.lanes.lock();
        // The receiver may have disconnected during the waits, so this is checked again.
        if lanes.closed {
            drop(lanes);
            return Err(Unsent::Disconnected);
        }
        self.put(lanes, Queued { frame, held });
        Ok(())
    }

    /// Queues a frame. Wakes the writer after the lock is released, because the writer would
    /// otherwise wait for the lock.
    fn put(&self, mut lanes: MutexGuard<'_, Lanes>, queued: Queued) {
        let first = lanes.put(queued);
        drop(lanes);
        if first {
            self.shared.arrived.notify_one();
        }
    }

    /// Queues a frame of another peer if there is room and memory now. Never waits.
    ///
    /// # Errors
    ///
    /// Fails if there is no room, if there is no memory, or if the receiver has disconnected. The
    /// frame is then dropped.
    pub(crate) fn offer(&self, sender: u64, frame: impl Into<Stamped>) -> Result<(), NoRoom> {
        match self.queue_now(sender, Outgoing::Binary(frame.into())) {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(NoRoom),
        }
    }

    /// Queues a frame of the server itself. Never waits. Disconnects a receiver whose account has
    /// no memory for the frame.
    ///
    /// # Errors
    ///
    /// Fails if the receiver has disconnected, or was disconnected by this call.
    pub(crate) fn push(&self, frame: impl Into<Stamped>) -> Result<(), Disconnected> {
        self.push_frame(SERVER, Outgoing::Binary(frame.into()))
    }

    /// Queues a frame of the server itself like [`push`](Self::push), but behind all frames of the
    /// connection `sender`. The order matters for an event about that connection, because the event
    /// must not overtake the messages of the connection.
    ///
    /// # Errors
    ///
    /// Fails if the receiver has disconnected, or was disconnected by this call.
    pub(crate) fn push_behind(
        &self,
        sender: u64,
        frame: impl Into<Stamped>,
    ) -> Result<(), Disconnected> {
        self.push_frame(sender, Outgoing::Binary(frame.into()))
    }

    /// Queues a control message as JSON like [`push`](Self::push).
    ///
    /// # Errors
    ///
    /// Fails if the receiver has disconnected, or was disconnected by this call.
    pub(crate) fn push_text(&self, text: String) -> Result<(), Disconnected> {
        self.push_frame(SERVER, Outgoing::Text(text))
    }

    /// Queues a frame that takes no room in its lane.
    fn push_frame(&self, lane: u64, frame: Outgoing) -> Result<(), Disconnected> {
        let cost = frame.cost();
        let mut lanes = self.shared.lanes.lock();
        if lanes.closed {
            return Err(Disconnected);
        }
        let mut held = lanes.reserve(lane, 0, cost, &self.shared);
        if let Err(error) = lanes.charge(&mut held, self.account()) {
            if cost > SEPARATE || lanes.own > SPARE {
                drop(lanes);
                drop(held);
                self.close(CloseOrder::over_budget(error));
                return Err(Disconnected);
            }
            held.charge = Some(Arc::new(self.shared.account.force_charge(cost)));
        }
        self.put(lanes, Queued { frame, held });
        Ok(())
    }

    /// Returns a channel that completes when the server's own frames cost at most half of the
    /// queue's capacity, or when the receiver has disconnected. Returns `None` if the frames
    /// already cost at most half.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    pub(crate) fn relieved(&self) -> Option<oneshot::Receiver<()>> {
        let mut lanes = self.shared.lanes.lock();
        if lanes.closed || lanes.own <= lanes.capacity / 2 {
            return None;
        }
        let (waiting, relieved) = oneshot::channel();
        lanes.relief.push(waiting);
        Some(relieved)
    }

    /// Returns a number that changes whenever the receiver accepts a frame or a part of a frame. If
    /// two values differ, the receiver is alive.
    pub(crate) fn progress(&self) -> u64 {
        self.shared.progress.load(Ordering::Relaxed)
    }

    /// Closes the connection of a receiver that accepts no data.
    pub(crate) fn close_unread(&self) {
        self.close(CloseOrder::new(
            1008,
            "The client does not read what it is sent",
        ));
    }

    /// Closes the connection. Queued frames are dropped with the queue, and senders fail from now
    /// on. Only the first order counts.
    pub(crate) fn close(&self, order: CloseOrder) {
        // The result is ignored. An error means that there is already an order, and only the first
        // order counts.
        let _ = self.order.set(order);
        self.shared.close();
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.shared.lanes.lock().ended = true;
        // Without this notification, the writer would wait for frames that never arrive.
        self.shared.arrived.notify_one();
    }
}

impl Shared {
    /// Releases the room of frames, and wakes waiting senders.
    fn release(self: &Arc<Shared>, freed: &[Held]) {
        self.progress.fetch_add(1, Ordering::Relaxed);
        let granted = {
            let mut lanes = self.lanes.lock();
            for held in freed {
                lanes.release(held);
            }
            lanes.grant(self)
        };
        for (grant, held) in granted {
            // If the sender no longer waits, `held` is dropped here, which releases the room.
            drop(grant.send(held));
        }
    }

    /// Refuses further frames. Waiting senders fail, because the channels on which they wait are
    /// closed.
    fn close(&self) {
        // The waiters are dropped after the lock is released, because dropping them wakes tasks.
        let waiters = {
            let mut lanes = self.lanes.lock();
            lanes.closed = true;
            lanes.relief.clear();
            std::mem::take(&mut lanes.waiters)
        };
        drop(waiters);
    }
}

impl Queue {
    /// Moves up to `limit` frames into `batch`. Waits until there is at least one frame. Returns
    /// false when the outbox was dropped and the queue is empty.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, no frame is lost.
    pub(crate) async fn take(&mut self, batch: &mut Vec<Queued>, limit: usize) -> bool {
        // While the queue is not empty, this future never waits, so the task might never yield to
        // other tasks.
        tokio::task::coop::consume_budget().await;
        loop {
            {
                let mut lanes = self.shared.lanes.lock();
                let (mut bytes, mut count) = (0, 0);
                while count < limit
                    && bytes < BATCH_BYTES
                    && let Some(queued) = lanes.pop()
                {
                    bytes += queued.held.cost;
                    count += 1;
                    batch.push(queued);
                }
                if count > 0 {
                    return true;
                }
                if lanes.ended {
                    return false;
                }
            }
            self.shared.arrived.notified().await;
        }
    }

    /// Releases the room and the memory of frames of this queue, and empties `frames`. Takes the
    /// lock only once, whereas dropping the frames would take the lock for each frame.
    pub(crate) fn free(&self, frames: &mut Vec<Held>) {
        if frames.is_empty() {
            return;
        }
        // The entries are cleared, so that the destructors of `frames` do not release the same room
        // again.
        for held in frames.iter_mut() {
            held.shared = None;
        }
        self.shared.release(frames);
        frames.clear();
    }

    /// Returns the handle that reports partial writes.
    pub(crate) fn progress(&self) -> Progress {
        Progress(self.shared.clone())
    }

    /// Returns a future that waits for the order to close the connection. The future does not
    /// borrow the queue.
    pub(crate) fn closed(&self) -> impl Future<Output = CloseOrder> + Send + use<> {
        let order = self.order.clone();
        async move { order.wait().await.clone() }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shared.close();
        let mut frames = Vec::new();
        {
            let mut lanes = self.shared.lanes.lock();
            lanes.turns.clear();
            for lane in lanes.lanes.values_mut() {
                frames.extend(lane.frames.drain(..));
            }
        }
        // The frames are dropped after the lock is released, because each frame takes the lock to
        // release its room.
        drop(frames);
    }
}

#[cfg(test)]
mod tests;
