//! Attacks on `hypha-server` by a client of its own, and what they cost the server and others.
//!
//! [`scenarios`] is the table of attacks. The [`runner`] starts a server for each, lets an honest
//! pair of clients call each other ([`victims`]), starts the attackers in a process of their own
//! and measures memory, latency and recovery. Client and frames ([`wire`], [`peer`]) are written by
//! hand, because a library would keep to the protocol.

pub mod attack;
pub mod peer;
pub mod runner;
pub mod scenarios;
pub mod server;
pub mod victims;
pub mod wire;
