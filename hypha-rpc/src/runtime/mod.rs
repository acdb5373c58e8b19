//! Tasks and time: those of tokio, or of the event loop of a browser or Node.
//!
//! Apart from `transport`, only this module knows which of the two it is. In a browser, futures are
//! `Send` as elsewhere, although there is one thread. What is not `Send` there, such as a timer,
//! stays in a local task and communicates through a channel.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(not(target_family = "wasm"))]
mod tracker;

#[cfg(target_family = "wasm")]
pub(crate) use browser::*;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::*;
#[cfg(not(target_family = "wasm"))]
pub(crate) use tracker::{RuntimeTracker, enter_watchdog, set_moved};
