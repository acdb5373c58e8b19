//! The progress of a handler that runs.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// Progress of a handler, which its task writes and the monitor reads.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Number of the call on its connection.
    pub(super) id: u64,
    /// `service.method`, or the name of a callback.
    pub(super) label: String,
    /// Time between two heartbeats; `None` if the caller wants none.
    pub(super) interval: Option<Duration>,
    /// Twice the number of finished polls, and one more while a poll runs.
    pub(super) polls: AtomicU64,
    /// Time of the last heartbeat, in milliseconds of the connection's clock.
    pub(super) beaten: AtomicU64,
}

impl Progress {
    pub(crate) fn new(id: u64, label: String, interval: Option<Duration>, now: u64) -> Self {
        Progress {
            id,
            label,
            interval,
            polls: AtomicU64::new(0),
            beaten: AtomicU64::new(now),
        }
    }

    /// Notes a heartbeat.
    pub(crate) fn beat(&self, now: u64) {
        self.beaten.store(now, Ordering::Relaxed);
    }

    /// Polls the handler, and notes when it does.
    pub(crate) fn poll<F: Future>(
        &self,
        run: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        // Only this task writes, so a load and a store do.
        let polls = self.polls.load(Ordering::Relaxed);
        self.polls.store(polls + 1, Ordering::Relaxed);
        let polled = run.poll(cx);
        self.polls.store(polls + 2, Ordering::Relaxed);
        polled
    }

    pub(super) fn is_due(&self, now: u64, tick: Duration) -> bool {
        let idle = Duration::from_millis(now.saturating_sub(self.beaten.load(Ordering::Relaxed)));
        self.interval
            .is_some_and(|interval| idle >= interval + tick)
    }
}
