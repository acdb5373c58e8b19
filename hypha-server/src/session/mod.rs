//! One peer: how it gets in, how frames reach it, and how it leaves.

mod admission;
mod control;
mod frames;
mod handshake;
mod limits;
mod outbox;
mod peer;
mod refusal;
mod socket;
mod stream;

pub(crate) use admission::{Admission, user_of};
pub(crate) use limits::{LoadMeter, RateLimit, Seat, Seats};
pub(crate) use outbox::{CloseOrder, Gone, Outbox, Outgoing, Queue, Queued};
pub(crate) use peer::{Peer, SUBSCRIPTIONS_MAX};
pub(crate) use refusal::{Refusal, Why};
pub(crate) use socket::run;
pub(crate) use stream::{StreamHello, Streams, open as open_stream};
