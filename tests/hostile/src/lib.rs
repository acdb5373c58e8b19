//! Attacks `hypha-server`, and measures the effects on the server and on other clients.
//!
//! [`scenarios`] is the table of attacks. For each attack, the [`runner`] starts a server, a pair
//! of honest clients that call each other ([`victims`]), and the attackers in a separate process.
//! The runner measures memory, latency and recovery. The attackers use their own client ([`peer`]),
//! which encodes frames by hand ([`wire`]), because a library would only send valid frames.

pub mod attack;
pub mod peer;
pub mod runner;
pub mod scenarios;
pub mod server;
pub mod victims;
pub mod wire;
