//! Attacks on `hypha-server`, and their effect on the server and on other clients.
//!
//! [`scenarios`] is the table of attacks. For each, the [`runner`] starts a server, lets an honest
//! pair of clients call each other ([`victims`]), starts the attackers in a separate process, and
//! measures memory, latency and recovery. The client ([`peer`]) and its frames ([`wire`]) do not
//! use a library, because a library would follow the protocol.

pub mod attack;
pub mod peer;
pub mod runner;
pub mod scenarios;
pub mod server;
pub mod victims;
pub mod wire;
