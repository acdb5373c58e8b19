//! A Hypha server, to embed in a program or a test, and the binary `hypha-server`.
//!
//! A Hypha server connects programs in Python, JavaScript and Rust: the programs register services
//! and call each other's methods through the server. Clients of the Python server `hypha` connect
//! to this server unchanged.
//!
//! [`Server::builder`] starts a server in the current tokio runtime. [`Settings`] and [`Limits`]
//! contain the configuration, and an [`Authenticator`] accepts tokens of the embedding program.
//!
//! ```
//! # async fn example() -> Result<(), hypha_server::StartError> {
//! let server = hypha_server::Server::builder().bind("127.0.0.1:0").start().await?;
//! println!("clients connect to {}", server.url());
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | default | content |
//! | --- | --- | --- |
//! | `a2a` | yes | services as agents: the Agent2Agent protocol |
//! | `accounts` | yes | accounts of the server itself, with passwords |
//! | `cli` | yes | the binary, whose options are the fields of [`Settings`] |
//! | `compression` | yes | compressed HTTP responses, request bodies in gzip; needs a C compiler |
//! | `console` | yes | pages on which people find and call services, and watch the server |
//! | `jwks` | yes | an HTTPS client: tokens of an identity provider, e-mail for accounts |
//! | `mcp` | yes | services as tools of language models: the Model Context Protocol |
//! | `mimalloc` | yes | the allocator mimalloc for the binary; needs a C compiler |
//! | `openapi` | yes | the HTTP interface as OpenAPI, with a page that shows it |
//! | `redis` | yes | workspaces that several servers share through Redis |
//! | `skills` | yes | documents for agents, in the format of Agent Skills |

#![cfg_attr(docsrs, feature(doc_cfg))]

// Layers, lowest first. A module uses only modules of lower layers; `cargo xtask lint` checks this
// rule:
//
//   platform, process
//   settings, metrics, memory, rate_limit, seats, shares, store
//   auth (settings), bus, event_log (memory)
//   peer (auth, memory)
//   registry (auth, store), router (bus, metrics, peer)
//   state: the parts of one server, each with its own lock
//   workspace: creation of workspaces, removal of empty ones
//   internal_client: clients inside the server
//   manager (the workspace manager), session (connections of clients), accounts (of users)
//   blocking: blocks of users and IP addresses
//   admin (blocking, internal_client), login (accounts, manager), http (session, internal_client),
//     queue
//   server: starts and stops all parts
//   program: the command line
#[cfg(feature = "accounts")]
mod accounts;
mod admin;
mod auth;
mod blocking;
mod bus;
mod event_log;
mod http;
mod internal_client;
mod login;
mod manager;
mod memory;
mod metrics;
mod peer;
mod platform;
mod process;
#[cfg(feature = "cli")]
#[doc(hidden)] // For the programs `hypha-server` and `hypha`.
pub mod program;
mod queue;
mod rate_limit;
mod registry;
mod router;
mod seats;
mod server;
mod session;
mod settings;
mod shares;
mod shown;
mod state;
mod store;
mod workspace;

pub use auth::{Authenticator, Decision};
pub use axum::http::HeaderMap;
pub use metrics::Stats;
pub use server::{Builder, Server, StartError};
pub use settings::{AccountSettings, ConfigError, Limits, Settings, TokenSettings, Verification};
pub use store::StoreError;
