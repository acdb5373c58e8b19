//! Runs tasks and timers on the JavaScript event loop.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::{AbortHandle, Abortable, select};
use gloo_timers::future::TimeoutFuture;
use tokio::sync::oneshot;
use wasm_bindgen_futures::spawn_local;
pub(crate) use web_time::Instant;

/// The event loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runtime;

impl Runtime {
    pub(crate) fn current() -> Self {
        Runtime
    }

    /// Returns the event loop, which always exists.
    pub(crate) fn try_current() -> Result<Self, Infallible> {
        Ok(Runtime)
    }

    /// Starts a task. The returned receiver resolves to the output of the task.
    #[allow(clippy::unused_self, reason = "as with two runtimes")]
    pub(crate) fn spawn<T: 'static>(
        self,
        task: impl Future<Output = T> + 'static,
    ) -> oneshot::Receiver<T> {
        spawn(task)
    }
}

/// Starts a task. The returned receiver resolves to the output of the task.
pub(crate) fn spawn<T: 'static>(task: impl Future<Output = T> + 'static) -> oneshot::Receiver<T> {
    let (done, result) = oneshot::channel();
    spawn_local(async move {
        // `send` fails if the receiver has been dropped. The output is then not needed.
        let _ = done.send(task.await);
    });
    result
}

/// Runs `run` immediately, because there is no other thread.
#[allow(
    clippy::unused_async,
    reason = "it waits for a thread on other systems"
)]
pub(crate) async fn spawn_blocking<T>(run: impl FnOnce() -> T) -> Result<T, NotRun> {
    Ok(run())
}

/// Error of a blocking task that did not run. This error cannot occur in a browser.
#[derive(Debug)]
pub(crate) enum NotRun {}

impl NotRun {
    pub(crate) fn try_into_panic(self) -> Result<Box<dyn std::any::Any + Send>, Self> {
        Err(self)
    }
}

pub(crate) fn into_std(instant: Instant) -> Instant {
    instant
}

/// Has no effect, because a browser has only one runtime. The native tracker detects that a task
/// has moved to another runtime.
#[derive(Debug)]
pub(crate) struct RuntimeTracker;

impl RuntimeTracker {
    pub(crate) fn new() -> Self {
        RuntimeTracker
    }

    #[allow(clippy::unused_self, reason = "as with two runtimes")]
    pub(crate) fn has_changed(&mut self) -> bool {
        false
    }
}

/// Tasks that can be aborted together.
#[derive(Debug, Default)]
pub(crate) struct TaskSet(Vec<AbortHandle>);

impl TaskSet {
    pub(crate) fn spawn(&mut self, _: Option<&Runtime>, task: impl Future<Output = ()> + 'static) {
        let (abort, registration) = AbortHandle::new_pair();
        self.0.push(abort.clone());
        spawn_local(async move {
            // The result is an error if the task was aborted.
            let _ = Abortable::new(task, registration).await;
            // `reap` removes a task only if its handle is aborted, so abort the handle of an ended
            // task too.
            abort.abort();
        });
    }

    /// Frees ended tasks.
    pub(crate) fn reap(&mut self) {
        self.0.retain(|task| !task.is_aborted());
    }

    pub(crate) fn abort_all(&mut self) {
        for task in self.0.drain(..) {
            task.abort();
        }
    }
}

/// Error of [`timeout`]: the time limit was reached.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// Waits until the future completes, or fails after the time `limit`.
pub(crate) async fn timeout<F: IntoFuture>(
    limit: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    let future = pin!(future.into_future());
    let mut limit = sleep(limit);
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = &mut limit => Err(Elapsed),
    }
}

pub(crate) fn sleep(pause: Duration) -> Sleep {
    // Sleep for at most a century, because a later time could overflow `Instant`.
    let far = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    sleep_until(Instant::now() + pause.min(far))
}

pub(crate) fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline,
        timer: None,
    }
}

/// Timer that elapses at a deadline. The JavaScript timer runs in a separate local task, because a
/// JavaScript value is not `Send`.
#[derive(Debug)]
pub(crate) struct Sleep {
    deadline: Instant,
    timer: Option<oneshot::Receiver<()>>,
}

impl Sleep {
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        self.deadline = deadline;
        self.timer = None;
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let pause = self.deadline.saturating_duration_since(Instant::now());
            if pause.is_zero() {
                self.timer = None;
                return Poll::Ready(());
            }
            let timer = self.timer.get_or_insert_with(|| start(pause));
            let _ = ready!(Pin::new(timer).poll(cx));
            // Check the deadline again. A JavaScript timer may fire early, and its duration is
            // limited.
            self.timer = None;
        }
    }
}

/// Starts a JavaScript timer. Dropping the receiver stops the timer.
fn start(pause: Duration) -> oneshot::Receiver<()> {
    // `setTimeout` takes its delay as a signed 32-bit number.
    let millis = pause.as_micros().div_ceil(1000).min(i32::MAX as u128) as u32;
    let (mut done, timer) = oneshot::channel();
    spawn_local(async move {
        select(TimeoutFuture::new(millis), pin!(done.closed())).await;
        let _ = done.send(());
    });
    timer
}
