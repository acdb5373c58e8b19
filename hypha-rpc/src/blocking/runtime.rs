//! Runs the background runtime, and waits for futures on threads without a runtime.
//!
//! One runtime serves all blocking clients of the process. Each connection holds a reference to the
//! runtime until the task of the connection has ended. Each waiting thread also holds a reference,
//! because the timers in a future panic after their runtime has shut down. When the last reference
//! is dropped, the runtime shuts down. The next client then starts a new runtime.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::client::State;
use crate::error::Error;
use crate::service::Engine;

/// Number of threads for connections and asynchronous handlers. If a handler blocks one thread, the
/// other thread still runs the connections.
const WORKERS: usize = 2;

/// The running background runtime, if there is one.
static CURRENT: Mutex<Weak<Background>> = Mutex::new(Weak::new());

/// The background runtime. The runtime shuts down when this value is dropped.
struct Background {
    /// The runtime. `None` only during the drop.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Background {
    /// Returns the background runtime. Starts the runtime if it is not running.
    fn get() -> io::Result<Arc<Background>> {
        let mut current = CURRENT.lock();
        if let Some(background) = current.upgrade() {
            return Ok(background);
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("hypha-blocking")
            .enable_all()
            .build()?;
        let background = Arc::new(Background {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        });
        *current = Arc::downgrade(&background);
        Ok(background)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Do not wait for the threads of the runtime, because the current thread may be one of
            // them. Methods that still run continue to their end, but their results are not sent.
            runtime.shutdown_background();
        }
    }
}

/// Keeps the background runtime alive until the connection has ended.
///
/// Call this function in a future that [`wait`] polls, because `wait` keeps the runtime alive until
/// this function has taken its own reference.
pub(super) fn keep(engine: &Arc<Engine>) {
    let Some(background) = CURRENT.lock().upgrade() else {
        return;
    };
    // An `Engine` does not keep its connection open. So when the last client is dropped, the
    // connection closes and this task ends.
    let engine = Arc::clone(engine);
    let handle = background.handle.clone();
    handle.spawn(async move {
        // `wait_for` fails only if the sender is dropped, and `engine` owns the sender.
        let _ = engine
            .lifecycle
            .subscribe()
            .wait_for(State::is_closed)
            .await;
        engine.lifecycle.ended().await;
        drop(background);
    });
}

/// Waits for a future on this thread. Fails on a thread of a tokio runtime. The error names the
/// called function (`what`) and its asynchronous alternative (`instead`).
pub(super) fn wait<T, E>(
    what: &str,
    instead: &str,
    future: impl Future<Output = Result<T, Error<E>>>,
) -> Result<T, Error<E>> {
    run(what, instead, future).map_err(Error::Invalid)?
}

/// Waits like [`wait`] for a future that cannot fail.
pub(super) fn wait_for<T, E>(
    what: &str,
    instead: &str,
    future: impl Future<Output = T>,
) -> Result<T, Error<E>> {
    run(what, instead, future).map_err(Error::Invalid)
}

/// Waits like [`wait`] for a future whose error is an [`io::Error`].
pub(super) fn wait_io<T>(
    what: &str,
    instead: &str,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let invalid = |why| io::Error::other(Error::<Infallible>::Invalid(why));
    run(what, instead, future).map_err(invalid)?
}

/// Waits for a future. Returns an error message if this thread cannot wait.
fn run<F: Future>(what: &str, instead: &str, future: F) -> Result<F::Output, String> {
    if polls_for_a_runtime() {
        return Err(format!(
            "{what} would block a thread of a tokio runtime: use {instead} there, or run it in \
             `tokio::task::spawn_blocking`"
        ));
    }
    let background = Background::get()
        .map_err(|e| format!("{what}: the background runtime cannot be started: {e}"))?;
    // Keep this thread in the context of the runtime until `block_on` has dropped the future,
    // because the timers in the future need the runtime.
    let _entered = background.handle.enter();
    Ok(block_on(future))
}

