//! The end of a server: the signal to stop, and the tasks that end with it.

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Tells tasks to stop, and holds those that are aborted at the latest when the server has stopped.
pub(crate) struct Shutdown {
    stopping: watch::Sender<bool>,
    /// `None` once the server has ended: nothing is spawned any more.
    tasks: Mutex<Option<JoinSet<()>>>,
    /// Each connection holds a sender; the receiver learns when the last one is gone.
    alive: mpsc::WeakSender<()>,
}

impl Shutdown {
    /// Creates the signal. `alive` is upgraded by each connection that the server waits for.
    pub(crate) fn new(alive: mpsc::WeakSender<()>) -> Shutdown {
        Shutdown {
            stopping: watch::Sender::new(false),
            tasks: Mutex::new(Some(JoinSet::new())),
            alive,
        }
    }

    /// Spawns a task that ends with the server at the latest.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = &mut *self.tasks.lock() {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }

    /// Aborts the tasks that are left, and waits for their end.
    pub(crate) async fn end_tasks(&self) {
        let tasks = self.tasks.lock().take();
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
    }

    /// Asks the server to stop.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Returns whether the server was asked to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Waits until the server is asked to stop.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.stopping.subscribe();
        async move {
            // An error means that the state is gone, which is as good.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        }
    }

    /// Returns a token to hold in a task that the end of the server waits for. `None` if the server
    /// has stopped accepting connections.
    pub(crate) fn alive(&self) -> Option<mpsc::Sender<()>> {
        self.alive.upgrade()
    }
}
