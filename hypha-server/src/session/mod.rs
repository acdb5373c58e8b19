//! Admits clients, serves their connections and closes them, over WebSocket and over HTTP.
//!
//! The module `http` calls [`serve_websocket`] for each socket that it has upgraded, and
//! [`open_stream`] for each `GET /rpc`. The module `admission` admits the clients of both
//! transports by the same rules.
//!
//! Invariants:
//!
//! * The task that serves a client first calls `workspace::client_left` to remove the client, and
//!   then sends the last frame. A client that reconnects immediately therefore finds its address
//!   free.
//! * The slots and the memory of a client are released when its `ClientSlots` and its `Account` are
//!   dropped. A failed handshake and a dropped future also drop these values.
//! * [`State::workspace_records`] is locked before the router. The locks of this module are held
//!   only for a few instructions. No task holds two of these locks at the same time, or holds one
//!   of them across an await.

mod admission;
mod control;
mod frames;
mod handshake;
mod http_stream;
mod refusal;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use self::admission::Admission;
pub(crate) use self::admission::{owner, owner_of_address, user_of};
use self::http_stream::Streams;
pub(crate) use self::http_stream::{StreamHello, open as open_stream};
pub(crate) use self::refusal::{Refusal, RefusalKind};
pub(crate) use self::websocket::{Credentials, serve as serve_websocket};
use crate::peer::Peer;
use crate::seats::{Seats, Turns};
use crate::state::State;

/// Close reason of an evicted connection.
const EVICTED: &str = "the server is out of memory and this connection holds the most; try again \
                        later";

/// The connections of clients to a server, and the limits on the number of connections.
pub(crate) struct Sessions {
    pub(crate) state: Arc<State>,
    /// The sessions of clients over HTTP.
    pub(crate) streams: Streams,
    admission: Admission,
    /// Permits for WebSockets that are not authenticated yet, by IP address.
    handshakes: Arc<Turns>,
    /// Connection slots by user id.
    users: Arc<Seats>,
    /// Connection slots by workspace id.
    workspaces: Arc<Seats>,
}

impl Sessions {
    /// Creates the sessions of a server without connections. The limits come from the settings of
    /// `state`.
    pub(crate) fn new(state: Arc<State>) -> Sessions {
        let limits = &state.settings.limits;
        Sessions {
            streams: Streams::default(),
            admission: Admission::new(limits.concurrent_handshakes),
            handshakes: Turns::new(limits.handshakes_per_address),
            users: Seats::new(limits.connections_per_user),
            workspaces: Seats::new(limits.clients_per_workspace),
            state,
        }
    }
}

/// Waits until a connection that has exceeded its rate limit is out of debt. Returns immediately if
/// the connection has no rate limit.
async fn keep_pace(state: &State, peer: &Peer) {
    let Some(pace) = &peer.pace else { return };
    let mut waited = Duration::ZERO;
    // The wait is repeated, because responses from other connections may be charged to this
    // connection during the sleep.
    loop {
        let debt = pace.debt();
        if debt.is_zero() {
            break;
        }
        sleep(debt).await;
        waited = waited.saturating_add(debt);
    }
    if !waited.is_zero() {
        state.counters.slowed_rate.add();
        let millis = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        state.counters.slowed_rate_milliseconds.add_many(millis);
    }
}
