//! The outbox of a client: the frames that wait for it.
//!
//! Each sender has a lane of its own. Lanes are served by deficit round robin over bytes, so a
//! sender of large messages takes its fair share of the link and no more. The order of frames in a
//! lane never changes.
//!
//! Frames of other peers take room, counted in bytes. Each lane has a share of the room. A sender
//! whose lane is full waits, which slows it down to the pace of the receiver. Frames of the server
//! itself (replies of the manager, events, "not connected") take no room and never wait: otherwise
//! one slow client would hold up the manager for all clients.
//!
//! All frames are charged to the memory account of the receiver: large ones one by one, small ones
//! together and in steps. A receiver without memory for the server's own frames is disconnected.
//!
//! One lock guards the lanes. It is never held across an await. Dropping a [`Held`] takes it, so
//! code that holds the lock must release it before it drops one.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hypha_wire::Stamped;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, SetOnce, oneshot};

use crate::memory::{Account, Charge, OverBudget};

/// Bytes that a queued frame costs in addition to its length: its entry in the queue and the
/// allocator. Measured as 192 for a message in one piece; the second piece adds 32.
const FRAME_OVERHEAD: usize = 224;
/// Frames above this cost, in bytes, are charged one by one.
const SEPARATE: usize = 16 * 1024;
/// Bytes of small frames that the standing charge of a connection covers.
const COVERED: usize = 8 * 1024;
/// Step in bytes by which the charge for small frames grows. Charging each small frame by itself
/// would cost more than queuing it.
const STEP: usize = 64 * 1024;
/// Bytes that a lane may send in one turn.
const QUANTUM: usize = 64 * 1024;
/// Upper bound on the bytes that the writer takes at once. A frame of another lane that arrives
/// meanwhile has to wait for these, and a larger bound would make it wait longer.
const BATCH_BYTES: usize = 128 * 1024;
/// Upper bound on the server's own small frames that are queued without memory in the account, in
/// bytes. Without this allowance a pong or an error could not reach a client whose account is full.
const SPARE: usize = 64 * 1024;
/// Upper bound on the waiting senders that are examined whenever room is freed, because the lock is
/// held meanwhile.
const LOOK: usize = 32;
/// Empty lanes that are kept for the next sender, so that a sender of single frames does not
/// allocate each time; and the upper bound on the capacity of such a lane, in frames.
const SPARE_LANES: usize = 2;
const SPARE_FRAMES: usize = 16;

/// The lane of the server's own frames: a generation that no connection has.
const SERVER: u64 = 0;

/// The receiver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// The reason why a frame was not queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The receiver is gone.
    Gone,
    /// The account of the receiver has no memory for the frame.
    OverBudget(OverBudget),
}

/// A frame was dropped because the receiver has no room or no memory for it, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// The order to close a connection, with the reason for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloseOrder {
    /// The WebSocket close code.
    pub(crate) code: u16,
    /// The close reason. Close frames carry at most 123 bytes of it.
    pub(crate) reason: String,
    /// Whether the whole reason is also sent in an error frame before.
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

    /// Creates an order for a connection without memory, with code 1013 (try again later).
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

/// The room and the memory that a frame occupies. Dropping it, or [`Queue::free`], gives them back
/// and lets waiting senders go on.
pub(crate) struct Held {
    /// `None` once room and memory are given back.
    shared: Option<Arc<Shared>>,
    /// Generation of the sender, or [`SERVER`].
    lane: u64,
    /// Room in the lane; 0 for the server's own frames, which never wait.
    room: usize,
    /// The memory of the frame, in bytes.
    cost: usize,
    /// The frame is charged together with the other small ones, and `charge` is `None`.
    pooled: bool,
    charge: Option<Arc<Charge>>,
}

impl Held {
    /// Returns the charge of a frame that is charged by itself, for bytes that outlive their place
    /// in the queue.
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
    /// Room of `frames`, of frames that are being written, and of granted senders that wait for
    /// memory.
    room: usize,
    /// Bytes that the lane may still send in this turn.
    deficit: usize,
    /// The lane has received its quantum for the current turn.
    in_turn: bool,
}

/// Hashes generations. The default hasher would cost more than everything else that is done with a
/// small frame. The server chooses the generations, so no client can make them collide.
#[derive(Default)]
struct GenerationHasher(u64);

impl Hasher for GenerationHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing: multiplied by 2^64 divided by the golden ratio, consecutive numbers
        // differ in the upper bits too, which the map uses.
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
    /// Receives the reserved room. Closed if the sender has given up.
    grant: oneshot::Sender<Held>,
}

