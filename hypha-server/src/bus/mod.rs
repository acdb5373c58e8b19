//! What the servers of a cluster tell each other. A server that is alone tells nobody.

#[cfg(feature = "redis")]
mod redis;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

#[cfg(feature = "redis")]
pub(crate) use self::redis::{RedisBus, Started};

/// Something that every server should know at once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Notice {
    /// A client is connected to the server that says so, wherever it was before.
    Taken {
        /// Its address.
        address: String,
    },
    /// Everybody has to leave a workspace.
    Unloaded {
        /// Its id.
        workspace: String,
    },
    /// A token is good no longer.
    Revoked {
        /// The token.
        token: String,
        /// When it would have ended, in seconds since 1970.
        end: u64,
    },
}

/// The way to the other servers.
pub(crate) trait Bus: Send + Sync {
    /// Hand a message to whichever server has the peer with this address; false if none has.
    fn send<'a>(&'a self, address: &'a str, frame: Bytes) -> BoxFuture<'a, bool>;

    /// Hand a client's broadcast to all servers, this one included. False if there are no others: then
    /// nothing was done.
    fn broadcast(&self, workspace: &str, frame: &Bytes) -> bool;

    /// Hand an event, which is JSON, to all servers, this one included. False if there are no others.
    fn event(&self, workspace: &str, event: &dyn Fn() -> Option<Vec<u8>>) -> bool;

    /// Messages for this address come here from now on. Done when that is so.
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, ()>;

    /// And no longer, if nobody has the address then.
    fn unlisten(&self, address: &str);

    /// Tell the other servers.
    fn announce(&self, notice: Notice);

    /// Whether the others can be reached now.
    fn is_up(&self) -> bool;
}

/// The bus of a server that is alone.
pub(crate) struct NoBus;

impl Bus for NoBus {
    fn send<'a>(&'a self, _address: &'a str, _frame: Bytes) -> BoxFuture<'a, bool> {
        ready(false).boxed()
    }

    fn broadcast(&self, _workspace: &str, _frame: &Bytes) -> bool {
        false
    }

    fn event(&self, _workspace: &str, _event: &dyn Fn() -> Option<Vec<u8>>) -> bool {
        false
    }

    fn listen<'a>(&'a self, _address: &'a str) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }

    fn unlisten(&self, _address: &str) {}

    fn announce(&self, _notice: Notice) {}

    fn is_up(&self) -> bool {
        true
    }
}
