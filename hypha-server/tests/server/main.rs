//! Tests `hypha-server` from the outside, with clients. All are in one test program, because each
//! program that contains a server takes seconds to build. The tests that measure memory or latency
//! are separate programs.

#[cfg(feature = "a2a")]
mod a2a;
#[cfg(all(feature = "accounts", feature = "jwks"))]
mod accounts;
mod apps;
mod attacks;
mod authenticator;
#[cfg(all(feature = "redis", unix))]
mod cluster;
#[cfg(feature = "console")]
mod console;
mod forms;
mod gone;
mod handshake;
mod http;
mod interceptors;
mod load;
mod login;
mod manager;
#[cfg(feature = "mcp")]
mod mcp;
mod mount;
mod operators;
#[cfg(feature = "jwks")]
mod provider;
mod queue;
mod restart;
mod routing;
mod services;
#[cfg(feature = "skills")]
mod skills;
mod stream;
#[path = "../support/mod.rs"]
mod support;
mod takeover;
mod web;