/// The queue itself.
///
/// Invariants: `room` is the sum of the rooms of all lanes. `turns` contains each lane with frames
/// exactly once. A lane without frames and without room is removed.
struct Lanes {
    lanes: HashMap<u64, Lane, BuildHasherDefault<GenerationHasher>>,
    /// Lanes with frames, in the order of their turns.
    turns: VecDeque<u64>,
    /// Empty lanes for reuse.
    spare: Vec<Lane>,
    /// Room of the queue in bytes.
    capacity: usize,
    /// Room that all lanes occupy, in bytes.
    room: usize,
    /// Frames of peers that are larger than the queue and not yet written: at most one, because it
    /// occupies more memory than room and the receiver is charged for the memory.
    giants: usize,
    /// Costs of all small frames.
    small: usize,
    /// Costs of the frames that take no room: the server's own ones.
    own: usize,
    /// Notified when `own` is at most half of the capacity.
    relief: Vec<oneshot::Sender<()>>,
    /// Charge for the small frames beyond [`COVERED`].
    charge: Option<Charge>,
    /// Senders that wait for room, in the order of their arrival.
    waiters: VecDeque<Waiter>,
    /// The first waiter waits for the room of other lanes. No sender may overtake it, because a
    /// large frame would otherwise wait as long as small ones arrive.
    full: bool,
    /// No more frames are taken.
    closed: bool,
    /// The outbox is gone: the queue ends with its last frame.
    ended: bool,
}

/// The state that outbox, queue and held frames share.
struct Shared {
    lanes: Mutex<Lanes>,
    /// The account of the receiver.
    account: Account,
    /// Notified when the first frame arrives in an empty queue, and when the outbox is gone.
    arrived: Notify,
    /// Changes whenever the receiver takes something. Relaxed, because readers only compare two
    /// values and derive nothing about other memory.
    progress: AtomicU64,
}

impl Lanes {
    /// Returns a lane; creates it if it does not exist.
    fn lane(&mut self, lane: u64) -> &mut Lane {
        match self.lanes.entry(lane) {
            Entry::Occupied(lane) => lane.into_mut(),
            Entry::Vacant(place) => place.insert(self.spare.pop().unwrap_or_default()),
        }
    }

    /// Returns the room that a frame takes. It is at most a quarter of the queue: otherwise a large
    /// frame would have to wait until the queue is nearly empty.
    fn room_for(&self, cost: usize) -> usize {
        cost.min(self.capacity / 4)
    }

    /// Returns whether a lane may take `room` more. Its share is smaller, the more lanes there are;
    /// one part is kept for the next sender. A lane without frames may always take one.
    fn within_share(&self, lane: u64, room: usize) -> bool {
        self.lanes.get(&lane).is_none_or(|lane| {
            lane.room == 0 || lane.room + room <= self.capacity / (self.lanes.len() + 1)
        })
    }

    /// Returns whether the queue has this much room. An empty one always has.
    fn fits(&self, room: usize) -> bool {
        self.room == 0 || self.room + room <= self.capacity
    }

    /// Returns whether a frame of a peer is larger than the queue.
    fn is_giant(&self, room: usize, cost: usize) -> bool {
        room > 0 && cost > self.capacity
    }

    /// Returns whether a frame need not wait for a frame that is larger than the queue. Only such
    /// frames wait for each other.
    fn passes(&self, room: usize, cost: usize) -> bool {
        self.giants == 0 || !self.is_giant(room, cost)
    }

    /// Returns whether a frame may be queued without waiting. It may not if its sender waits
    /// already, because the order in a lane must not change.
    fn admits(&self, lane: u64, room: usize, cost: usize) -> bool {
        !self.full
            && self.passes(room, cost)
            && self.within_share(lane, room)
            && self.fits(room)
            && !self.waiters.iter().any(|waiter| waiter.lane == lane)
    }

    /// Takes room for a frame, whether or not there is some.
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

    /// Charges a frame to the receiver: a small one together with others, a large one by itself.
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

    /// Gives back the memory of a small frame. Keeps up to two steps, so that a queue around the
    /// border of a step does not charge again and again.
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

    /// Queues a frame. Returns whether the queue was empty, so that the writer must be woken.
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

    /// Takes the next frame by deficit round robin: each turn adds [`QUANTUM`] to what a lane may
    /// send, and a lane whose next frame costs more passes its turn and keeps the rest. If only one
    /// lane has frames, it need not save up.
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

