//! A thread that keeps connections alive while the runtime of the program is blocked.
//!
//! A handler that blocks, for example with `std::thread::sleep`, blocks a worker thread of its
//! runtime and the tasks in that worker's LIFO slot. If all workers are blocked, the runtime stops.
//! Therefore the task of a connection can run in two places:
//!
//! * In the program's runtime, by default. On another thread, each message would have to change
//!   threads twice.
//! * On the watchdog's thread. The watchdog takes the task over if the runtime was woken but has
//!   not run the task for [`Settings::stall_timeout`]. It gives the task back when the runtime runs
//!   again.
//!
//! While handlers run, one monitor per connection checks them twice per stall timeout. It sends
//! overdue heartbeats, and reports methods that block. Without running handlers it sleeps.
//!
//! A runtime with a paused clock, as in tests, is not watched, because the watchdog's thread does
//! not use the paused clock.
//!
//! WebSockets and in-memory links move with the task. An HTTP link does not move: tasks of the
//! program's runtime perform its requests, so the link waits while the runtime is blocked.
//!
//! [`Settings::stall_timeout`]: super::Settings::stall_timeout

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::progress::Progress;
use super::stats::count;
use super::{Engine, Handlers};
use crate::runtime::{enter_watchdog, set_moved};

/// Number of checks per stall timeout. With two checks, the task has at least one whole interval to
/// reply before the runtime counts as blocked.
const CHECKS: u32 = 2;

/// Time without a running handler after which the monitor sleeps. With many short calls, sleeping
/// and waking for each call would cost more than the checks.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// Wakes the monitor of a connection when a call arrives.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Whether the monitor sleeps, so that a call must wake it.
    sleeps: AtomicBool,
    wake: Notify,
}

impl Activity {
    /// Wakes the monitor because a call has arrived.
    pub(super) fn begin(&self) {
        // The caller has counted the call already. `Monitor::sleep` sets `sleeps` before it reads
        // the count. The counter is relaxed, so each side needs a fence. Then at least one side
        // sees the write of the other side. The load before the swap avoids a write to a shared
        // cache line for each call.
        fence(Ordering::SeqCst);
        if self.sleeps.load(Ordering::SeqCst) && self.sleeps.swap(false, Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }
}

/// Task of a connection, and the state shared by the two places where it can run.
///
/// Both sides use `try_lock` on the slot, and never wait for the other side's poll, because the
/// wait would block a second thread.
struct Watched {
    slot: Mutex<Slot>,
    /// Whether the task has ended.
    ended: AtomicBool,
    /// Whether the program's runtime must be woken when the slot is unlocked. Set when that runtime
    /// finds the slot locked, when the task is moved, or when the task ends.
    missed: AtomicBool,
    /// Wakes the task in the program's runtime.
    home: AtomicWaker,
    /// Number of the latest probe to the program's runtime.
    last_probe: AtomicU64,
    /// Number of the latest probe with a reply. If it is not `last_probe`, the runtime has not run
    /// the task since that probe.
    last_reply: AtomicU64,
    /// Whether the clock of the program's runtime was paused.
    paused: AtomicBool,
}

struct Slot {
    /// `None` when the task has ended.
    task: Option<BoxFuture<'static, ()>>,
    /// Whether the task runs on the watchdog's thread.
    away: bool,
}

impl Watched {
    fn new(task: BoxFuture<'static, ()>) -> Self {
        Watched {
            slot: Mutex::new(Slot {
                task: Some(task),
                away: false,
            }),
            ended: AtomicBool::new(false),
            missed: AtomicBool::new(false),
            home: AtomicWaker::new(),
            last_probe: AtomicU64::new(0),
            last_reply: AtomicU64::new(0),
            paused: AtomicBool::new(false),
        }
    }

