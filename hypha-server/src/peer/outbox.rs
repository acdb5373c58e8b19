//! The frames that wait for one receiver.
//!
//! Each sender has a lane of its own. Lanes are served by deficit round robin over bytes, so one
//! sender of large messages costs the others their fair share and no more. The order of frames in a
//! lane never changes.
//!
//! Frames of other peers take room, in bytes. A lane may fill its share of the room: if there is
//! none the sender waits, which slows it down to the receiver's pace. Frames of the server itself
//! (replies of the manager, events, "not connected") must never wait, or one slow client would hold
//! up the manager for all: they have a lane without a bound on its room.
//!
//! All frames are charged to the account of the receiver, large ones each, small ones together and
//! in steps. A receiver without memory for the server's own frames is disconnected.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hypha_wire::Stamped;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, SetOnce, oneshot};

use crate::memory::{Account, Charge, OverBudget};

/// Bytes that a queued frame costs beyond its own: its entry in the queue and the allocator.
/// Measured as 192 with a message in one piece; the second piece adds 32.
const FRAME_OVERHEAD: usize = 224;
/// Frames above this cost are charged one by one.
const SEPARATE: usize = 16 * 1024;
/// Bytes of small frames that are covered by the standing charge of a connection.
const COVERED: usize = 8 * 1024;
/// Bytes by which the charge for small frames grows.
const STEP: usize = 64 * 1024;
/// Bytes of a lane that are sent in one turn.
const QUANTUM: usize = 64 * 1024;
/// Bytes taken from the queue at once: frames that come meanwhile do not wait behind more.
const BATCH_BYTES: usize = 128 * 1024;
/// Bound on the server's own small frames that an account without memory still takes, in bytes:
/// pongs and errors must get through.
const SPARE: usize = 64 * 1024;
/// Senders looked at in search of one that may go on, whenever room is freed.
const LOOK: usize = 32;
/// Empty lanes that are kept for the next sender, each with memory for this many frames at most.
const SPARE_LANES: usize = 2;
const SPARE_FRAMES: usize = 16;

/// The lane of the server's own frames. No connection has this generation.
const SERVER: u64 = 0;

/// The receiver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// A frame was not queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The receiver is gone.
    Gone,
    /// The receiver has no memory for it.
    OverBudget(OverBudget),
}

/// A frame was dropped for want of room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// The reason why the server ends a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloseOrder {
    pub(crate) code: u16,
    pub(crate) reason: String,
    /// Also send the reason in an error frame.
    pub(crate) error_frame: bool,
}

impl CloseOrder {
    pub(crate) fn new(code: u16, reason: impl Into<String>) -> CloseOrder {
        CloseOrder {
            code,
            reason: reason.into(),
            error_frame: false,
        }
    }

    /// Returns the order for a connection without memory: it may try again later.
    pub(crate) fn over_budget(reason: impl ToString) -> CloseOrder {
        CloseOrder::new(1013, reason.to_string()).with_error_frame()
    }

    pub(crate) fn with_error_frame(mut self) -> CloseOrder {
        self.error_frame = true;
        self
    }
}

/// A frame to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// A message.
    Binary(Stamped),
    /// A control message of the connection.
    Text(String),
}

impl Outgoing {
    fn cost(&self) -> usize {
        let length = match self {
            Outgoing::Binary(message) => message.len(),
            Outgoing::Text(text) => text.len(),
        };
        length + FRAME_OVERHEAD
    }
}

/// A queued frame, with the room and the memory that it occupies until this is dropped.
pub(crate) struct Queued {
    pub(crate) frame: Outgoing,
    pub(crate) held: Held,
}

/// The room that a frame occupies, and its memory.
pub(crate) struct Held {
    /// `None` when all is free again.
    shared: Option<Arc<Shared>>,
    lane: u64,
    /// Room in the lane; 0 for the server's own frames.
    room: usize,
    cost: usize,
    /// The frame is charged together with the other small ones.
    pooled: bool,
    charge: Option<Arc<Charge>>,
}

impl Held {
    /// Returns the charge of a large frame, for bytes that outlive their place in the queue.
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
    /// Room of these frames and of those that are being written.
    room: usize,
    /// Bytes that the lane may still send in this turn.
    deficit: usize,
    /// The lane has its turn.
    in_turn: bool,
}

/// Hashes the numbers of connections, which the server chooses: the default hasher would cost more
/// than all else that is done with a small frame.
#[derive(Default)]
struct GenerationHasher(u64);

