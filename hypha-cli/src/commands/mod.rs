//! The subcommands. Each module contains the options of a subcommand and a function `run`.

pub(crate) mod bench;
pub(crate) mod call;
pub(crate) mod clients;
pub(crate) mod context;
pub(crate) mod describe;
#[cfg(feature = "server")]
pub(crate) mod dev;
mod load;
pub(crate) mod login;
pub(crate) mod mcp;
pub(crate) mod schema;
#[cfg(feature = "server")]
pub(crate) mod serve;
pub(crate) mod services;
pub(crate) mod shell;
pub(crate) mod token;
pub(crate) mod watch;
pub(crate) mod whoami;
pub(crate) mod workspace;