    /// Polls the task if it currently runs on the caller's side: on the watchdog's thread if `away`
    /// is true, in the program's runtime otherwise. Returns `Ready` when the task has ended.
    fn poll(&self, away: bool, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut slot) = self.lock(away) else {
            return Poll::Pending;
        };
        let is_here = slot.away == away;
        let polled = match &mut slot.task {
            Some(task) if is_here => task.as_mut().poll(cx),
            Some(_) => Poll::Pending,
            None => Poll::Ready(()),
        };
        if polled.is_ready() {
            slot.task = None;
            self.ended.store(true, Ordering::SeqCst);
            // Wake the program's runtime once more, so that the `Placeholder` also ends.
            self.missed.store(true, Ordering::SeqCst);
        }
        self.unlock(slot);
        polled
    }

    /// Locks the slot. Returns `None` if the other side is polling or moving the task. That side
    /// wakes the program's runtime when it unlocks the slot. The watchdog needs no wake-up, because
    /// its monitor checks again.
    fn lock(&self, away: bool) -> Option<MutexGuard<'_, Slot>> {
        self.slot.try_lock().or_else(|| {
            if away {
                return None;
            }
            self.missed.store(true, Ordering::SeqCst);
            // Try again, because the other side may have unlocked the slot just before `missed` was
            // set.
            self.slot.try_lock()
        })
    }

    /// Unlocks the slot. Wakes the program's runtime if `missed` is set.
    fn unlock(&self, slot: MutexGuard<'_, Slot>) {
        drop(slot);
        if self.missed.swap(false, Ordering::SeqCst) {
            self.home.wake();
        }
    }

    /// Moves the task to the watchdog (`away`) or back. Returns `false` if the task is being
    /// polled.
    fn relocate(&self, away: bool) -> bool {
        let Some(mut slot) = self.slot.try_lock() else {
            return false;
        };
        slot.away = away;
        // Count the move while the slot is locked, so that sockets and timers notice it in their
        // next poll.
        set_moved();
        self.missed.store(true, Ordering::SeqCst);
        self.unlock(slot);
        true
    }

    /// Sends a probe to the program's runtime, by waking the task.
    fn send_probe(&self) {
        self.last_probe.fetch_add(1, Ordering::AcqRel);
        self.home.wake();
    }

    /// Acknowledges the watchdog's latest probe. Runs in the program's runtime.
    fn reply(&self) {
        let probe = self.last_probe.load(Ordering::Acquire);
        if probe != self.last_reply.load(Ordering::Relaxed) {
            if has_paused_clock() {
                self.paused.store(true, Ordering::Relaxed);
            }
            self.last_reply.store(probe, Ordering::Release);
        }
    }

    fn has_replied(&self) -> bool {
        self.last_reply.load(Ordering::Acquire) == self.last_probe.load(Ordering::Acquire)
    }

    /// Drops the task after the slot is unlocked, because its destructors close the connection.
    fn end(&self) {
        let task = self.slot.lock().task.take();
        self.ended.store(true, Ordering::SeqCst);
        drop(task);
        self.home.wake();
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

/// Placeholder for the task in the program's runtime. It replies to probes, and polls the task
/// while the watchdog does not run it.
struct Placeholder {
    watched: Arc<Watched>,
    activity: Arc<Activity>,
}

impl Future for Placeholder {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let watched = &self.watched;
        watched.home.register(cx.waker());
        watched.reply();
        watched.poll(false, cx)
    }
}

impl Drop for Placeholder {
    /// Ends the task when the runtime shuts down: a connection does not outlive its runtime.
    fn drop(&mut self) {
        self.watched.end();
        // Wake the monitor, so that it ends as well.
        self.activity.begin();
    }
}

/// Returns whether the clock of the current runtime is paused, for example by a test. Tokio has no
/// method for this, but its paused clock differs from the system's clock.
fn has_paused_clock() -> bool {
    let before = std::time::Instant::now();
    let clock = Instant::now().into_std();
    clock < before || clock > std::time::Instant::now()
}

