//! A peer as the router knows it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hypha_rpc::workspace::{Permission, UserInfo};

use super::{LoadMeter, Outbox};

/// Clients whose id ends so have their load measured.
const MEASURED_SUFFIX: &str = "__rlb";
/// Events that a connection may subscribe to.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 1000;

/// One end of a connection: who it is, and the way to it.
pub(crate) struct Peer {
    pub(crate) workspace: String,
    pub(crate) client_id: String,
    /// `workspace/client`.
    pub(crate) address: String,
    pub(crate) user: UserInfo,
    /// The user map as it is written into every message, encoded once.
    pub(crate) user_raw: Bytes,
    /// Of two connections with one address the newer has the larger number.
    pub(crate) generation: u64,
    pub(crate) outbox: Outbox,
    load: Option<LoadMeter>,
    subscriptions: Mutex<HashSet<String>>,
}

impl Peer {
    pub(crate) fn new(
        workspace: &str,
        client_id: &str,
        user: UserInfo,
        generation: u64,
        outbox: Outbox,
    ) -> Peer {
        let user_raw = hypha_wire::to_vec(&user).unwrap_or_else(|error| {
            // A user map is strings and numbers; nil is what a peer gets if that ever changes.
            tracing::error!(%error, user = user.id, "a user map cannot be encoded");
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
            load: client_id
                .ends_with(MEASURED_SUFFIX)
                .then(LoadMeter::default),
            subscriptions: Mutex::default(),
        }
    }

    /// May only read in its own workspace.
    pub(crate) fn is_read_only(&self) -> bool {
        self.user.permission(&self.workspace) == Some(Permission::Read)
    }

    pub(crate) fn count_message(&self) {
        if let Some(load) = &self.load {
            load.count();
        }
    }

    /// Messages per minute, if this peer's are counted.
    pub(crate) fn load(&self) -> f64 {
        self.load.as_ref().map_or(0.0, LoadMeter::load)
    }

    /// False if there are too many; those that fit are subscribed.
    pub(crate) fn subscribe(&self, events: &[String]) -> bool {
        let mut subscriptions = self
            .subscriptions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        events.iter().all(|event| {
            subscriptions.contains(event)
                || subscriptions.len() < SUBSCRIPTIONS_MAX && subscriptions.insert(event.clone())
        })
    }

    pub(crate) fn unsubscribe(&self, events: &[String]) {
        let mut subscriptions = self
            .subscriptions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        subscriptions.retain(|subscribed| !events.contains(subscribed));
    }

    pub(crate) fn is_subscribed(&self, event: &str) -> bool {
        self.subscriptions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(event)
    }
}