impl Hasher for GenerationHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio: consecutive numbers differ in the upper bits, too.
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
    grant: oneshot::Sender<Held>,
}

struct Lanes {
    lanes: HashMap<u64, Lane, BuildHasherDefault<GenerationHasher>>,
    /// Lanes with frames, in the order of their turns.
    turns: VecDeque<u64>,
    spare: Vec<Lane>,
    capacity: usize,
    /// Room of all lanes.
    room: usize,
    /// Frames of peers that are larger than the queue: one at a time, as they take less room than
    /// memory, which is the receiver's.
    giants: usize,
    /// Costs of all small frames.
    small: usize,
    /// Costs of the server's own frames.
    own: usize,
    /// Those who wait until these costs are half of the capacity.
    relief: Vec<oneshot::Sender<()>>,
    /// Charge for the small frames beyond [`COVERED`].
    charge: Option<Charge>,
    waiters: VecDeque<Waiter>,
    /// The first waiter waits for the room of other lanes: nobody may overtake it.
    full: bool,
    /// No more frames are taken.
    closed: bool,
    /// All senders are gone.
    ended: bool,
}

struct Shared {
    lanes: Mutex<Lanes>,
    account: Account,
    /// Notified when there is something to take.
    arrived: Notify,
    /// Counts what the receiver has taken.
    progress: AtomicU64,
}

impl Lanes {
    fn lane(&mut self, lane: u64) -> &mut Lane {
        match self.lanes.entry(lane) {
            Entry::Occupied(lane) => lane.into_mut(),
            Entry::Vacant(place) => place.insert(self.spare.pop().unwrap_or_default()),
        }
    }

    /// Returns the room that a frame takes. A frame larger than a quarter of the queue takes no
    /// more than that, so that it need not wait until all others have passed.
    fn room_for(&self, cost: usize) -> usize {
        cost.min(self.capacity / 4)
    }

    /// Returns whether the lane may have more. There is always room for one frame in it.
    fn within_share(&self, lane: u64, room: usize) -> bool {
        self.lanes.get(&lane).is_none_or(|lane| {
            lane.room == 0 || lane.room + room <= self.capacity / (self.lanes.len() + 1)
        })
    }

    fn fits(&self, room: usize) -> bool {
        self.room == 0 || self.room + room <= self.capacity
    }

    fn is_giant(&self, room: usize, cost: usize) -> bool {
        room > 0 && cost > self.capacity
    }

    /// Returns whether no giant is in the way of this frame.
    fn passes(&self, room: usize, cost: usize) -> bool {
        self.giants == 0 || !self.is_giant(room, cost)
    }

    /// Returns whether a frame may be queued without waiting.
    fn admits(&self, lane: u64, room: usize, cost: usize) -> bool {
        !self.full
            && self.passes(room, cost)
            && self.within_share(lane, room)
            && self.fits(room)
            && !self.waiters.iter().any(|waiter| waiter.lane == lane)
    }

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

    /// Charges a frame: a small one with the others, a large one by itself.
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

    /// Queues a frame. Returns whether it is the only one.
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

    /// Takes the next frame.
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

