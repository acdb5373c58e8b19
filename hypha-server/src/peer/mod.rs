//! Describes a connected client to the router: the client's address, its user and the queue of
//! frames for the client.
//!
//! `session` and `internal_client` create a [`Peer`] for each connection. The router holds the peer
//! for as long as the connection has its address. The task that writes to the client holds the
//! [`Queue`].
//!
//! The outbox, the partners, the pace, the load and the subscriptions each have their own lock.
//! None of these locks is held across an await, or while another of these locks is taken. The lock
//! of an outbox is taken before the locks of the memory accounts, never after them.

mod load;
mod outbox;
mod pace;
mod partners;

use std::collections::HashSet;

use bytes::Bytes;
use hypha_rpc::workspace::Permission;
use parking_lot::Mutex;

use self::load::LoadMeter;
pub(crate) use self::outbox::{CloseOrder, Outbox, Outgoing, Progress, Queue, Queued, Unsent};
pub(crate) use self::pace::Pace;
use self::partners::Partners;
use crate::auth::Authenticated;

/// Suffix of the client ids whose load is measured, as in the Python server. Other clients have the
/// load 0.
const MEASURED_SUFFIX: &str = "__rlb";
/// Maximum number of event types that one connection can subscribe to.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 1000;

/// One connection of a client. A client that reconnects becomes a new peer.
pub(crate) struct Peer {
    /// Id of the workspace.
    pub(crate) workspace: String,
    pub(crate) client_id: String,
    /// `workspace/client`.
    pub(crate) address: String,
    /// The user, with the permissions that the user had when the client connected.
    pub(crate) user: Authenticated,
    /// The user map in MessagePack. The router writes these bytes into every message, so the map is
    /// encoded only once.
    pub(crate) user_raw: Bytes,
    /// Number of the connection. A later connection with the same address has a larger number.
    /// Unique in this process, never 0.
    pub(crate) generation: u64,
    /// The queue of frames for the client.
    pub(crate) outbox: Outbox,
    /// The peers that the server notifies when this client disconnects.
    pub(crate) partners: Partners,
    /// The rate limits of the messages that the client sends. `None` if the rates are not limited.
    pub(crate) pace: Option<Pace>,
    /// Whether the peer is a service of the server, which serves all clients from one queue. The
    /// router never lets messages of such a peer wait for room at a receiver, because one slow
    /// client would then block the service for all other clients.
    pub(crate) serves_all: bool,
    /// Measures the load of this client. `None` if the load is not measured.
    load: Option<LoadMeter>,
    /// Types of the events that the client receives.
    subscriptions: Mutex<HashSet<String>>,
}

impl Peer {
    /// Creates the peer of a connection. The peer receives no messages until the router has
    /// attached it.
    pub(crate) fn new(
        workspace: &str,
        client_id: &str,
        user: impl Into<Authenticated>,
        generation: u64,
        outbox: Outbox,
        pace: Option<Pace>,
    ) -> Peer {
        let user = user.into();
        let user_raw = hypha_wire::to_vec(&user.user).unwrap_or_else(|error| {
            // Cannot fail, because a user map contains only strings and numbers. If the encoding
            // failed, peers would receive nil (0xc0) as the user.
            tracing::error!(%error, user = user.id, "cannot encode a user map");
            vec![0xc0]
        });
        Peer {
            address: format!("{workspace}/{client_id}"),
            workspace: workspace.to_owned(),
            client_id: client_id.to_owned(),
            user,
            user_raw: user_raw.into(),
            generation,
            outbox,
            partners: Partners::default(),
            pace,
            serves_all: false,
            load: client_id
                .ends_with(MEASURED_SUFFIX)
                .then(LoadMeter::default),
            subscriptions: Mutex::default(),
        }
    }

    /// Marks the peer as a service of the server; see `serves_all`.
    pub(crate) fn serving_all(self) -> Peer {
        Peer {
            serves_all: true,
            ..self
        }
    }

    /// Returns the user or IP address to which the memory and the slots of the client are charged.
    pub(crate) fn owner(&self) -> &str {
        self.outbox.account().owner()
    }

    /// Returns whether the user may only read in the workspace of the connection.
    pub(crate) fn is_read_only(&self) -> bool {
        self.user.permission(&self.workspace) == Some(Permission::Read)
    }

    /// Counts a message that the client has sent, if the client's load is measured.
    pub(crate) fn count_message(&self) {
        if let Some(load) = &self.load {
            load.count();
        }
    }

    /// Returns the load in messages per minute, or 0 if the load is not measured.
    pub(crate) fn load(&self) -> f64 {
        self.load.as_ref().map_or(0.0, LoadMeter::load)
    }

    /// Subscribes the client to event types, up to [`SUBSCRIPTIONS_MAX`] types. Returns false if
    /// this limit left some of the types out.
    pub(crate) fn subscribe(&self, events: &[String]) -> bool {
        let mut subscriptions = self.subscriptions.lock();
        events.iter().all(|event| {
            subscriptions.contains(event)
                || subscriptions.len() < SUBSCRIPTIONS_MAX && subscriptions.insert(event.clone())
        })
    }

    /// Ends the subscriptions to event types. Ignores types to which the client is not subscribed.
    pub(crate) fn unsubscribe(&self, events: &[String]) {
        let mut subscriptions = self.subscriptions.lock();
        subscriptions.retain(|subscribed| !events.contains(subscribed));
    }

    /// Returns whether the client receives broadcasts of this type.
    pub(crate) fn is_subscribed(&self, event: &str) -> bool {
        self.subscriptions.lock().contains(event)
    }
}
