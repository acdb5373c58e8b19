//! One peer: how it gets in, how frames reach it, and how it leaves.

mod control;
mod handshake;
mod limits;
mod outbox;
mod peer;
mod socket;

pub(crate) use handshake::Admission;
pub(crate) use limits::{LoadMeter, Seat, Seats};
pub(crate) use outbox::{CloseOrder, Gone, Outbox, Outgoing, Queue, Queued};
pub(crate) use peer::{Peer, SUBSCRIPTIONS_MAX};
pub(crate) use socket::run;
