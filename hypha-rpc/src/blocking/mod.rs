//! Provides an API without async: a client whose methods wait on the calling thread (feature
//! `blocking`).
//!
//! [`connect`] returns a [`Client`]. Write `.wait()` in the places where an asynchronous program
//! writes `.await`. These are the calls of [proxies](crate::hypha_service) and of
//! [`RemoteService`]s, the lookups and the registrations. All other methods have the same names and
//! results as in the asynchronous API.
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
//! All blocking clients share one background runtime with two threads, which runs their
//! connections. The first client starts the runtime. The runtime ends when the last client is
//! dropped. A thread that waits for a call polls that call itself, so a call needs no other thread.
//!
//! Closures, and methods that are plain `fn`s, run on further threads of the runtime. The runtime
//! starts up to 512 such threads on demand. If all of these threads are busy, calls wait for a free
//! thread. Heartbeats prevent the waiting calls from timing out at their callers.
//! [`max_concurrent_calls`](crate::ConnectOptions::max_concurrent_calls) sets a lower maximum. A
//! method or closure may itself make a call and wait for the result. Its thread stays occupied
//! during the wait.
//!
//! # Within a tokio runtime
//!
//! `wait` would block the runtime if it waited on a thread that polls futures, for example in an
//! `async fn`. On such a thread, `wait` fails with [`Error::Invalid`](crate::Error::Invalid)
//! instead. The error names the called function and its asynchronous alternative. A program may
//! wait in `tokio::task::spawn_blocking`, in `block_in_place`, and on all threads outside of a
//! runtime.
//
//   runtime     runs the background runtime, and waits for futures
//   client      the client
//   call        the method `wait` of calls and other requests
//   iter        iterators over streams, events and connection states
//   closures    callbacks from closures that block
//   file        `Read`, `Write` and `Seek` for remote files

mod call;
mod client;
mod closures;
mod file;
mod iter;
mod runtime;

pub use crate::call::{Call, Proxy, RemoteService};
pub use client::{Client, connect};
pub use iter::{Events, Items, States};
