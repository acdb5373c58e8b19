//! `hypha-server` as its clients see it. One program, since each program with a server in it takes seconds to
//! build; what one client costs the others is tested in programs of their own, beside nothing else.

mod attacks;
mod authenticator;
#[cfg(all(feature = "redis", unix))]
mod cluster;
mod handshake;
mod http;
mod login;
mod manager;
#[cfg(feature = "jwks")]
mod provider;
mod restart;
mod routing;
mod services;
mod stream;
#[path = "../support/mod.rs"]
mod support;
mod takeover;
