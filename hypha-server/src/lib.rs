//! A Hypha server in one small binary, or inside a test.
//!
//! The Python and JavaScript clients of Hypha, and `hypha-rpc`, connect to it as they do to the
//! original server.
//!
//! ```
//! # async fn example() -> Result<(), hypha_server::StartError> {
//! let server = hypha_server::Server::builder().bind("127.0.0.1:0").start().await?;
//! println!("clients connect to {}", server.url());
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod auth;
mod bus;
mod config;
mod http;
mod local;
mod login;
mod metrics;
mod registry;
mod router;
mod server;
mod session;
mod state;
mod store;
mod workspace;

pub use auth::{Authenticator, Decision};
pub use axum::http::HeaderMap;
pub use config::{ConfigError, Limits, TokenSettings};
pub use metrics::Stats;
pub use server::{Builder, Server, StartError};
pub use store::StoreError;