/// Runs the task of a connection on the current runtime, with a watchdog if the settings enable it.
pub(super) fn spawn<H: Handlers>(
    engine: &Arc<Engine<H>>,
    task: impl Future<Output = ()> + Send + 'static,
) {
    let here = Handle::current();
    let stall = engine.settings.stall_timeout;
    let watchable = !stall.is_zero() && !has_paused_clock();
    let Some(watchdog) = watchable.then(watchdog).flatten() else {
        here.spawn(task);
        return;
    };
    let watched = Arc::new(Watched::new(Box::pin(task)));
    let monitor = Monitor {
        watched: Arc::clone(&watched),
        activity: Arc::clone(&engine.activity),
        // A weak reference, so that the monitor does not keep a closed connection alive.
        engine: Arc::downgrade(engine),
        tick: (stall / CHECKS).max(Duration::from_millis(1)),
        warning: engine.settings.blocking_warning,
        seen: HashMap::new(),
        guest: None,
    };
    watchdog.spawn(monitor.run());
    here.spawn(Placeholder {
        watched,
        activity: Arc::clone(&engine.activity),
    });
}

/// Returns the runtime of the watchdog, or `None` if its thread cannot be started. One thread
/// serves all connections, from the first use to the end of the program.
fn watchdog() -> Option<&'static Handle> {
    static RUNTIME: OnceLock<Option<Handle>> = OnceLock::new();
    let start = || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name("hypha-watchdog".into());
        thread.spawn(move || {
            enter_watchdog();
            runtime.block_on(std::future::pending::<()>());
        })?;
        Ok(handle)
    };
    let started = RUNTIME.get_or_init(|| {
        let started: std::io::Result<Handle> = start();
        let failed = |e| {
            tracing::warn!(
                "blocked runtimes will not be noticed: cannot start the watchdog thread: {e}"
            )
        };
        started.map_err(failed).ok()
    });
    started.as_ref()
}

/// A poll that was running at the last check.
struct Blocking {
    label: String,
    poll: u64,
    since: Instant,
    reported: bool,
}

/// Watches one connection, in a task on the watchdog's thread.
struct Monitor<H: Handlers> {
    watched: Arc<Watched>,
    activity: Arc<Activity>,
    engine: Weak<Engine<H>>,
    tick: Duration,
    warning: Duration,
    /// Handlers that were being polled at the last check. Key: number of the call.
    seen: HashMap<u64, Blocking>,
    /// Task that polls the connection on this thread while the watchdog runs it.
    guest: Option<JoinHandle<()>>,
}

impl<H: Handlers> Monitor<H> {
    /// Runs until the connection is closed.
    async fn run(mut self) {
        let mut received = 0;
        while self.sleep(received).await {
            let mut last = Instant::now();
            // Starts at 0, because probes from before the sleep say nothing about the runtime now.
            let mut missed_probes = 0;
            while last.elapsed() < IDLE_TIME {
                self.watched.send_probe();
                tokio::time::sleep(self.tick).await;
                let Some(engine) = self.engine.upgrade().filter(|_| !self.watched.has_ended())
                else {
                    return;
                };
                if self.watched.paused.load(Ordering::Relaxed) && self.guest.is_none() {
                    return;
                }
                missed_probes = if self.watched.has_replied() {
                    0
                } else {
                    missed_probes + 1
                };
                if self.guest.as_ref().is_some_and(JoinHandle::is_finished) {
                    // The guest task ends by itself only if the connection's task has panicked,
                    // which closes the connection.
                    return self.watched.end();
                }
                if self.guest.is_some() && missed_probes == 0 {
                    self.give_back();
                } else if self.guest.is_none() && missed_probes >= CHECKS {
                    self.take_over(&engine);
                }
                received = engine.counters.calls_received.load(Ordering::Relaxed);
                let running = engine.handlers.running();
                if !running.is_empty() || self.guest.is_some() {
                    last = Instant::now();
                }
                self.check(&engine, &running);
            }
        }
    }

