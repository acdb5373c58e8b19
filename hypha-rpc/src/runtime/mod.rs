//! Tasks and time, on tokio and on the event loop of a browser or Node.
//!
//! A program that runs only on tokio uses `tokio::time` and `tokio::spawn`. Neither works in a
//! browser. Timers of JavaScript are not `Send`, so a handler cannot await them. The functions of
//! this module work on tokio and in a browser.
//
// Apart from `transport`, only this module distinguishes tokio from the event loop of JavaScript.
// In a browser, futures are `Send` as elsewhere, although there is only one thread. A value of
// JavaScript, such as a timer, is not `Send`; it stays in a local task, which communicates through
// a channel.

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

/// Waits for a future, for at most `limit`, then drops the future.
///
/// # Errors
///
/// [`Elapsed`] if the future has not completed in time.
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

/// Runs a future in a task of its own, until the future completes or the runtime ends.
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
    // The task continues when its handle is dropped.
    drop(system::spawn(task));
}

/// Error of [`timeout`]: the time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time is over")]
pub struct Elapsed;

#[cfg(not(target_family = "wasm"))]
pub(crate) use tracker::{enter_watchdog, set_moved};
