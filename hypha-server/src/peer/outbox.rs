//! The frames that wait for one receiver.
//!
//! Frames of other peers take room, in bytes. If there is none the sender waits, which slows it
//! down to the receiver's pace. Frames of the server itself (replies of the manager, events, "not
//! connected") must never wait, or one slow client would hold up the manager for all: they go into
//! the same queue, on top, and a receiver that lets too much of them pile up is disconnected.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hypha_wire::Stamped;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SetOnce, mpsc};

/// Bytes that a queued frame costs beyond its own: its entry in the queue, its permit and the
/// allocator. Measured as 192 with a message in one piece; the second piece adds 32.
const FRAME_OVERHEAD: usize = 224;
/// Bound on the server's own frames in a queue, in bytes: several large replies of the manager at
/// once must pass.
const SERVER_BACKLOG: usize = 64 * 1024 * 1024;

/// The receiver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

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

/// A queued frame, with the room that it occupies until this is dropped.
pub(crate) struct Queued {
    pub(crate) frame: Outgoing,
    pub(crate) held: Held,
}

/// Room in the queue, or a share of the backlog.
pub(crate) enum Held {
    Room { _permit: OwnedSemaphorePermit },
    Backlog { of: Arc<AtomicUsize>, bytes: usize },
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Held::Backlog { of, bytes } = self {
            of.fetch_sub(*bytes, Ordering::Relaxed);
        }
    }
}

/// The sending half, shared by all senders to the receiver.
pub(crate) struct Outbox {
    queue: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
    capacity: usize,
    backlog: Arc<AtomicUsize>,
    order: Arc<SetOnce<CloseOrder>>,
}

/// The receiving half, for the task that writes.
pub(crate) struct Queue {
    queue: mpsc::UnboundedReceiver<Queued>,
    room: Arc<Semaphore>,
    order: Arc<SetOnce<CloseOrder>>,
}

impl Outbox {
    /// Creates a queue with room for `capacity` bytes.
    pub(crate) fn new(capacity: usize) -> (Outbox, Queue) {
        let capacity = capacity.clamp(FRAME_OVERHEAD, u32::MAX as usize);
        let (sender, receiver) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(capacity));
        let backlog = Arc::new(AtomicUsize::new(0));
        let order = Arc::new(SetOnce::new());
        let outbox = Outbox {
            queue: sender,
            room: room.clone(),
            capacity,
            backlog,
            order: order.clone(),
        };
        (
            outbox,
            Queue {
                queue: receiver,
                room,
                order,
            },
        )
    }

    /// Queues a frame of another peer; waits for room.
    pub(crate) async fn send(&self, frame: impl Into<Stamped>) -> Result<(), Gone> {
        let frame = Outgoing::Binary(frame.into());
        let cost = self.room_for(&frame);
        let room = match self.room.clone().try_acquire_many_owned(cost) {
            Ok(room) => room,
            Err(_) => self
                .room
                .clone()
                .acquire_many_owned(cost)
                .await
                .map_err(|_| Gone)?,
        };
        let held = Held::Room { _permit: room };
        self.queue.send(Queued { frame, held }).map_err(|_| Gone)
    }

    /// Queues a frame of another peer if there is room now.
    pub(crate) fn offer(&self, frame: impl Into<Stamped>) -> Result<(), NoRoom> {
        let frame = Outgoing::Binary(frame.into());
        let cost = self.room_for(&frame);
        let room = self.room.clone().try_acquire_many_owned(cost);
        let held = Held::Room {
            _permit: room.map_err(|_| NoRoom)?,
        };
        self.queue.send(Queued { frame, held }).map_err(|_| NoRoom)
    }

    /// A frame larger than the whole queue takes all of it.
    fn room_for(&self, frame: &Outgoing) -> u32 {
        frame.cost().min(self.capacity) as u32
    }

    /// Queues a frame of the server itself; never waits.
    pub(crate) fn push(&self, frame: impl Into<Stamped>) -> Result<(), Gone> {
        self.push_frame(Outgoing::Binary(frame.into()))
    }

    /// Queues a control message; never waits.
    pub(crate) fn push_text(&self, text: String) -> Result<(), Gone> {
        self.push_frame(Outgoing::Text(text))
    }

    fn push_frame(&self, frame: Outgoing) -> Result<(), Gone> {
        let bytes = frame.cost();
        let before = self.backlog.fetch_add(bytes, Ordering::Relaxed);
        let held = Held::Backlog {
            of: self.backlog.clone(),
            bytes,
        };
        if before > SERVER_BACKLOG {
            self.close_unread();
            return Err(Gone);
        }
        self.queue.send(Queued { frame, held }).map_err(|_| Gone)
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
        // Senders that wait for room learn that there will be none.
        self.room.close();
    }
}

