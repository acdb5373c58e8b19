//! The background runtime, and the wait for a future on a thread without a runtime.
//!
//! One runtime serves all blocking clients of the process. It is shared by everything that needs
//! it: each connection holds it until its task has ended, and each wait while it lasts, because the
//! timers of a future panic on a runtime that has shut down. The last holder ends it, and the next
//! one starts another.

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

/// Threads for connections and asynchronous handlers: one is left for the connections if a handler
/// blocks the other.
const WORKERS: usize = 2;

/// The running background runtime, if there is one.
static CURRENT: Mutex<Weak<Background>> = Mutex::new(Weak::new());

/// The background runtime. It shuts down when this is dropped.
struct Background {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Background {
    /// Returns the running background runtime, or starts it.
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
            // Does not wait for its threads, because this may be one of them. Methods that still
            // run end by themselves, and their results are lost.
            runtime.shutdown_background();
        }
    }
}

/// Keeps the background runtime for a connection that runs on it, until the connection has ended.
///
/// Runs inside of [`wait`], which holds the runtime.
pub(super) fn keep(engine: &Arc<Engine>) {
    let Some(background) = CURRENT.lock().upgrade() else {
        return;
    };
    // The engine does not keep its connection open, so the task ends with the last client.
    let engine = Arc::clone(engine);
    let handle = background.handle.clone();
    handle.spawn(async move {
        // The error means that the sender was dropped, and the engine owns it.
        let _ = engine
            .lifecycle
            .subscribe()
            .wait_for(State::is_closed)
            .await;
        engine.lifecycle.ended().await;
        drop(background);
    });
}

/// Waits for a future on this thread. `what` names the function that waits, and `instead` its
/// asynchronous counterpart, for the error on a thread of a runtime.
pub(super) fn wait<T, E>(
    what: &str,
    instead: &str,
    future: impl Future<Output = Result<T, Error<E>>>,
) -> Result<T, Error<E>> {
    run(what, instead, future).map_err(Error::Invalid)?
}

/// The same for a future without errors.
pub(super) fn wait_for<T, E>(
    what: &str,
    instead: &str,
    future: impl Future<Output = T>,
) -> Result<T, Error<E>> {
    run(what, instead, future).map_err(Error::Invalid)
}

/// The same for a future with errors of I/O.
pub(super) fn wait_io<T>(
    what: &str,
    instead: &str,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let invalid = |why| io::Error::other(Error::<Infallible>::Invalid(why));
    run(what, instead, future).map_err(invalid)?
}

/// Waits for a future, or returns the reason why that is not possible.
fn run<F: Future>(what: &str, instead: &str, future: F) -> Result<F::Output, String> {
    if polls_for_a_runtime() {
        return Err(format!(
            "{what} would block a thread of a tokio runtime: use {instead} there, or run it in \
             `tokio::task::spawn_blocking`"
        ));
    }
    let background = Background::get()
        .map_err(|e| format!("{what}: the background runtime cannot be started: {e}"))?;
    // The future is dropped first, within the runtime.
    let _entered = background.handle.enter();
    Ok(block_on(future))
}

/// Returns whether this thread polls a future for a tokio runtime, so that waiting would block the
/// runtime, or wait for itself.
///
/// Tokio has no question for that. `Handle::try_current` also succeeds where waiting is right: in
/// `spawn_blocking`, in `block_in_place`, and after `Handle::enter`. The budget of
/// [`coop`](tokio::task::coop) tells them apart: only a future that a runtime polls has one, of
/// less than 256 steps. Using it up makes the future yield at its next await, and nothing else. In
/// `tokio::task::unconstrained`, which has no budget either, the wait blocks the thread.
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

/// Wakes the thread that waits.
struct Parked {
    thread: Thread,
    /// Whether the future was woken since its last poll. The token of `unpark` alone is not enough,
    /// because the future may run code that parks this thread as well and takes the token.
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

/// Polls a future on this thread until it is ready. `Handle::block_on` would do the same, but it
/// panics where [`polls_for_a_runtime`] does not recognize a runtime.
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

    /// Returns the error of a wait on this thread, if it is refused.
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
        // The background runtime is one like any other.
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
            // Takes the token of the outer timer.
            let waited: Result<(), Error> = wait_for("f", "`g`", inner);
            waited.unwrap();
            std::thread::park_timeout(Duration::from_millis(2));
            timer.await;
        };
        let waited: Result<(), Error> = wait_for("f", "`g`", outer);
        waited.unwrap();
    }

    #[test]
    fn a_panic_of_the_future_goes_on() {
        let panics = || -> Result<(), Error> { wait_for("f", "`g`", async { panic!("asked to") }) };
        let panic = std::panic::catch_unwind(panics).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"asked to"));
        assert_eq!(refused(), None);
    }
}
