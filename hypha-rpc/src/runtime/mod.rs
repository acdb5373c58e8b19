//! Functions that start tasks, wait and limit waiting times, both on tokio and in a browser or
//! Node.
//!
//! `tokio::time` and `tokio::spawn` do not work in a browser, and a handler cannot await a
//! JavaScript timer, because such a timer is not `Send`. The functions of this module work on tokio
//! and in a browser. A program that runs only on tokio can use tokio's functions instead.
//
// Only this module and `transport` distinguish tokio from the JavaScript event loop. In a browser,
// futures must be `Send` as on tokio, although a browser has only one thread. A JavaScript value,
// such as a timer, is not `Send`. Such a value stays in a local task, and other tasks communicate
// with the local task through a channel.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(not(target_family = "wasm"))]
mod tracker;

use std::time::Duration;

#[cfg(target_family = "wasm")]
use browser as system;
#[cfg(not(target_family = "wasm"))]
use native as system;

pub(crate) use system::{
    Instant, Runtime, RuntimeTracker, Sleep, TaskSet, into_std, sleep_until, spawn_blocking,
};

/// Waits for the duration `time`.
///
/// # Panics
///
/// Panics outside of a tokio runtime, except in a browser.
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// # async fn example() {
/// hypha_rpc::runtime::sleep(Duration::from_millis(20)).await;
/// # }
/// ```
pub async fn sleep(time: Duration) {
    system::sleep(time).await;
}

/// Waits for a future, for at most `limit`. Drops the future if it has not completed by then.
///
/// # Errors
///
/// Returns [`Elapsed`] if the future has not completed in time.
///
/// # Panics
///
/// Panics outside of a tokio runtime, except in a browser.
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// # async fn example() {
/// let never = std::future::pending::<()>();
/// assert!(hypha_rpc::runtime::timeout(Duration::from_millis(20), never).await.is_err());
/// # }
/// ```
pub async fn timeout<F: IntoFuture>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    system::timeout(limit, future).await.map_err(|_| Elapsed)
}

/// Runs a future in a new task. The task ends when the future completes or the runtime ends.
///
/// # Panics
///
/// Panics outside of a tokio runtime, except in a browser.
///
/// # Examples
///
/// ```
/// # async fn example(client: hypha_rpc::Client) {
/// hypha_rpc::runtime::spawn(async move {
///     client.closed().await;
/// });
/// # }
/// ```
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    // Dropping the handle of the task does not end the task.
    drop(system::spawn(task));
}

/// Error of [`timeout`]: the time limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time is over")]
pub struct Elapsed;

#[cfg(not(target_family = "wasm"))]
pub(crate) use tracker::{enter_watchdog, set_moved};
