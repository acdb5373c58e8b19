//! The tasks of a connection, which end with it: handlers, and those that read streams.

use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::Lifecycle;

/// The tasks that run.
#[derive(Default)]
pub(crate) struct Tasks(Mutex<JoinSet<()>>);

impl Tasks {
    /// Runs a task until it ends or the connection does.
    pub(super) fn spawn(
        &self,
        lifecycle: &Lifecycle,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut running = self.0.lock();
        reap(&mut running);
        // With the lock held: the end is marked first, and ends the tasks with the lock then.
        if !lifecycle.is_closed() {
            running.spawn(task);
        }
    }

    /// Frees the tasks that have ended.
    pub(super) fn tidy(&self) {
        reap(&mut self.0.lock());
    }

    pub(super) fn abort_all(&self) {
        self.0.lock().abort_all();
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
