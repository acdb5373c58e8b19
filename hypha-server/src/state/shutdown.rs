//! Coordinates the shutdown of a server: signals the shutdown, tracks the open connections, and
//! aborts tasks.
//!
//! The shutdown has three steps. [`Shutdown::stop`] signals the shutdown. The connections then
//! close and drop their tokens from [`Shutdown::alive`]. Finally, [`Shutdown::end_tasks`] aborts
//! the remaining tasks.

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Signals tasks to stop, and holds the tasks that must not outlive the server.
pub(crate) struct Shutdown {
    stopping: watch::Sender<bool>,
    /// Tasks that must not outlive the server. `None` after the server has stopped, when no more
    /// tasks may be spawned.
    tasks: Mutex<Option<JoinSet<()>>>,
    /// Each connection holds a sender of this channel. `server::run` drops its own sender and then
    /// waits until the channel closes.
    alive: mpsc::WeakSender<()>,
}

impl Shutdown {
    /// Creates the signal. Connections upgrade `alive` to make the server wait for them.
    pub(crate) fn new(alive: mpsc::WeakSender<()>) -> Shutdown {
        Shutdown {
            stopping: watch::Sender::new(false),
            tasks: Mutex::new(Some(JoinSet::new())),
            alive,
        }
    }

    /// Spawns a task that is aborted if it still runs when the server stops. Does nothing if the
    /// server has already stopped.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = &mut *self.tasks.lock() {
            // Finished tasks are removed here, because a `JoinSet` keeps their results until they
            // are taken.
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }

    /// Aborts the remaining tasks, and waits until they have ended.
    pub(crate) async fn end_tasks(&self) {
        // The tasks are taken out first, so that the lock is not held across the await.
        let tasks = self.tasks.lock().take();
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
    }

    /// Signals the server to stop. Does not wait.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Returns whether the server was signaled to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Waits until the server is signaled to stop. The future does not borrow the state.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.stopping.subscribe();
        async move {
            // The result is ignored. An error means that the state was dropped, so the server has
            // stopped.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        }
    }

    /// Returns a token for a task that serves a connection. The shutdown waits, for a grace period,
    /// until all tokens are dropped. Returns `None` once the server accepts no more connections.
    pub(crate) fn alive(&self) -> Option<mpsc::Sender<()>> {
        self.alive.upgrade()
    }
}
