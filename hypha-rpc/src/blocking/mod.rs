//! The API without async: a client whose methods wait on their thread (feature `blocking`).
//!
//! [`connect`] returns a [`Client`]. Everything that an asynchronous program awaits ends with
//! `wait` here: calls of [proxies](crate::hypha_service) and of [`RemoteService`]s, lookups and
//! registrations. The other methods have the same names and results in both APIs.
//!
//! | asynchronous | here |
//! | --- | --- |
//! | `calculator.add(1.0, 2.0).await?` | `calculator.add(1.0, 2.0).wait()?` |
//! | `call.send().await?` | [`call.blocking_send()?`](crate::Call::blocking_send) |
//! | `while let Some(item) = stream.try_next().await?` | `for item in stream` |
//! | `Callback::new` | [`Callback::blocking`](crate::Callback::blocking), for plain closures |
//! | `async fn` in a contract | `fn` |
//! | `RemoteFile` with the traits of tokio | with `Read`, `Write` and `Seek` |
//!
//! # Examples
//!
//! ```no_run
//! use hypha_rpc::blocking;
//! use hypha_rpc::prelude::*;
//!
//! /// Arithmetic.
//! #[hypha_service(id = "calculator")]
//! trait Calculator {
//!     /// Divide one number by another.
//!     fn divide(&self, a: f64, b: f64) -> Result<f64, String>;
//! }
//!
//! struct Desk;
//!
//! impl Calculator for Desk {
//!     fn divide(&self, a: f64, b: f64) -> Result<f64, String> {
//!         if b == 0.0 { Err("division by zero".into()) } else { Ok(a / b) }
//!     }
//! }
//!
//! # fn main() -> anyhow::Result<()> {
//! let client = blocking::connect("http://localhost:9527")?;
//! client.register_service(CalculatorService::new(Desk)).wait()?;
//!
//! let calculator: CalculatorProxy = client.proxy("calculator").wait()?;
//! println!("{}", calculator.divide(1.0, 4.0).wait()?);
//! client.run_until_ctrl_c()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Threads
//!
//! The connections of all blocking clients run on one background runtime with two threads. It is
//! started by the first client and ends with the last one. A waiting thread polls its own call, so
//! a call costs no further thread.
//!
//! Methods that are plain `fn`s, and closures, run on up to 512 threads of that runtime that are
//! started on demand; further calls wait for a thread, and heartbeats keep their callers waiting.
//! [`max_concurrent_calls`](crate::ConnectOptions::max_concurrent_calls) sets a lower limit.
//! Methods and closures may make calls and wait for them, and keep their threads meanwhile.
//!
//! # Within a tokio runtime
//!
//! A wait would block the runtime on a thread that polls futures, such as in an `async fn`. It
//! fails there with [`Error::Invalid`](crate::Error::Invalid), which names the function and its
//! asynchronous counterpart, instead of a panic or a dead-lock. In `tokio::task::spawn_blocking`
//! and `block_in_place`, and on all other threads, it waits.
//
//   runtime     the background runtime, and the wait for a future
//   client      the client; call: `wait`
//   iter        streams, events, states as iterators; closures: callbacks; file: files

mod call;
mod client;
mod closures;
mod file;
mod iter;
mod runtime;

pub use crate::call::{Call, Proxy, RemoteService};
pub use client::{Client, connect};
pub use iter::{Events, Items, States};
