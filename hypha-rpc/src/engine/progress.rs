//! Records the progress of a running handler.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// Progress of a handler. The task of the handler writes the progress, and the monitor of the
/// watchdog reads it.
///
/// `Ordering::Relaxed` is sufficient for the atomics. The monitor only compares the values of two
/// checks, and no other data depends on the values.
#[cfg_attr(target_family = "wasm", allow(dead_code, reason = "for the watchdog"))]
#[derive(Debug)]
pub(crate) struct Progress {
    /// Number of the call, unique in its connection.
    pub(super) id: u64,
    /// `service.method`, or the name of a callback.
    pub(super) label: String,
    /// Interval of heartbeats. `None` if the caller requests no heartbeats.
    pub(super) interval: Option<Duration>,
    /// Twice the number of finished polls, plus one during a poll. If two checks see the same odd
    /// number, the same poll is still running.
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

    /// Records a heartbeat.
    pub(crate) fn beat(&self, now: u64) {
        self.beaten.store(now, Ordering::Relaxed);
    }

    /// Polls the handler, and counts the poll.
    pub(crate) fn poll<F: Future>(
        &self,
        run: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        // Only this task writes the number, so a load and a store are sufficient. No atomic
        // addition is necessary.
        let polls = self.polls.load(Ordering::Relaxed);
        self.polls.store(polls + 1, Ordering::Relaxed);
        let polled = run.poll(cx);
        self.polls.store(polls + 2, Ordering::Relaxed);
        polled
    }

    /// Returns whether a heartbeat is overdue by at least `tick`. The margin exists because the
    /// task of the handler also sends heartbeats. Without the margin, the monitor could send a
    /// heartbeat that the task is about to send.
    #[cfg_attr(target_family = "wasm", allow(dead_code, reason = "for the watchdog"))]
    pub(super) fn is_due(&self, now: u64, tick: Duration) -> bool {
        let idle = Duration::from_millis(now.saturating_sub(self.beaten.load(Ordering::Relaxed)));
        self.interval
            .is_some_and(|interval| idle >= interval + tick)
    }
}
