//! The tasks of a connection: handlers, and tasks that read streams. They are aborted when the
//! connection closes.

use std::sync::OnceLock;

use parking_lot::Mutex;

use super::Lifecycle;
use crate::runtime::{Runtime, TaskSet};

/// The running tasks.
#[derive(Default)]
pub(crate) struct Tasks {
    running: Mutex<TaskSet>,
    /// Runtime of the program, on which handlers run. The driver may be on the watchdog's thread
    /// when it starts a handler, and a handler must not run there. Until the runtime is set, tasks
    /// start on the caller's runtime.
    runtime: OnceLock<Runtime>,
}

impl Tasks {
    /// Sets the runtime on which tasks run. Only the first call has an effect.
    pub(super) fn set_runtime(&self, runtime: Runtime) {
        // An error means that the runtime was set before.
        let _ = self.runtime.set(runtime);
    }

    /// Returns the runtime on which the tasks run, or `None` if it is not set.
    pub(crate) fn runtime(&self) -> Option<&Runtime> {
        self.runtime.get()
    }

    /// Starts a task. It is aborted when the connection closes.
    pub(super) fn spawn(
        &self,
        lifecycle: &Lifecycle,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut running = self.running.lock();
        running.reap();
        // Check while holding the lock. The connection is marked as closed before `abort_all` takes
        // the lock, so a task is either not started here or aborted there.
        if !lifecycle.is_closed() {
            running.spawn(self.runtime.get(), task);
        }
    }

    /// Frees ended tasks.
    pub(super) fn tidy(&self) {
        self.running.lock().reap();
    }

    /// Aborts all tasks. The futures are dropped on the runtime of the tasks, not by this function.
    pub(super) fn abort_all(&self) {
        self.running.lock().abort_all();
    }
}
