//! The bus: the connection of a server to the other servers of its cluster. A server that is alone
//! has [`NoBus`].
//!
//! The router sends messages for clients that are not connected here through [`Bus`]. The messages
//! of other servers arrive at a `Recipient`, which `state` implements.
//!
//! The bus holds no lock across an await. Methods of [`Bus`] that return no future never wait: they
//! queue a command, or drop it if too many commands wait.

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

/// A notice of one server to all others.
///
/// Notices may be lost while Redis is not reachable. Revocations are read from Redis afterwards:
/// see [`Bus::was_interrupted`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Notice {
    /// A client is connected to the announcing server now. Another server that holds a connection
    /// with this address closes it.
    Taken {
        /// Address of the client.
        address: String,
    },
    /// A client is gone. Partners of it may be connected to other servers, which notify them.
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
    /// The answer to [`Asked`](Notice::Asked).
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
        /// Too much waits for the client. Another answer will follow.
        held: bool,
    },
    /// A workspace was deleted. Every server disconnects its clients in it.
    Unloaded {
        /// Id of the workspace.
        workspace: String,
    },
    /// A server has ended without removing its records. The announcing server has removed them.
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
        /// Time until which the revocation counts, in seconds since 1970.
        end: u64,
    },
}

/// Receives the messages and notices of other servers. Implemented by `State`.
///
/// The methods are not asynchronous, because one task delivers the messages for all clients: a slow
/// client must not hold up the others.
#[cfg(feature = "redis")]
pub(crate) trait Recipient: Send + Sync {
    /// Returns whether a client with this address is connected here.
    fn is_connected(&self, address: &str) -> bool;

    /// Delivers a message to the client with this address. Does nothing if it is not connected.
    fn message(&self, address: &str, frame: Bytes);

    /// Delivers a broadcast of a client to the subscribers in a workspace.
    fn broadcast(&self, workspace: &str, frame: Bytes);

    /// Delivers a system event to the subscribers in a workspace.
    fn event(&self, workspace: &str, event: serde_json::Value);

    /// Acts on a notice of another server.
    fn notice(&self, notice: Notice);
}

/// Sends to the other servers.
pub(crate) trait Bus: Send + Sync {
    /// Sends a message to the server to which the client with this address is connected. Returns
    /// false if there is none. Waits while too many bytes are on their way to the client, which
    /// slows the sender down to the pace of the client.
    fn send<'a>(&'a self, address: &'a str, frame: Bytes) -> BoxFuture<'a, bool>;

    /// Sends a message like [`send`](Self::send), without waiting for a slow client. For messages
    /// of the server itself.
    fn send_at_once<'a>(&'a self, address: &'a str, frame: Bytes) -> BoxFuture<'a, bool>;

    /// Sends a broadcast of a client to all servers, this one included. Waits while too many bytes
    /// of broadcasts wait for Redis. Returns false without doing anything if there are no other
    /// servers: the caller then delivers the broadcast itself.
    fn broadcast<'a>(&'a self, workspace: &'a str, frame: &'a Bytes) -> BoxFuture<'a, bool>;

    /// Sends an event, which `event` encodes as JSON, to all servers, this one included. Returns
    /// false without doing anything if there are no other servers: the caller then delivers the
    /// event itself.
    fn event(&self, workspace: &str, event: &dyn Fn() -> Option<Vec<u8>>) -> bool;

    /// Subscribes to messages for this address. Completes when the subscription is in place, or
    /// after a timeout if Redis does not answer.
    fn subscribe_address<'a>(&'a self, address: &'a str) -> BoxFuture<'a, ()>;

    /// Ends the subscription for this address. Does nothing if a client with the address has
    /// connected here before the command is executed.
    fn unsubscribe_address(&self, address: &str);

    /// Sends a notice to the other servers.
    fn announce(&self, notice: Notice);

    /// Returns whether clients may be connected to other servers.
    fn has_others(&self) -> bool;

    /// Returns whether the other servers can be reached now.
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
