//! Queues frames for the link, and limits the total size of the queued frames.
//!
//! There are three functions for sending a frame. [`Outbound::enqueue`] waits while the queue is
//! full. The driver uses [`Outbound::try_enqueue`], because only the driver makes room in the
//! queue, so the driver must not wait. Destructors use [`Outbound::post`], because a destructor
//! cannot wait, but its frame must not be lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::transport::Frame;

/// Maximum number of frames that wait for the link. Senders wait while the queue is full.
pub(crate) const OUTBOUND_FRAMES: usize = 1024;
/// Maximum total size of the large frames that wait for the link, in units of [`LARGE`]: 8 MiB.
/// With this size, a task can produce further frames while the waiting frames are being sent, even
/// on a fast link.
const OUTBOUND_LARGE: usize = 512;
/// Size in bytes from which a frame counts against the byte budget. The number of all frames is
/// limited as well. Smaller frames only count against the limit on the number, so most frames need
/// only one permit.
pub(super) const LARGE: usize = 16 << 10;

/// Maximum number of posted frames. A posted frame is a small frame that did not fit into the
/// queue, and whose sender cannot wait.
const MAX_POSTED: usize = 65_536;

/// Error of a sender if the connection is closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed;

/// A frame for the driver, together with a permit of the byte budget.
pub(crate) struct QueuedFrame {
    pub(super) frame: Frame,
    /// Permit of the byte budget. The permit is returned when the frame is written or dropped.
    _budget: Option<OwnedSemaphorePermit>,
}

/// Sending side of the queue.
pub(crate) struct Outbound {
    queue: mpsc::Sender<QueuedFrame>,
    budget: Arc<Semaphore>,
    /// Posted frames that did not fit into the queue.
    posted: Mutex<VecDeque<Bytes>>,
    /// Number of posted frames. The number is an atomic, so that the driver can check it before
    /// each frame without locking `posted`. `Ordering::Relaxed` is sufficient: if the driver does
    /// not see a new frame, it sees the frame in its next turn. The lock protects the frames
    /// themselves.
    posted_len: AtomicUsize,
}

impl Outbound {
    pub(super) fn new() -> (Self, mpsc::Receiver<QueuedFrame>) {
        let (queue, frames) = mpsc::channel(OUTBOUND_FRAMES);
        let budget = Arc::new(Semaphore::new(OUTBOUND_LARGE));
        let outbound = Outbound {
            queue,
            budget,
            posted: Mutex::default(),
            posted_len: AtomicUsize::new(0),
        };
        (outbound, frames)
    }

    /// Puts one frame into the queue. Waits while the queue is full.
    pub(crate) async fn enqueue(&self, frame: Bytes) -> Result<(), Closed> {
        // Acquire the budget before the slot in the queue. So small frames do not wait while a
        // large frame waits for its budget.
        let budget = match shares(&frame) {
            0 => None,
            shares => {
                let budget = Arc::clone(&self.budget).acquire_many_owned(shares);
                Some(budget.await.map_err(|_| Closed)?)
            }
        };
        let frame = QueuedFrame {
            frame: Frame::Binary(frame),
            _budget: budget,
        };
        self.queue.send(frame).await.map_err(|_| Closed)
    }

    /// Puts one frame into the queue. Drops the frame and returns `false` if the queue is full.
    pub(crate) fn try_enqueue(&self, frame: Bytes) -> bool {
        let budget = match shares(&frame) {
            0 => None,
            shares => match Arc::clone(&self.budget).try_acquire_many_owned(shares) {
                Ok(budget) => Some(budget),
                Err(_) => return false,
            },
        };
        let frame = QueuedFrame {
            frame: Frame::Binary(frame),
            _budget: budget,
        };
        self.queue.try_send(frame).is_ok()
    }

    /// Adds a small frame to the queue without waiting. If the queue is full, stores the frame
    /// until there is room. Returns `false` if too many frames are already stored, or if the
    /// connection is closed.
    pub(crate) fn post(&self, frame: Bytes) -> bool {
        // If other posted frames are waiting, store the frame behind them, so that releases are
        // sent in the order in which they were posted.
        if self.posted_len.load(Ordering::Relaxed) == 0 && self.try_enqueue(frame.clone()) {
            return true;
        }
        let mut posted = self.posted.lock();
        if posted.len() >= MAX_POSTED || self.queue.is_closed() {
            return false;
        }
        posted.push_back(frame);
        self.posted_len.store(posted.len(), Ordering::Relaxed);
        true
    }

    /// Removes and returns the first posted frame.
    pub(super) fn take_posted(&self) -> Option<QueuedFrame> {
        if self.posted_len.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut posted = self.posted.lock();
        let frame = posted.pop_front()?;
        self.posted_len.store(posted.len(), Ordering::Relaxed);
        Some(QueuedFrame {
            frame: Frame::Binary(frame),
            _budget: None,
        })
    }

    /// Returns the number of waiting frames.
    pub(super) fn queued(&self) -> usize {
        let queued = self.queue.max_capacity() - self.queue.capacity();
        queued + self.posted_len.load(Ordering::Relaxed)
    }

    /// Fails all senders that are waiting for the byte budget. The driver closes the queue after it
    /// has sent the remaining frames.
    pub(super) fn close(&self) {
        self.budget.close();
    }
}

/// Returns the number of units of the byte budget that a frame needs. A frame that is larger than
/// the budget needs the whole budget. Otherwise, such a frame could never be sent.
fn shares(frame: &Bytes) -> u32 {
    if frame.len() < LARGE {
        return 0;
    }
    frame.len().div_ceil(LARGE).min(OUTBOUND_LARGE) as u32
}
