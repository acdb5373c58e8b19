//! API without async: a client whose methods wait on the calling thread (feature `blocking`).
//!
//! [`connect`] returns a [`Client`]. Where an asynchronous program writes `.await`, write
//! `.wait()`: for calls of [proxies](crate::hypha_service) and of [`RemoteService`]s, for lookups
//! and for registrations. The other methods have the same names and results in both APIs.
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
//! The connections of all blocking clients run on one background runtime with two threads. The
//! first client starts the runtime, and dropping the last client ends the runtime. A waiting thread
//! polls its own call, so a call needs no other thread.
//!
//! Closures, and methods that are plain `fn`s, run on up to 512 threads of that runtime, which
//! starts them on demand. Further calls wait for a free thread; heartbeats prevent a timeout at
//! their callers. [`max_concurrent_calls`](crate::ConnectOptions::max_concurrent_calls) sets a
//! lower maximum. A method or closure may make calls and wait for them. It occupies its thread
//! meanwhile.
//!
//! # Within a tokio runtime
//!
//! On a thread that polls futures, such as in an `async fn`, waiting would block the runtime.
//! There, `wait` fails with [`Error::Invalid`](crate::Error::Invalid) instead of a panic or a
//! deadlock; the error names the function and its asynchronous counterpart. Waiting is possible in
//! `tokio::task::spawn_blocking`, in `block_in_place`, and on all other threads.
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
