//! The connection between the servers of a cluster. A server that is alone has none.

#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod window;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

#[cfg(feature = "redis")]
pub(crate) use self::redis::{Receiver, RedisBus};
#[cfg(feature = "redis")]
pub(crate) use self::window::REPEAT;

/// A fact that every server should know at once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Notice {
    /// A client is connected to the announcing server, wherever it was before.
    Taken {
        /// Address of the client.
        address: String,
    },
    /// A client is gone, and some of its partners may be connected to other servers.
    Left {
        /// Address of the client.
        address: String,
    },
    /// Asks the server of a client whether the client has taken the messages sent to it.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    Asked {
        /// Address of the client.
        address: String,
        /// Number of the question.
        number: u64,
        /// Id of the server that asks.
        server: String,
    },
    /// The answer.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    Answered {
        /// Address of the client.
        address: String,
        /// Number of the question.
        number: u64,
        /// Id of the server that has asked.
        server: String,
        /// Not yet: too much waits for the client. Another answer will come.
        held: bool,
    },
    /// A workspace is deleted, and its clients are disconnected.
    Unloaded {
        /// Id of the workspace.
        workspace: String,
    },
    /// A server has ended without removing its records; the announcing server has done so.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    ServerLost {
        /// Id of the server.
        server: String,
    },
    /// A token is no longer accepted.
    Revoked {
        /// The token, without `Bearer`.
        token: String,
        /// Time at which it would have expired, in seconds since 1970.
        end: u64,
    },
}

/// Receives the messages of other servers.
///
/// None of the methods waits: one slow client must not hold up the messages of the others.
#[cfg(feature = "redis")]
pub(crate) trait Recipient: Send + Sync {
    /// Returns whether a client with this address is connected here.
    fn is_connected(&self, address: &str) -> bool;

    /// Delivers a message to the client with this address.
    fn message(&self, address: &str, frame: Bytes);

    /// Delivers a client's broadcast to the subscribers in a workspace.
    fn broadcast(&self, workspace: &str, frame: Bytes);

    /// Delivers a system event to the subscribers in a workspace.
    fn event(&self, workspace: &str, event: serde_json::Value);

    /// Acts on an announcement of another server.
    fn notice(&self, notice: Notice);
}

/// Sends to the other servers.
pub(crate) trait Bus: Send + Sync {
    /// Sends a message to the server to which the client with this address is connected. Returns
    /// false if there is none. Waits if too much is on its way to the client, which slows the
    /// sender down to its pace.
    fn send<'a>(&'a self, address: &'a str, frame: Bytes) -> BoxFuture<'a, bool>;

    /// Sends a message that never waits for a slow client.
    fn send_at_once<'a>(&'a self, address: &'a str, frame: Bytes) -> BoxFuture<'a, bool>;

    /// Sends a client's broadcast to all servers, this one included. Returns false if there are no
    /// others: then nothing was done. Waits while too many bytes of broadcasts wait for Redis.
    fn broadcast<'a>(&'a self, workspace: &'a str, frame: &'a Bytes) -> BoxFuture<'a, bool>;

    /// Sends an event, encoded as JSON, to all servers, this one included. Returns false if there
    /// are no others: then nothing was done.
    fn event(&self, workspace: &str, event: &dyn Fn() -> Option<Vec<u8>>) -> bool;

    /// Subscribes to messages for this address. Completes when the subscription is in place.
    fn subscribe_address<'a>(&'a self, address: &'a str) -> BoxFuture<'a, ()>;

    /// Ends the subscription, unless a client with this address is connected by then.
    fn unsubscribe_address(&self, address: &str);

    /// Tells the other servers of a fact.
    fn announce(&self, notice: Notice);

    /// Returns whether there can be clients at other servers.
    fn has_others(&self) -> bool;

    /// Returns whether the others can be reached now.
    fn is_up(&self) -> bool;

    /// Returns whether notices of the others may have been missed since the last call.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    fn was_interrupted(&self) -> bool {
        false
    }
}

/// The bus of a server that is alone.
pub(crate) struct NoBus;

impl Bus for NoBus {
    fn send<'a>(&'a self, _address: &'a str, _frame: Bytes) -> BoxFuture<'a, bool> {
        ready(false).boxed()
    }

    fn send_at_once<'a>(&'a self, _address: &'a str, _frame: Bytes) -> BoxFuture<'a, bool> {
        ready(false).boxed()
    }

    fn broadcast<'a>(&'a self, _workspace: &'a str, _frame: &'a Bytes) -> BoxFuture<'a, bool> {
        ready(false).boxed()
    }

    fn event(&self, _workspace: &str, _event: &dyn Fn() -> Option<Vec<u8>>) -> bool {
        false
    }

    fn subscribe_address<'a>(&'a self, _address: &'a str) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }

    fn unsubscribe_address(&self, _address: &str) {}

    fn announce(&self, _notice: Notice) {}

    fn has_others(&self) -> bool {
        false
    }

    fn is_up(&self) -> bool {
        true
    }
}
