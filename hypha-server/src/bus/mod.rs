//! Connects this server to the other servers of its cluster. A server without a cluster uses
//! [`NoBus`].
//!
//! The router uses [`Bus`] to send messages to clients that are not connected to this server. The
//! bus passes messages from other servers to a `Recipient`, which `state` implements.
//!
//! The bus holds no lock across an await. A method of [`Bus`] that returns no future never waits.
//! Such a method queues a command, or drops the command if the queue is full.

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

/// A notice that a server sends to all other servers.
///
/// Notices may be lost while Redis is unreachable. Afterwards, the server reads the revocations
/// from Redis. See [`Bus::was_interrupted`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Notice {
    /// A client has connected to the server that sends the notice. If another server has a
    /// connection with the same address, that server closes its connection.
    Taken {
        /// Address of the client.
        address: String,
    },
    /// A client has disconnected. Other servers notify the peers of this client that are connected
    /// to them.
    Left {
        /// Address of the client.
        address: String,
    },
    /// A probe. It asks whether a client has read the messages that were sent to it. The server to
    /// which the client is connected replies.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    Probe {
        /// Address of the client.
        address: String,
        /// Number of the probe.
        number: u64,
        /// Id of the server that sends the probe.
        server: String,
    },
    /// The reply to [`Probe`](Notice::Probe).
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    ProbeReply {
        /// Address of the client.
        address: String,
        /// Number of the probe.
        number: u64,
        /// Id of the server that has sent the probe.
        server: String,
        /// Whether the queue of the client is too full. If true, the server of the client will send
        /// another reply.
        held: bool,
    },
    /// A workspace was deleted. Every server disconnects its clients in this workspace.
    Unloaded {
        /// Id of the workspace.
        workspace: String,
    },
    /// A server has ended without removing its records. The server that sends the notice has
    /// removed these records.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    ServerLost {
        /// Id of the server.
        server: String,
    },
    /// A token was revoked.
    Revoked {
        /// The token, without `Bearer`.
        token: String,
        /// Time until which servers must store the revocation, in seconds since 1970.
        end: u64,
    },
}

/// Receives the messages and notices of other servers. Implemented by `State`.
///
/// The methods are not asynchronous, because a single task delivers the messages to all clients. If
/// this task waited for a slow client, it would delay all other clients.
#[cfg(feature = "redis")]
pub(crate) trait Recipient: Send + Sync {
    /// Returns whether a client with this address is connected here.
    fn is_connected(&self, address: &str) -> bool;

    /// Delivers a message to the client with this address. Does nothing if the client is not
    /// connected.
    fn message(&self, address: &str, frame: Bytes);

    /// Delivers a broadcast of a client to the subscribers of a workspace.
    fn broadcast(&self, workspace: &str, frame: Bytes);

    /// Delivers a system event to the subscribers of a workspace.
    fn event(&self, workspace: &str, event: serde_json::Value);

    /// Handles a notice of another server.
    fn notice(&self, notice: Notice);
}

/// Sends messages and notices to the other servers.
pub(crate) trait Bus: Send + Sync {
    /// Sends a message to the server to which the client `address` is connected. Returns false if
    /// there is no such server. Waits while the bytes in transit to the client exceed a limit. This
    /// slows the sender down to the speed of the client.
    fn send<'a>(&'a self, address: &'a str, frame: Bytes) -> BoxFuture<'a, bool>;

    /// Sends a message like [`send`](Self::send), but does not wait for a slow client. The server
    /// uses this method for its own messages.
    fn send_at_once<'a>(&'a self, address: &'a str, frame: Bytes) -> BoxFuture<'a, bool>;

    /// Sends a broadcast of a client to all servers, including this server. Waits while the size of
    /// the broadcasts that wait for Redis exceeds a limit. If there are no other servers, sends
    /// nothing and returns false. The caller must then deliver the broadcast itself.
    fn broadcast<'a>(&'a self, workspace: &'a str, frame: &'a Bytes) -> BoxFuture<'a, bool>;

    /// Sends an event to all servers, including this server. `event` encodes the event as JSON. If
    /// there are no other servers, sends nothing and returns false. The caller must then deliver
    /// the event itself.
    fn event(&self, workspace: &str, event: &dyn Fn() -> Option<Vec<u8>>) -> bool;

    /// Subscribes to messages for the client `address`. Completes when the subscription is active,
    /// or after a timeout if Redis does not respond.
    fn subscribe_address<'a>(&'a self, address: &'a str) -> BoxFuture<'a, ()>;

    /// Ends the subscription for the client `address`. Does nothing if a client with this address
    /// is connected to this server when the command runs.
    fn unsubscribe_address(&self, address: &str);

    /// Sends a notice to the other servers.
    fn announce(&self, notice: Notice);

    /// Returns whether this server belongs to a cluster, so that clients may be connected to other
    /// servers.
    fn has_others(&self) -> bool;

    /// Returns whether the other servers are reachable now.
    fn is_up(&self) -> bool;

    /// Returns the number of failures to connect, or to stay connected, since the other servers
    /// were last reachable.
    fn failures(&self) -> u64 {
        0
    }

    /// Returns whether this server may have missed notices of other servers since the last call of
    /// this method.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    fn was_interrupted(&self) -> bool {
        false
    }
}

/// The bus of a server without a cluster.
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