impl Queue {
    /// Takes up to `limit` frames; waits for the first. Returns false when there will be no more.
    pub(crate) async fn take(&mut self, batch: &mut Vec<Queued>, limit: usize) -> bool {
        self.queue.recv_many(batch, limit).await > 0
    }

    /// Waits for the order to end the connection.
    pub(crate) fn closed(&self) -> impl Future<Output = CloseOrder> + Send + use<> {
        let order = self.order.clone();
        async move { order.wait().await.clone() }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    fn frame(length: usize) -> Bytes {
        Bytes::from(vec![0; length])
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_waits_for_room_and_the_server_does_not() {
        let (outbox, mut queue) = Outbox::new(1000);
        outbox.send(frame(800)).await.unwrap();
        let second = tokio::time::timeout(Duration::from_secs(60), outbox.send(frame(800))).await;
        assert!(second.is_err(), "no room, the sender waits");
        outbox.push(frame(800)).unwrap();

        let mut batch = Vec::new();
        assert!(queue.take(&mut batch, 10).await);
        assert_eq!(batch.len(), 2);
        batch.clear();
        outbox.send(frame(800)).await.unwrap();
        assert_eq!(outbox.backlog.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_frame_larger_than_the_queue_passes_alone() {
        let (outbox, mut queue) = Outbox::new(1000);
        outbox.send(frame(5000)).await.unwrap();
        let mut batch = Vec::new();
        assert!(queue.take(&mut batch, 10).await);
        batch.clear();
        outbox.send(frame(10)).await.unwrap();
    }

    #[tokio::test]
    async fn a_receiver_with_too_large_a_backlog_is_dropped() {
        let (outbox, queue) = Outbox::new(1000);
        let reply = frame(2 << 20);
        assert!((0..16).all(|_| outbox.push(reply.clone()).is_ok()));
        while outbox.push(reply.clone()).is_ok() {}
        assert_eq!(queue.closed().await.code, 1008);
        assert_eq!(outbox.send(frame(1)).await, Err(Gone));
    }

    #[tokio::test]
    async fn an_offer_without_room_is_dropped() {
        let (outbox, mut queue) = Outbox::new(1000);
        outbox.offer(frame(800)).unwrap();
        assert_eq!(outbox.offer(frame(800)), Err(NoRoom));
        let mut batch = Vec::new();
        assert!(queue.take(&mut batch, 10).await);
        batch.clear();
        outbox.offer(frame(800)).unwrap();
    }

    #[tokio::test]
    async fn closing_frees_the_senders_that_wait() {
        let (outbox, queue) = Outbox::new(200);
        let outbox = Arc::new(outbox);
        outbox.send(frame(100)).await.unwrap();
        let waiting = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.send(frame(100)).await }
        });
        tokio::task::yield_now().await;
        outbox.close(CloseOrder::new(1001, "bye"));
        assert_eq!(waiting.await.unwrap(), Err(Gone));
        assert_eq!(queue.closed().await.reason, "bye");
    }
}