    /// Frees what a frame has occupied.
    fn release(&mut self, freed: &Held) {
        if freed.pooled {
            self.uncharge_small(freed.cost);
        }
        if freed.room == 0 {
            self.own = self.own.saturating_sub(freed.cost);
            if self.own <= self.capacity / 2 {
                for waiting in self.relief.drain(..) {
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

    /// Returns the senders that may go on.
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

/// The sending half, shared by all senders to the receiver.
pub(crate) struct Outbox {
    shared: Arc<Shared>,
    order: Arc<SetOnce<CloseOrder>>,
}

/// The receiving half, for the task that writes.
pub(crate) struct Queue {
    shared: Arc<Shared>,
    order: Arc<SetOnce<CloseOrder>>,
}

/// Reports that the receiver takes bytes of a frame that is not written completely.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Shared>);

impl Progress {
    pub(crate) fn made(&self) {
        self.0.progress.fetch_add(1, Ordering::Relaxed);
    }
}

impl Outbox {
    /// Creates a queue with room for `capacity` bytes, charged to `account`.
    pub(crate) fn new(capacity: usize, account: Account) -> (Outbox, Queue) {
        let shared = Arc::new(Shared {
            lanes: Mutex::new(Lanes {
                lanes: HashMap::default(),
                turns: VecDeque::new(),
                spare: Vec::new(),
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

    /// Queues a frame of the connection `sender`; waits for room, then for memory.
    pub(crate) async fn send(&self, sender: u64, frame: impl Into<Stamped>) -> Result<(), Unsent> {
        let frame = Outgoing::Binary(frame.into());
        match self.queue_now(sender, frame)? {
            None => Ok(()),
            Some(frame) => self.queue_later(sender, frame).await,
        }
    }

    /// Queues a frame if there is room and memory, else returns it.
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
            // Its drop locks the lanes.
            drop(lanes);
            drop(held);
            return Ok(Some(frame));
        }
        self.put(lanes, Queued { frame, held });
        Ok(None)
    }

    async fn queue_later(&self, sender: u64, frame: Outgoing) -> Result<(), Unsent> {
        let cost = frame.cost();
        let room = {
            let mut lanes = self.shared.lanes.lock();
            if lanes.closed {
                return Err(Unsent::Gone);
            }
            let room = lanes.room_for(cost);
            let (grant, granted) = oneshot::channel();
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
        let charge = self.shared.account.charge(cost).await;
        held.charge = Some(Arc::new(charge.map_err(Unsent::OverBudget)?));
        let lanes = self.shared.lanes.lock();
        if lanes.closed {
            drop(lanes);
            return Err(Unsent::Gone);
        }
        self.put(lanes, Queued { frame, held });
        Ok(())
    }

    fn put(&self, mut lanes: MutexGuard<'_, Lanes>, queued: Queued) {
        let first = lanes.put(queued);
        drop(lanes);
        if first {
            self.shared.arrived.notify_one();
        }
    }

    /// Queues a frame of another peer if there is room now.
    pub(crate) fn offer(&self, sender: u64, frame: impl Into<Stamped>) -> Result<(), NoRoom> {
        match self.queue_now(sender, Outgoing::Binary(frame.into())) {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(NoRoom),
        }
    }

    /// Queues a frame of the server itself; never waits.
    pub(crate) fn push(&self, frame: impl Into<Stamped>) -> Result<(), Gone> {
        self.push_frame(SERVER, Outgoing::Binary(frame.into()))
    }

    /// Queues a frame of the server itself behind all frames of the connection `sender`: what it
    /// says about that connection must not overtake them.
    pub(crate) fn push_behind(&self, sender: u64, frame: impl Into<Stamped>) -> Result<(), Gone> {
        self.push_frame(sender, Outgoing::Binary(frame.into()))
    }

    /// Queues a control message; never waits.
    pub(crate) fn push_text(&self, text: String) -> Result<(), Gone> {
        self.push_frame(SERVER, Outgoing::Text(text))
    }

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

    /// Returns what completes when frames that never wait take half of the room that all others
    /// may take, or the receiver is gone. `None` if it is so now.
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

    /// Returns a number that changes whenever the receiver takes something.
    pub(crate) fn progress(&self) -> u64 {
        self.shared.progress.load(Ordering::Relaxed)
    }

    /// Ends the connection of a receiver that does not keep up.
    pub(crate) fn close_unread(&self) {
        self.close(CloseOrder::new(
            1008,
            "The client does not read what it is sent",
        ));
    }

    /// Ends the connection. The first order counts.
    pub(crate) fn close(&self, order: CloseOrder) {
        let _ = self.order.set(order);
        self.shared.close();
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.shared.lanes.lock().ended = true;
        self.shared.arrived.notify_one();
    }
}

impl Shared {
    /// Frees what frames have occupied, for the senders that wait for it.
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

    /// Takes no more frames. Senders that wait for room learn that there will be none.
    fn close(&self) {
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
    /// Takes up to `limit` frames; waits for the first. Returns false when there will be no more.
    pub(crate) async fn take(&mut self, batch: &mut Vec<Queued>, limit: usize) -> bool {
        // A queue that is never empty must not keep its task from giving way to others.
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

    /// Frees what frames of this queue occupy. One call for many costs less than dropping each.
    pub(crate) fn free(&self, frames: &mut Vec<Held>) {
        if frames.is_empty() {
            return;
        }
        for held in frames.iter_mut() {
            held.shared = None;
        }
        self.shared.release(frames);
        frames.clear();
    }

    /// Returns the means to report that a part of a frame was taken.
    pub(crate) fn progress(&self) -> Progress {
        Progress(self.shared.clone())
    }

    /// Waits for the order to end the connection.
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
        // Each gives back its room, for which it locks the lanes.
        drop(frames);
    }
}

#[cfg(test)]
mod tests;
