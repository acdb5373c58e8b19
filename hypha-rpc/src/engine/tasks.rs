//! The tasks of a connection, which end with it: handlers, and those that read streams.

use std::sync::OnceLock;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::Lifecycle;

/// The tasks that run.
#[derive(Default)]
pub(crate) struct Tasks {
    running: Mutex<JoinSet<()>>,
    /// The runtime of the program; that of the caller of `spawn` until it is known. The watchdog
    /// spawns as well.
    runtime: OnceLock<Handle>,
}

impl Tasks {
    /// Sets the runtime on which the tasks run.
    pub(super) fn set_runtime(&self, runtime: Handle) {
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
        // With the lock held: the end is marked first, and ends the tasks with the lock then.
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

    pub(super) fn abort_all(&self) {
        self.running.lock().abort_all();
    }
}

fn reap(running: &mut JoinSet<()>) {
    while let Some(ended) = running.try_join_next() {
        if let Err(e) = ended {
            if e.is_panic() {
                tracing::error!("a task of the connection panicked: {e}");
            }
        }
    }
}