    /// Returns the number of calls received so far.
    fn received(&self) -> u64 {
        let engine = self.engine.upgrade();
        engine.map_or(0, |engine| {
            engine.counters.calls_received.load(Ordering::Relaxed)
        })
    }

    /// Sleeps until more than `received` calls have arrived. Returns `false` if the connection is
    /// closed.
    async fn sleep(&self, received: u64) -> bool {
        self.activity.sleeps.swap(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        // Check after `sleeps` is set: earlier calls, or an earlier close, did not wake this task.
        if self.received() == received && !self.watched.has_ended() {
            self.activity.wake.notified().await;
        }
        self.activity.sleeps.store(false, Ordering::SeqCst);
        !self.watched.has_ended()
    }

    /// Moves the connection's task to this thread. If the task is being polled, the next check
    /// tries again.
    fn take_over(&mut self, engine: &Engine<H>) {
        if self.watched.relocate(true) {
            count(&engine.counters.stalls);
            tracing::debug!("the runtime is blocked; the connection moves to another thread");
            let watched = Arc::clone(&self.watched);
            let guest = std::future::poll_fn(move |cx| watched.poll(true, cx));
            self.guest = Some(tokio::spawn(guest));
        }
    }

    /// Moves the connection's task back to the program's runtime.
    fn give_back(&mut self) {
        if self.watched.relocate(false) {
            if let Some(guest) = self.guest.take() {
                guest.abort();
            }
        }
    }

    /// Sends overdue heartbeats and reports handlers that block.
    fn check(&mut self, engine: &Engine<H>, running: &[Arc<H::Running>]) {
        let mut before = std::mem::take(&mut self.seen);
        let (now, beats) = (Instant::now(), engine.clock.now());
        let connected = engine.lifecycle.is_connected();
        for call in running {
            let progress: &Progress = (**call).as_ref();
            if connected && progress.is_due(beats, self.tick) {
                progress.beat(beats);
                H::heartbeat(engine, call);
            }
            let poll = progress.polls.load(Ordering::Relaxed);
            if poll % 2 == 0 {
                continue;
            }
            let same = before.get(&progress.id).is_some_and(|b| b.poll == poll);
            let blocking = same.then(|| before.remove(&progress.id)).flatten();
            let mut blocking = blocking.unwrap_or_else(|| Blocking {
                label: progress.label.clone(),
                poll,
                since: now,
                reported: false,
            });
            let time = now - blocking.since;
            if !self.warning.is_zero() && time >= self.warning && !blocking.reported {
                blocking.reported = true;
                count(&engine.counters.blocked_handlers);
                tracing::warn!(
                    "`{}` has blocked its thread for {time:.1?}: use `.await`, `spawn_blocking` or \
                     `#[hypha(blocking)]`",
                    progress.label
                );
            }
            self.seen.insert(progress.id, blocking);
        }
        // Handlers that remain in `before` have returned from their poll since the last check.
        for blocking in before.into_values().filter(|blocking| blocking.reported) {
            let time = now - blocking.since;
            tracing::warn!("`{}` blocked its thread for {time:.1?}", blocking.label);
        }
    }
}

impl<H: Handlers> Drop for Monitor<H> {
    fn drop(&mut self) {
        if let Some(guest) = &self.guest {
            guest.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicU64);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_wake_up_while_the_slot_is_locked_is_repeated_later() {
        let watched = Arc::new(Watched::new(Box::pin(async {})));
        let mut home = Placeholder {
            watched: Arc::clone(&watched),
            activity: Arc::default(),
        };
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let taken = watched.slot.lock();
        assert!(Pin::new(&mut home).poll(&mut context).is_pending());
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        watched.unlock(taken);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(!watched.has_ended());
        assert!(Pin::new(&mut home).poll(&mut context).is_ready());
        assert!(watched.has_ended());
    }
}
