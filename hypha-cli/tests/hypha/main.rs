//! Tests the program `hypha`, with a server in this process.

mod administration;
mod bench;
mod call;
mod contexts;
mod help;
mod mcp;
#[cfg(unix)]
mod page;
mod schema;
mod serve;
mod services;
mod support;
mod watch;
