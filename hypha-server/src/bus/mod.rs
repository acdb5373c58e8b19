//! The bus: the connection of a server to the other servers of its cluster. A server without a
//! cluster has [`NoBus`].
//!
//! Through [`Bus`], the router sends messages for clients that are not connected to this server.
//! The messages of other servers arrive at a `Recipient`, which `state` implements.
//!
//! The bus holds no lock across an await. Methods of [`Bus`] that return no future never wait: they
//! queue a command, or drop the command if the queue is full.

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

/// A notice of one server to all other servers.
///
/// Notices may be lost while Redis is unreachable. Revocations are read from Redis afterwards: see
/// [`Bus::was_interrupted`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Notice {
    /// A client is now connected to the announcing server. If another server holds a connection
    /// with this address, that server closes the connection.
    Taken {
        /// Address of the client.
        address: String,
    },
    /// A client has disconnected. Its partners may be connected to other servers. These servers
    /// notify the partners.
    Left {
        /// Address of the client.
        address: String,
    },
    /// A probe: asks the server of a client whether the client has read the messages sent to it.
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
        /// Whether the client's queue is too full. If true, another reply will follow.
        held: bool,
    },
    /// A workspace was deleted. Every server disconnects its clients in this workspace.
    Unloaded {
        /// Id of the workspace.
        workspace: String,
    },
    /// A server has ended without removing its records. The announcing server has removed these
    /// records.
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
        /// Time until which the revocation must be stored, in seconds since 1970.
        end: u64,
    },
}

/// Receives the messages and notices of other servers. Implemented by `State`.
///
/// The methods are not asynchronous, because one task delivers the messages for all clients:
/// waiting for a slow client would delay all other clients.
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
    /// Sends a message to the server to which the client with this address is connected. Returns
    /// false if there is no such server. Waits while the bytes in transit to the client exceed a
    /// limit, which slows the sender down to the client's pace.
    fn send<'a>(&'a self, address: &'a str, frame: Bytes) -> BoxFuture<'a, bool>;

    /// Sends a message like [`send`](Self::send), but does not wait for a slow client. Used for
    /// messages of the server itself.
    fn send_at_once<'a>(&'a self, address: &'a str, frame: Bytes) -> BoxFuture<'a, bool>;

    /// Sends a broadcast of a client to all servers, including this server. Waits while the
    /// broadcasts that wait for Redis exceed a limit on bytes. Returns false and sends nothing if
    /// there are no other servers: the caller then delivers the broadcast itself.
    fn broadcast<'a>(&'a self, workspace: &'a str, frame: &'a Bytes) -> BoxFuture<'a, bool>;

    /// Sends an event, which `event` encodes as JSON, to all servers, including this server.
    /// Returns false and sends nothing if there are no other servers: the caller then delivers the
    /// event itself.
    fn event(&self, workspace: &str, event: &dyn Fn() -> Option<Vec<u8>>) -> bool;

    /// Subscribes to messages for this address. Completes when the subscription is active, or after
    /// a timeout if Redis does not respond.
    fn subscribe_address<'a>(&'a self, address: &'a str) -> BoxFuture<'a, ()>;

    /// Ends the subscription for this address. Does nothing if a client with the address has
    /// connected here before the command runs.
    fn unsubscribe_address(&self, address: &str);

    /// Sends a notice to the other servers.
    fn announce(&self, notice: Notice);

    /// Returns whether clients may be connected to other servers.
    fn has_others(&self) -> bool;

    /// Returns whether the other servers are reachable now.
    fn is_up(&self) -> bool;

    /// Returns whether notices of other servers may have been missed since the last call.
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
