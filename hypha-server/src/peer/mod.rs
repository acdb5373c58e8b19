//! A connected client as the router sees it: its address, its user and the queue of frames for it.

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

/// Suffix of the client ids whose load is measured.
const MEASURED_SUFFIX: &str = "__rlb";
/// Upper bound on the events that a connection is subscribed to.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 1000;

/// One connection of a client.
pub(crate) struct Peer {
    pub(crate) workspace: String,
    pub(crate) client_id: String,
    /// `workspace/client`.
    pub(crate) address: String,
    pub(crate) user: Authenticated,
    /// The user map as it is written into every message, encoded once.
    pub(crate) user_raw: Bytes,
    /// Distinguishes successive connections with one address; the newer has the larger number.
    pub(crate) generation: u64,
    pub(crate) outbox: Outbox,
    /// The peers that are told when this client is gone.
    pub(crate) partners: Partners,
    /// The rates of what it sends. `None` if they are not limited.
    pub(crate) pace: Option<Pace>,
    /// It serves all clients from one queue, so its messages never wait for room at a receiver.
    pub(crate) serves_all: bool,
    load: Option<LoadMeter>,
    subscriptions: Mutex<HashSet<String>>,
}

impl Peer {
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
            // A user map holds strings and numbers, so this does not happen; peers would receive
            // nil.
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

    /// Marks the peer as one that serves all clients.
    pub(crate) fn serving_all(self) -> Peer {
        Peer {
            serves_all: true,
            ..self
        }
    }

    /// Returns the name under which its shares of the server are counted.
    pub(crate) fn owner(&self) -> &str {
        self.outbox.account().owner()
    }

    /// Returns whether the user may only read in this workspace.
    pub(crate) fn is_read_only(&self) -> bool {
        self.user.permission(&self.workspace) == Some(Permission::Read)
    }

    /// Counts a message towards the load, if the load of this client is measured.
    pub(crate) fn count_message(&self) {
        if let Some(load) = &self.load {
            load.count();
        }
    }

    /// Returns the messages per minute, or 0 if the load is not measured.
    pub(crate) fn load(&self) -> f64 {
        self.load.as_ref().map_or(0.0, LoadMeter::load)
    }

    /// Subscribes to events. Returns false if that would be too many; those that fit are
    /// subscribed.
    pub(crate) fn subscribe(&self, events: &[String]) -> bool {
        let mut subscriptions = self.subscriptions.lock();
        events.iter().all(|event| {
            subscriptions.contains(event)
                || subscriptions.len() < SUBSCRIPTIONS_MAX && subscriptions.insert(event.clone())
        })
    }

    /// Ends subscriptions.
    pub(crate) fn unsubscribe(&self, events: &[String]) {
        let mut subscriptions = self.subscriptions.lock();
        subscriptions.retain(|subscribed| !events.contains(subscribed));
    }

    /// Returns whether broadcasts of this type are sent to the client.
    pub(crate) fn is_subscribed(&self, event: &str) -> bool {
        self.subscriptions.lock().contains(event)
    }
}
