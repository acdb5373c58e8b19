//! Table of the incoming calls whose handlers are running. The client uses the table to cancel a
//! call when its caller stops waiting. The watchdog uses the table to check the progress of
//! handlers.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};

use parking_lot::Mutex;

use super::answer::AnswerTo;
use super::context::WeakContext;
use super::{Context, Engine};
use crate::engine::Progress;

/// Maximum number of cancellations that wait for their calls. With more, the oldest is forgotten.
const MAX_EARLY: usize = 64;
/// Maximum length of the session of a cancellation that waits for its call, in bytes. Clients send
/// about 22 bytes.
const MAX_SESSION: usize = 64;

/// The table of running calls.
#[derive(Default)]
pub(crate) struct Calls {
    next: AtomicU64,
    running: Mutex<HashMap<u64, Arc<RunningCall>>>,
    /// Contexts of handlers that have ended. A stream in the result, or a task that the handler
    /// started, may still hold the context.
    ended: Mutex<Vec<WeakContext>>,
    /// Callers and sessions of cancellations for which no call was running. Over HTTP, a
    /// cancellation may overtake its call, and the task of a call may start late. Most entries
    /// belong to calls that have ended. Lock order: the lock of `running` comes before this lock.
    early: Mutex<VecDeque<(String, String)>>,
}

/// A call whose handler is running. The call's task, the table and the watchdog share this value.
pub(crate) struct RunningCall {
    context: Context,
    pub(super) answer_to: Option<Arc<AnswerTo>>,
    pub(super) progress: Progress,
}

impl AsRef<Progress> for RunningCall {
    fn as_ref(&self) -> &Progress {
        &self.progress
    }
}

/// Guard of a call in the table. Dropping the guard removes the call from the table, also when the
/// call's task is aborted.
pub(crate) struct Running<'a> {
    calls: &'a Calls,
    id: u64,
    pub(super) call: Arc<RunningCall>,
}

impl Calls {
    /// Adds a call. `now` is the current time on the connection's clock, in milliseconds.
    pub(super) fn begin(
        &self,
        context: Context,
        label: &str,
        answer_to: Option<Arc<AnswerTo>>,
        now: u64,
    ) -> Running<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let beat = answer_to.as_ref().and_then(|a| a.heartbeat.as_ref());
        let interval = beat.map(|(_, interval)| *interval);
        let call = Arc::new(RunningCall {
            context,
            answer_to,
            progress: Progress::new(id, label.to_owned(), interval, now),
        });
        let mut running = self.running.lock();
        running.insert(id, Arc::clone(&call));
        let is_cancelled = self.take_early(&call.context);
        drop(running);
        if is_cancelled {
            call.context.cancel();
        }
        Running {
            calls: self,
            id,
            call,
        }
    }

    /// Returns the running calls.
    #[cfg_attr(target_family = "wasm", allow(dead_code, reason = "for the watchdog"))]
    pub(super) fn running(&self) -> Vec<Arc<RunningCall>> {
        self.running.lock().values().cloned().collect()
    }

    /// Keeps a context, whose handler has ended, as long as another part of the program holds it.
    /// `clones` is the number of clones that the caller will drop.
    pub(super) fn keep(&self, context: &Context, clones: usize) {
        if !context.has_more_than(clones) {
            return;
        }
        let mut ended = self.ended.lock();
        if ended.len() == ended.capacity() {
            // The list then has twice the room for the contexts that remain, so that this takes a
            // constant time per call.
            ended.retain(WeakContext::is_held);
            let room = ended.len().max(4);
            ended.reserve(room);
        }
        ended.push(context.downgrade());
    }

    /// Returns whether the call with this context was cancelled before it was in the table.
    fn take_early(&self, context: &Context) -> bool {
        let mut early = self.early.lock();
        let Some(session) = context.session().filter(|_| !early.is_empty()) else {
            return false;
        };
        let is_meant =
            |(by, cancelled): &(String, String)| cancelled == session && by == context.peer();
        let position = early.iter().position(is_meant);
        position
            .and_then(|position| early.remove(position))
            .is_some()
    }

    /// Cancels the call that `caller` has sent in its session `session`. If no such call is
    /// running, cancels the call when it begins.
    pub(super) fn cancel_session(&self, caller: &str, session: &str) {
        let running = self.running.lock();
        let contexts = running.values().map(|call| &call.context);
        let told = contexts.filter(|c| c.session() == Some(session) && c.peer() == caller);
        let told: Vec<Context> = told.cloned().collect();
        if told.is_empty() && session.len() <= MAX_SESSION {
            let mut early = self.early.lock();
            early.truncate(MAX_EARLY - 1);
            early.push_front((caller.to_owned(), session.to_owned()));
        }
        drop(running);
        for context in told {
            context.cancel();
        }
    }

    /// Cancels the calls of a peer that has disconnected.
    pub(super) fn peer_gone(&self, peer: &str) {
        self.early.lock().retain(|(by, _)| by != peer);
        self.cancel(|call| call.peer() == peer);
    }

    /// Cancels the contexts of the calls that `which` selects. The handlers and streams of these
    /// calls decide whether they stop.
    pub(crate) fn cancel(&self, which: impl Fn(&Context) -> bool) {
        let running = self.running.lock();
        let contexts = running.values().map(|call| call.context.clone());
        let mut told: Vec<Context> = contexts.filter(|c| which(c)).collect();
        drop(running);
        let ended: Vec<Context> = {
            let ended = self.ended.lock();
            ended.iter().filter_map(WeakContext::upgrade).collect()
        };
        told.extend(ended.into_iter().filter(|c| which(c)));
        // Cancel the contexts after the lock is released. Cancelling a context wakes tasks, and a
        // waker may run any code.
        for context in told {
            context.cancel();
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // The lock is released at the end of this statement, before the next statement drops the
        // call.
        let call = self.calls.running.lock().remove(&self.id);
        drop(call);
    }
}

