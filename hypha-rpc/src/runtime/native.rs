//! Runs tasks and timers on tokio.

pub(crate) use super::tracker::RuntimeTracker;
pub(crate) use tokio::runtime::Handle as Runtime;
use tokio::task::JoinSet;
pub(crate) use tokio::task::{spawn, spawn_blocking};
pub(crate) use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

/// Converts an instant of tokio's clock to an instant of the standard library. Tests can pause
/// tokio's clock.
pub(crate) fn into_std(instant: Instant) -> std::time::Instant {
    instant.into_std()
}

/// Tasks that can be aborted together.
#[derive(Debug, Default)]
pub(crate) struct TaskSet(JoinSet<()>);

impl TaskSet {
    /// Starts a task on the given runtime, or on the current runtime.
    pub(crate) fn spawn(
        &mut self,
        runtime: Option<&Runtime>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        match runtime {
            Some(runtime) => self.0.spawn_on(task, runtime),
            None => self.0.spawn(task),
        };
    }

    /// Frees ended tasks and logs their panics. Nothing joins the tasks, so a panic would otherwise
    /// go unnoticed.
    pub(crate) fn reap(&mut self) {
        while let Some(ended) = self.0.try_join_next() {
            if let Err(e) = ended {
                if e.is_panic() {
                    tracing::error!("a task of the connection panicked: {e}");
                }
            }
        }
    }

    /// Aborts all tasks. The futures are dropped on the runtime of the tasks, not by this function.
    pub(crate) fn abort_all(&mut self) {
        self.0.abort_all();
    }
}
