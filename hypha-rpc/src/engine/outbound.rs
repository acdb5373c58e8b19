//! The queue of frames for the link, and the budget of their bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::transport::Frame;

/// Frames that wait for the socket. More than that make the senders wait.
pub(crate) const OUTBOUND_FRAMES: usize = 1024;
/// Bytes of large frames that wait for the socket, in units of [`LARGE`]: 8 MiB, which fill a fast
/// link for longer than a task needs to make more.
const OUTBOUND_LARGE: usize = 512;
/// From this size on a frame counts in the byte budget as well. Smaller ones are bounded by
/// their number, without a second semaphore on their way.
pub(super) const LARGE: usize = 16 << 10;

/// Small frames of senders that cannot wait, such as destructors, behind a full queue.
const MOST_POSTED: usize = 65_536;

/// The connection is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed;

/// A frame for the driver, with its share of the byte budget.
pub(crate) struct QueuedFrame {
    pub(super) frame: Frame,
    /// Share of the byte budget, returned when the frame is written or dropped.
    _budget: Option<OwnedSemaphorePermit>,
}

/// The sending end of the queue.
pub(crate) struct Outbound {
    queue: mpsc::Sender<QueuedFrame>,
    budget: Arc<Semaphore>,
    /// Frames that have found the queue full.
    posted: Mutex<VecDeque<Bytes>>,
    /// Number of them, which the driver reads without the lock.
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

    /// Puts one frame into the queue; waits while it is full.
    pub(crate) async fn enqueue(&self, frame: Bytes) -> Result<(), Closed> {
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

    /// As [`enqueue`](Self::enqueue), but drops the frame if there is no room; false then.
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

    /// Queues a small frame without waiting; it waits by itself if there is no room. False if too
    /// many do.
    pub(crate) fn post(&self, frame: Bytes) -> bool {
        if self.posted_len.load(Ordering::Relaxed) == 0 && self.try_enqueue(frame.clone()) {
            return true;
        }
        let mut posted = self.posted.lock();
        if posted.len() >= MOST_POSTED || self.queue.is_closed() {
            return false;
        }
        posted.push_back(frame);
        self.posted_len.store(posted.len(), Ordering::Relaxed);
        true
    }

    /// Takes the first frame of those that have found the queue full.
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

    /// Returns how many frames wait.
    pub(super) fn queued(&self) -> usize {
        let queued = self.queue.max_capacity() - self.queue.capacity();
        queued + self.posted_len.load(Ordering::Relaxed)
    }

    /// Fails all senders that wait for a share of the budget; the queue ends with its driver.
    pub(super) fn close(&self) {
        self.budget.close();
    }
}

/// The units of the byte budget that a frame takes.
fn shares(frame: &Bytes) -> u32 {
    if frame.len() < LARGE {
        return 0;
    }
    frame.len().div_ceil(LARGE).min(OUTBOUND_LARGE) as u32
}