    /// Gives back the room and the pooled memory of a frame. A charge of its own ends when its last
    /// clone is dropped.
    fn release(&mut self, freed: &Held) {
        if freed.pooled {
            self.uncharge_small(freed.cost);
        }
        if freed.room == 0 {
            self.own = self.own.saturating_sub(freed.cost);
            if self.own <= self.capacity / 2 {
                for waiting in self.relief.drain(..) {
                    // Ignored, because an error says that nobody waits any more.
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

    /// Reserves room for the waiting senders that may go on now, and returns them. The caller sends
    /// the grants after it has released the lock, because a grant that is not received locks it.
    ///
    /// A sender whose own lane is full goes to the end of the line, so that it is not in the way of
    /// others. A sender that waits for the room of other lanes keeps its place and ends the search.
    fn grant(&mut self, shared: &Arc<Shared>) -> Vec<(oneshot::Sender<Held>, Held)> {
        let mut granted = Vec::new();
        self.full = false;
        for _ in 0..self.waiters.len().min(LOOK) {
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

/// The sending half, shared by all senders to the receiver. When it is dropped, the queue ends with
/// its last frame.
pub(crate) struct Outbox {
    shared: Arc<Shared>,
    /// The order to close the connection, once there is one.
    order: Arc<SetOnce<CloseOrder>>,
}

/// The receiving half, for the task that writes to the client. When it is dropped, all frames are
/// dropped and all senders fail.
pub(crate) struct Queue {
    shared: Arc<Shared>,
    order: Arc<SetOnce<CloseOrder>>,
}

/// Reports that the receiver takes bytes of a frame that is not written completely, so that waiting
/// senders do not take it for dead.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Shared>);

impl Progress {
    /// Reports a partial write.
    pub(crate) fn made(&self) {
        self.0.progress.fetch_add(1, Ordering::Relaxed);
    }
}

impl Outbox {
    /// Creates a queue with room for `capacity` bytes, whose frames are charged to `account`. A
    /// capacity of less than four empty frames counts as that.
    pub(crate) fn new(capacity: usize, account: Account) -> (Outbox, Queue) {
        let shared = Arc::new(Shared {
            lanes: Mutex::new(Lanes {
                lanes: HashMap::default(),
                turns: VecDeque::new(),
                spare: Vec::new(),
                // Not less, because a quarter of it must hold a frame: see `room_for`.
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
    /// Fails if the receiver is gone, or if its account has no memory within the patience of the
    /// budget.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped while it waits, the frame is not queued and its room is free again.
    pub(crate) async fn send(&self, sender: u64, frame: impl Into<Stamped>) -> Result<(), Unsent> {
        let frame = Outgoing::Binary(frame.into());
        match self.queue_now(sender, frame)? {
            None => Ok(()),
            Some(frame) => self.queue_later(sender, frame).await,
        }
    }

    /// Queues a frame if there is room and memory now, otherwise returns it.
    fn queue_now(&self, sender: u64, frame: Outgoing) -> Result<Option<Outgoing>, Unsent> {
        let cost = frame.cost();
        let mut lanes = self.shared.lanes.lock();
        if lanes.closed {
            return Err(Unsent::Gone);
        }
        let room = lanes.room_for(cost);
        if !lanes.admits(sender, room, cost) {
            return Ok(Some(frame));
        }
        let mut held = lanes.reserve(sender, room, cost, &self.shared);
        if lanes.charge(&mut held, self.account()).is_err() {
            // Released first, because dropping `held` takes the lock.
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
                return Err(Unsent::Gone);
            }
            let room = lanes.room_for(cost);
            let (grant, granted) = oneshot::channel();
            // Checked again, because room may have become free since `queue_now` released the lock,
            // and no later release would wake this sender. The frame may also have room and lack
            // only memory.
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
        let mut held = room.await.map_err(|_| Unsent::Gone)?;
        // Charged by itself even if it is small, because the pool must not be locked during a wait.
        let charge = self.shared.account.charge(cost).await;
        held.charge = Some(Arc::new(charge.map_err(Unsent::OverBudget)?));
        let lanes = self.shared.lanes.lock();
        // Checked again, because the receiver may have left during the waits.
        if lanes.closed {
            drop(lanes);
            return Err(Unsent::Gone);
        }
        self.put(lanes, Queued { frame, held });
        Ok(())
    }

    /// Queues a frame, and wakes the writer after the lock is released: it would have to wait for
    /// the lock otherwise.
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
    /// Fails, and drops the frame, if there is no room or no memory, or the receiver is gone.
    pub(crate) fn offer(&self, sender: u64, frame: impl Into<Stamped>) -> Result<(), NoRoom> {
        match self.queue_now(sender, Outgoing::Binary(frame.into())) {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(NoRoom),
        }
    }

    /// Queues a frame of the server itself. Never waits. A receiver whose account has no memory for
    /// it is disconnected.
    ///
    /// # Errors
    ///
    /// Fails if the receiver is gone or has just been disconnected.
    pub(crate) fn push(&self, frame: impl Into<Stamped>) -> Result<(), Gone> {
        self.push_frame(SERVER, Outgoing::Binary(frame.into()))
    }

    /// Queues a frame of the server itself like [`push`](Self::push), but behind all frames of the
    /// connection `sender`: an event about that connection must not overtake its messages.
    ///
    /// # Errors
    ///
    /// Fails if the receiver is gone or has just been disconnected.
    pub(crate) fn push_behind(&self, sender: u64, frame: impl Into<Stamped>) -> Result<(), Gone> {
        self.push_frame(sender, Outgoing::Binary(frame.into()))
    }

    /// Queues a control message as JSON like [`push`](Self::push).
    ///
    /// # Errors
    ///
    /// Fails if the receiver is gone or has just been disconnected.
    pub(crate) fn push_text(&self, text: String) -> Result<(), Gone> {
        self.push_frame(SERVER, Outgoing::Text(text))
    }

    /// Queues a frame that takes no room in its lane.
    fn push_frame(&self, lane: u64, frame: Outgoing) -> Result<(), Gone> {
        let cost = frame.cost();
        let mut lanes = self.shared.lanes.lock();
        if lanes.closed {
            return Err(Gone);
        }
        let mut held = lanes.reserve(lane, 0, cost, &self.shared);
        if let Err(error) = lanes.charge(&mut held, self.account()) {
            if cost > SEPARATE || lanes.own > SPARE {
                drop(lanes);
                drop(held);
                self.close(CloseOrder::over_budget(error));
                return Err(Gone);
            }
            held.charge = Some(Arc::new(self.shared.account.force_charge(cost)));
        }
        self.put(lanes, Queued { frame, held });
        Ok(())
    }

    /// Returns a channel that completes when the frames that never wait cost at most half of the
    /// queue's capacity, or when the receiver is gone. Returns `None` if that is so now.
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

    /// Returns a number that changes whenever the receiver takes a frame or a part of one. Compare
    /// two values to find out whether the receiver is alive.
    pub(crate) fn progress(&self) -> u64 {
        self.shared.progress.load(Ordering::Relaxed)
    }

    /// Closes the connection of a receiver that takes nothing.
    pub(crate) fn close_unread(&self) {
        self.close(CloseOrder::new(
            1008,
            "The client does not read what it is sent",
        ));
    }

    /// Closes the connection. Frames that are queued are dropped with the queue; senders fail from
    /// now on. Only the first order counts.
    pub(crate) fn close(&self, order: CloseOrder) {
        // Ignored, because an error says that there is an order already, and the first one counts.
        let _ = self.order.set(order);
        self.shared.close();
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.shared.lanes.lock().ended = true;
        // The writer would otherwise wait for frames that never arrive.
        self.shared.arrived.notify_one();
    }
}

impl Shared {
    /// Gives back the room of frames, and lets waiting senders go on.
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
            // If the sender has given up, its room is free again when `held` is dropped here.
            drop(grant.send(held));
        }
    }

    /// Takes no more frames. Waiting senders fail, because their grants are dropped.
    fn close(&self) {
        // Dropped after the lock is released, because that wakes tasks.
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
    /// Takes up to `limit` frames into `batch`. Waits for the first one. Returns false when the
    /// outbox is gone and the queue is empty.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, no frame is lost.
    pub(crate) async fn take(&mut self, batch: &mut Vec<Queued>, limit: usize) -> bool {
        // With a queue that is never empty this future never waits, so the task would never yield
        // to others.
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

    /// Gives back the room and the memory of frames of this queue, and empties `frames`. One call
    /// for many takes the lock once, whereas dropping each takes it every time.
    pub(crate) fn free(&self, frames: &mut Vec<Held>) {
        if frames.is_empty() {
            return;
        }
        // The destructors of `frames` must not give the same room back a second time.
        for held in frames.iter_mut() {
            held.shared = None;
        }
        self.shared.release(frames);
        frames.clear();
    }

    /// Returns the handle for reports of partial writes.
    pub(crate) fn progress(&self) -> Progress {
        Progress(self.shared.clone())
    }

    /// Waits for the order to close the connection. The future does not borrow the queue.
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
        // Dropped after the lock is released, because each frame takes it to give back its room.
        drop(frames);
    }
}

#[cfg(test)]
mod tests;
