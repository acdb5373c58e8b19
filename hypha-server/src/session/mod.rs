//! Connections of clients: how they are admitted, served and closed, over WebSocket and over HTTP.

mod admission;
mod control;
mod frames;
mod handshake;
mod http_stream;
mod refusal;
mod websocket;

use std::sync::Arc;

use self::admission::Admission;
pub(crate) use self::admission::user_of;
use self::http_stream::Streams;
pub(crate) use self::http_stream::{StreamHello, open as open_stream};
pub(crate) use self::refusal::{Refusal, RefusalKind};
pub(crate) use self::websocket::{Credentials, serve as serve_websocket};
use crate::seats::Seats;
use crate::state::State;

/// The connections of a server, and the limits on their number.
pub(crate) struct Sessions {
    pub(crate) state: Arc<State>,
    /// The clients over HTTP.
    pub(crate) streams: Streams,
    admission: Admission,
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
            users: Seats::new(limits.connections_per_user),
            workspaces: Seats::new(limits.clients_per_workspace),
            state,
        }
    }
}
