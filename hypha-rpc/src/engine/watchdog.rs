//! Keeps connections alive while the runtime of the program is blocked. A separate thread, the
//! watchdog, watches the runtime.
//!
//! If a handler blocks, for example with `std::thread::sleep`, it blocks a worker thread of the
//! runtime. The tasks in the LIFO slot of that worker are blocked as well. If all workers are
//! blocked, the runtime stops. So the task of a connection can run in two places:
//!
//! * By default, the task runs in the program's runtime. If the task always ran on another thread,
//!   each message would have to change threads twice.
//! * The task can also run on the watchdog's thread. The watchdog takes over the task if the
//!   runtime was woken but has not run the task for [`Settings::stall_timeout`]. When the runtime
//!   runs again, the watchdog gives the task back.
//!
//! Each connection has a monitor on the watchdog's thread. While handlers run, the monitor checks
//! the handlers twice per stall timeout, sends overdue heartbeats, and reports methods that block.
//! While no handlers run, the monitor sleeps.
//!
//! The watchdog does not watch a runtime with a paused clock, as in tests, because the watchdog's
//! thread does not use the paused clock.
//!
//! WebSockets and in-memory links move to the watchdog's thread together with the task. An HTTP
//! link does not move, because tasks in the program's runtime perform its requests. So an HTTP link
//! waits while the runtime is blocked.
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

/// Time without a running handler after which the monitor sleeps. If the monitor slept immediately,
/// many short calls would wake it again and again. This would cost more than the checks.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// Wakes the monitor of a connection when a call arrives.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Whether the monitor sleeps. If it sleeps, a call must wake it.
    sleeps: AtomicBool,
    wake: Notify,
}

impl Activity {
    /// Wakes the monitor because a call has arrived.
    pub(super) fn begin(&self) {
        // The call has already been counted. `Monitor::sleep` sets `sleeps` before it reads the
        // count. The count uses relaxed ordering, so both functions need a fence. With the fences,
        // at least one of the functions sees the value that the other function has written. The
        // load before the swap avoids a write to a shared cache line for each call.
        fence(Ordering::SeqCst);
        if self.sleeps.load(Ordering::SeqCst) && self.sleeps.swap(false, Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }
}

/// Task of a connection, and the state that the program's runtime and the watchdog share.
///
/// The runtime and the watchdog both use `try_lock` on the slot. They never wait while the other
/// side polls the task, because such a wait would block a second thread.
struct Watched {
    slot: Mutex<Slot>,
    /// Whether the task has ended.
    ended: AtomicBool,
    /// Whether the program's runtime must be woken when the slot is unlocked. This flag is set when
    /// the program's runtime finds the slot locked, when the task is moved, and when the task ends.
    missed: AtomicBool,
    /// Wakes the placeholder of the task in the program's runtime.
    home: AtomicWaker,
    /// Number of the latest probe that the watchdog sent to the program's runtime.
    last_probe: AtomicU64,
    /// Number of the latest probe to which the runtime replied. If this number differs from
    /// `last_probe`, the runtime has not run the task since the latest probe.
    last_reply: AtomicU64,
    /// Whether the clock of the program's runtime was paused at a reply.
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

    /// Polls the task if the task currently belongs to the caller of this function. The caller is
    /// the watchdog if `away` is true, and the program's runtime otherwise. Returns `Ready` when
    /// the task has ended.
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
            // Wake the program's runtime once more, so that the `Placeholder` in that runtime ends.
            self.missed.store(true, Ordering::SeqCst);
        }
        self.unlock(slot);
        polled
    }

    /// Locks the slot. Returns `None` if the other side is polling or moving the task. If the
    /// program's runtime gets `None`, the other side wakes the runtime when it unlocks the slot.
    /// The watchdog needs no wake-up, because its monitor checks again.
    fn lock(&self, away: bool) -> Option<MutexGuard<'_, Slot>> {
        self.slot.try_lock().or_else(|| {
            if away {
                return None;
            }
            self.missed.store(true, Ordering::SeqCst);
            // Try to lock again, because the other side may have unlocked the slot just before
            // `missed` was set.
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

    /// Moves the task to the watchdog if `away` is true, and to the program's runtime otherwise.
    /// Returns `false` if the task is being polled.
    fn relocate(&self, away: bool) -> bool {
        let Some(mut slot) = self.slot.try_lock() else {
            return false;
        };
        slot.away = away;
        // Call `set_moved` while the slot is locked, so that sockets and timers notice the move in
        // their next poll.
        set_moved();
        self.missed.store(true, Ordering::SeqCst);
        self.unlock(slot);
        true
    }

    /// Sends a probe to the program's runtime. The probe wakes the task in that runtime.
    fn send_probe(&self) {
        self.last_probe.fetch_add(1, Ordering::AcqRel);
        self.home.wake();
    }

    /// Replies to the latest probe of the watchdog. Called in the program's runtime.
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

    /// Ends the task. Drops the task after the slot is unlocked, because the destructors in the
    /// task close the connection.
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

/// Future that represents the task in the program's runtime. It replies to probes. It polls the
/// task unless the watchdog currently runs the task.
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
    /// Ends the task when the runtime shuts down, because a connection must not outlive its
    /// runtime.
    fn drop(&mut self) {
        self.watched.end();
        // Wake the monitor, so that the monitor also ends.
        self.activity.begin();
    }
}

/// Returns whether the clock of the current runtime is paused, for example by a test. Tokio has no
/// function for this check. A paused clock differs from the clock of the system.
fn has_paused_clock() -> bool {
    let before = std::time::Instant::now();
    let clock = Instant::now().into_std();
    clock < before || clock > std::time::Instant::now()
}

/// Runs the task of a connection on the current runtime. If the settings enable the watchdog, also
/// starts a monitor for the connection.
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

/// Returns the runtime of the watchdog. Returns `None` if the thread of the watchdog cannot be
/// started. One thread serves all connections. The thread starts when it is first needed, and runs
/// until the program ends.
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

/// A poll of a handler that had not returned at the last check.
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
    /// Handlers that were being polled at the last check. The key is the number of the call.
    seen: HashMap<u64, Blocking>,
    /// Task on this thread that polls the connection. `None` while the program's runtime runs the
    /// connection.
    guest: Option<JoinHandle<()>>,
}

impl<H: Handlers> Monitor<H> {
    /// Runs until the connection is closed.
    async fn run(mut self) {
        let mut received = 0;
        while self.sleep(received).await {
            let mut last = Instant::now();
            // Start at 0. Probes that were sent before the monitor slept do not show whether the
            // runtime is blocked now.
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
                    // The guest task only ends if the task of the connection has panicked. The
                    // panic has closed the connection.
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
        // Check the count after setting `sleeps`. Calls that arrived before `sleeps` was set did
        // not wake this task. The same applies if the connection was closed before.
        if self.received() == received && !self.watched.has_ended() {
            self.activity.wake.notified().await;
        }
        self.activity.sleeps.store(false, Ordering::SeqCst);
        !self.watched.has_ended()
    }

    /// Moves the task of the connection to this thread. If the task is being polled, the monitor
    /// tries again at the next check.
    fn take_over(&mut self, engine: &Engine<H>) {
        if self.watched.relocate(true) {
            count(&engine.counters.stalls);
            tracing::debug!("the runtime is blocked; the connection moves to another thread");
            let watched = Arc::clone(&self.watched);
            let guest = std::future::poll_fn(move |cx| watched.poll(true, cx));
            self.guest = Some(tokio::spawn(guest));
        }
    }

    /// Moves the task of the connection back to the program's runtime.
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
        // The polls that remain in `before` have returned since the last check.
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