thread_local! {
    /// Memory address of the engine that owns the handler running on this thread. 0 if this thread
    /// runs no handler.
    static WITHIN: Cell<usize> = const { Cell::new(0) };
}

/// Wraps a handler, so that [`is_within_handler`] returns true for code that the handler calls. A
/// handler that disconnects its own client must not wait until that handler ends.
pub(super) struct Within<F> {
    connection: usize,
    handler: F,
}

impl<F> Within<F> {
    pub(super) fn new(engine: &Engine, handler: F) -> Self {
        Within {
            connection: address(engine),
            handler,
        }
    }
}

impl<F: Future + Unpin> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<F::Output> {
        let outer = WITHIN.replace(self.connection);
        // A panic of the handler cannot skip the line that restores `outer`. The handler is wrapped
        // in `catch_unwind`, so a panic is part of its output.
        let polled = Pin::new(&mut self.handler).poll(cx);
        WITHIN.set(outer);
        polled
    }
}

/// The handler that a thread is polling. This value is passed to another thread that runs a part of
/// the handler.
pub(super) struct WithinHandler(usize);

/// Returns the handler that this thread is polling.
pub(super) fn within() -> WithinHandler {
    WithinHandler(WITHIN.get())
}

impl WithinHandler {
    /// Runs `run` on this thread as a part of the handler.
    pub(super) fn run<T>(self, run: impl FnOnce() -> T) -> T {
        /// Restores the former value of `WITHIN` when dropped, so also after a panic. The runtime
        /// reuses its threads for blocking work.
        struct Restore(usize);

        impl Drop for Restore {
            fn drop(&mut self) {
                WITHIN.set(self.0);
            }
        }

        let _restore = Restore(WITHIN.replace(self.0));
        run()
    }
}

/// Returns whether this thread is polling a handler of this connection.
pub(crate) fn is_within_handler(engine: &Engine) -> bool {
    WITHIN.get() == address(engine)
}

fn address(engine: &Engine) -> usize {
    std::ptr::from_ref(engine).addr()
}