/// Returns whether this thread polls a future for a tokio runtime. A wait on such a thread would
/// block the runtime, and could cause a deadlock.
///
/// Tokio has no function for this check. `Handle::try_current` is not sufficient: it also succeeds
/// in `spawn_blocking`, in `block_in_place` and after `Handle::enter`, where a thread may wait.
/// This function uses the budget of [`coop`](tokio::task::coop) instead. Only a future that a
/// runtime polls has a budget, which is less than 256 steps. The check consumes the whole budget,
/// so the future yields at its next await. A future in `tokio::task::unconstrained` has no budget.
/// So a wait in such a future is not detected, and blocks the thread.
fn polls_for_a_runtime() -> bool {
    if Handle::try_current().is_err() {
        return false;
    }
    let mut cx = Context::from_waker(Waker::noop());
    (0..=u8::MAX).any(|_| {
        let step = pin!(tokio::task::coop::consume_budget());
        step.poll(&mut cx).is_pending()
    })
}

/// Waker of the waiting thread.
struct Parked {
    thread: Thread,
    /// Whether the future was woken since the last poll. The token of `unpark` is not sufficient:
    /// the future may run code that parks this thread, and this code would consume the token.
    woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Polls a future on this thread until the future is ready. `Handle::block_on` is not used, because
/// it panics in the cases that [`polls_for_a_runtime`] does not detect.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let parked = Arc::new(Parked {
        thread: std::thread::current(),
        woken: AtomicBool::new(false),
    });
    let waker = Waker::from(Arc::clone(&parked));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        while !parked.woken.swap(false, Ordering::Acquire) {
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Returns the error of a wait on this thread, or `None` if waiting is allowed.
    fn refused() -> Option<String> {
        let refused = wait_for("f", "`g`", async {}).err();
        refused.map(|e: Error| e.to_string())
    }

    #[test]
    fn threads_that_poll_for_a_runtime_are_recognized() {
        assert_eq!(refused(), None);
        let many = Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let one = Builder::new_current_thread().build().unwrap();
        let expected = "f would block a thread of a tokio runtime: use `g` there, or run it in \
                        `tokio::task::spawn_blocking`";
        for runtime in [&many, &one] {
            let waits = runtime.block_on(async {
                let task = tokio::spawn(async {
                    let first = refused();
                    tokio::task::yield_now().await;
                    [first, refused()]
                });
                let blocking = tokio::task::spawn_blocking(refused);
                let task = task.await.unwrap();
                (refused(), task, blocking.await.unwrap())
            });
            let expected = Some(expected.to_owned());
            let task = [expected.clone(), expected.clone()];
            assert_eq!(waits, (expected, task, None));
            let _entered = runtime.enter();
            assert_eq!(refused(), None);
        }
        let task = async { tokio::task::block_in_place(refused) };
        assert_eq!(
            many.block_on(async { tokio::spawn(task).await.unwrap() }),
            None
        );
        // A program cannot wait on the threads of the background runtime either.
        let own: Result<_, Error> = wait_for("f", "`g`", async {
            tokio::spawn(async { refused() }).await.unwrap()
        });
        assert!(own.unwrap().is_some());
    }

    #[test]
    fn a_wait_within_a_wait_loses_no_wake_up() {
        let inner = async { tokio::time::sleep(Duration::from_millis(1)).await };
        let outer = async {
            let timer = tokio::time::sleep(Duration::from_millis(1));
            tokio::pin!(timer);
            let first = std::future::poll_fn(|cx| Poll::Ready(timer.as_mut().poll(cx))).await;
            assert!(first.is_pending());
            // The inner wait consumes the `unpark` token that belongs to the timer of the outer
            // wait.
            let waited: Result<(), Error> = wait_for("f", "`g`", inner);
            waited.unwrap();
            std::thread::park_timeout(Duration::from_millis(2));
            timer.await;
        };
        let waited: Result<(), Error> = wait_for("f", "`g`", outer);
        waited.unwrap();
    }

    #[test]
    fn a_panic_of_the_future_propagates() {
        let panics = || -> Result<(), Error> { wait_for("f", "`g`", async { panic!("asked to") }) };
        let panic = std::panic::catch_unwind(panics).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"asked to"));
        assert_eq!(refused(), None);
    }
}
