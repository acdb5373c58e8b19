//! `hypha-server` as its clients see it. One test program, since each program with a server in it
//! takes seconds to build; the cost of one client for others is measured in separate programs.

mod apps;
mod attacks;
mod authenticator;
#[cfg(all(feature = "redis", unix))]
mod cluster;
mod gone;
mod handshake;
mod http;
mod load;
mod login;
mod manager;
mod operators;
#[cfg(feature = "jwks")]
mod provider;
mod restart;
mod routing;
mod services;
mod stream;
#[path = "../support/mod.rs"]
mod support;
mod takeover;
