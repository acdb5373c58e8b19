//! The tasks of a connection, which end with it: handlers, and those that read streams.

use std::sync::OnceLock;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::Lifecycle;

/// The running tasks.
#[derive(Default)]
pub(crate) struct Tasks {
    running: Mutex<JoinSet<()>>,
    /// The runtime of the program. It is named, because the driver may run on the thread of the
    /// watchdog when it starts a handler, and a handler must not run there. Until it is known,
    /// tasks start on the runtime of the caller.
    runtime: OnceLock<Handle>,
}

impl Tasks {
    /// Sets the runtime on which the tasks run. Only the first call has an effect.
    pub(super) fn set_runtime(&self, runtime: Handle) {
        // An error means that it is set already.
        let _ = self.runtime.set(runtime);
    }

    /// Returns the runtime on which the tasks run, once it is known.
    pub(crate) fn runtime(&self) -> Option<&Handle> {
        self.runtime.get()
    }

    /// Runs a task until it ends or the connection does.
    pub(super) fn spawn(
        &self,
        lifecycle: &Lifecycle,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut running = self.running.lock();
        reap(&mut running);
        // Checked with the lock held. The end is marked before `abort_all` takes the lock, so a
        // task is either refused here or aborted there.
        if !lifecycle.is_closed() {
            match self.runtime.get() {
                Some(runtime) => running.spawn_on(task, runtime),
                None => running.spawn(task),
            };
        }
    }

    /// Frees the tasks that have ended.
    pub(super) fn tidy(&self) {
        reap(&mut self.running.lock());
    }

    /// Aborts all tasks. Their futures are dropped on the runtime, not here.
    pub(super) fn abort_all(&self) {
        self.running.lock().abort_all();
    }
}

/// Removes the tasks that have ended, and logs panics: no caller joins the tasks, so that a panic
/// would otherwise go unnoticed.
fn reap(running: &mut JoinSet<()>) {
    while let Some(ended) = running.try_join_next() {
        if let Err(e) = ended {
            if e.is_panic() {
                tracing::error!("a task of the connection panicked: {e}");
            }
        }
    }
}
