//! Connections of clients: how they are admitted, served and closed, over WebSocket and over HTTP.

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

/// The reason for a connection whose memory others need.
const GAVE_WAY: &str = "the server is out of memory and this connection holds the most; try again \
                        later";

/// The connections of a server, and the limits on their number.
pub(crate) struct Sessions {
    pub(crate) state: Arc<State>,
    /// The clients over HTTP.
    pub(crate) streams: Streams,
    admission: Admission,
    /// Connections that are not authenticated, by address.
    handshakes: Arc<Turns>,
    /// Connections by user.
    users: Arc<Seats>,
    /// Connections by workspace.
    workspaces: Arc<Seats>,
}

impl Sessions {
    /// Creates the sessions of a server, none of which is open.
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

/// Waits until a connection that is beyond its rate has made up for it.
async fn keep_pace(state: &State, peer: &Peer) {
    let Some(pace) = &peer.pace else { return };
    let mut waited = Duration::ZERO;
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
