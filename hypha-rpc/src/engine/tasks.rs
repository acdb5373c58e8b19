//! Runs the tasks of a connection. These tasks run handlers and read streams. All tasks are aborted
//! when the connection closes.

use std::sync::OnceLock;

use parking_lot::Mutex;

use super::Lifecycle;
use crate::runtime::{Runtime, TaskSet};

/// The running tasks.
#[derive(Default)]
pub(crate) struct Tasks {
    running: Mutex<TaskSet>,
    /// Runtime of the program. Handlers run on this runtime. The driver may run on the watchdog's
    /// thread when it starts a handler, and the handler must not run on that thread. Until this
    /// runtime is set, tasks start on the runtime of the caller.
    runtime: OnceLock<Runtime>,
}

impl Tasks {
    /// Sets the runtime on which tasks run. Only the first call has an effect.
    pub(super) fn set_runtime(&self, runtime: Runtime) {
        // An error means that the runtime is already set.
        let _ = self.runtime.set(runtime);
    }

    /// Returns the runtime on which the tasks run, or `None` if it is not set.
    pub(crate) fn runtime(&self) -> Option<&Runtime> {
        self.runtime.get()
    }

    /// Starts a task. The task is aborted when the connection closes.
    pub(super) fn spawn(
        &self,
        lifecycle: &Lifecycle,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut running = self.running.lock();
        running.reap();
        // Check whether the connection is closed while holding the lock. The connection is marked
        // as closed before `abort_all` takes the lock. So either this function does not start the
        // task, or `abort_all` aborts the task.
        if !lifecycle.is_closed() {
            running.spawn(self.runtime.get(), task);
        }
    }

    /// Frees ended tasks.
    pub(super) fn tidy(&self) {
        self.running.lock().reap();
    }

    /// Aborts all tasks. The runtime drops the futures of the tasks later.
    pub(super) fn abort_all(&self) {
        self.running.lock().abort_all();
    }
}
