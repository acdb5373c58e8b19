//! [`Handle`]: functions and streams as values. They stay in the process of their owner; messages
//! contain references to them.
//!
//! On the wire they are maps with the `_rtype` `method` or `generator`. A received handle keeps its
//! connection, so that it can be called. A local handle gets its map when a message that contains
//! it is finished.
//!
//! The owner of a function keeps it until all receivers have released it. Therefore a received
//! handle notifies its connection when its last clone is dropped, and the connection sends the
//! release.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Map, Value};
use crate::keys;

/// Connection of a received handle. Implemented by `hypha-rpc`, because this crate has no I/O.
pub trait ConnectionRef: Any + Send + Sync {
    /// Called when the last clone of a received handle is dropped, unless the function or stream
    /// has ended or was passed on.
    ///
    /// Called in a destructor, on any thread, so it must neither block nor panic.
    fn handle_dropped(&self, remote: &RemoteHandle);

    /// Returns the connection as `Any`, for a downcast to its type.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// Function or stream inside a [`Value`].
///
/// Use [`Value::decode_as`] to convert it to a `hypha_rpc::Function` or a
/// `hypha_rpc::RemoteStream`.
#[derive(Clone)]
pub struct Handle(pub HandleKind);

/// Owner of a function or stream.
#[derive(Clone)]
pub enum HandleKind {
    /// This process owns it: an object of a type that only `hypha-rpc` knows.
    Local(Arc<dyn Any + Send + Sync>),
    /// A peer owns it.
    Remote(Arc<RemoteHandle>),
}

impl fmt::Debug for HandleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandleKind::Local(_) => f.write_str("Local"),
            HandleKind::Remote(remote) => f.debug_tuple("Remote").field(remote).finish(),
        }
    }
}

/// Function or stream of a peer.
pub struct RemoteHandle {
    /// Map of the function or stream on the wire, with an absolute address as `_rtarget`.
    pub raw: Map,
    /// Connection on which the handle was received.
    pub connection: Arc<dyn ConnectionRef>,
    /// Session of the call that had the handle as an argument. `None` for a handle in a result.
    pub parent: Option<String>,
    /// Whether the owner needs no release when the handle is dropped. Relaxed is enough, because
    /// the flag guards no other data, and `Arc` orders the last drop after all other uses.
    done: AtomicBool,
}

impl fmt::Debug for RemoteHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteHandle")
            .field("raw", &self.raw)
            .field("parent", &self.parent)
            .finish_non_exhaustive()
    }
}

impl RemoteHandle {
    /// Creates the handle for a map that was received on a connection.
    pub(crate) fn new(
        raw: Map,
        connection: Arc<dyn ConnectionRef>,
        parent: Option<String>,
    ) -> Self {
        Self {
            raw,
            connection,
            parent,
            done: AtomicBool::new(false),
        }
    }

    /// Marks the handle as ended or passed on, so that its owner gets no release when the handle is
    /// dropped.
    pub fn mark_released(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// Returns whether the handle was marked as ended or passed on.
    pub fn is_released(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }
}

impl Drop for RemoteHandle {
    fn drop(&mut self) {
        if !self.is_released() {
            // The clone keeps the connection alive until `handle_dropped` returns.
            Arc::clone(&self.connection).handle_dropped(self);
        }
    }
}

impl Handle {
    /// Creates a handle of an object that this process owns.
    pub fn local<T: Any + Send + Sync>(object: Arc<T>) -> Self {
        Self(HandleKind::Local(object))
    }

    /// Returns a handle of the same function or stream, with an edited map. Returns local handles
    /// unchanged.
    pub(crate) fn edited(&self, edit: impl FnOnce(&mut Map)) -> Self {
        let HandleKind::Remote(remote) = &self.0 else {
            return self.clone();
        };
        let mut raw = remote.raw.clone();
        edit(&mut raw);
        // The edited handle takes over the duty to release. Otherwise dropping the original would
        // release a function that is still in use.
        let done = AtomicBool::new(remote.done.swap(true, Ordering::Relaxed));
        Self(HandleKind::Remote(Arc::new(RemoteHandle {
            raw,
            connection: Arc::clone(&remote.connection),
            parent: remote.parent.clone(),
            done,
        })))
    }

    /// Returns the connection of a received handle, or `None` for a local handle.
    #[must_use]
    pub fn connection(&self) -> Option<Arc<dyn ConnectionRef>> {
        match &self.0 {
            HandleKind::Local(_) => None,
            HandleKind::Remote(remote) => Some(Arc::clone(&remote.connection)),
        }
    }

    /// Returns the session of the call that had the handle as an argument. `None` for a local
    /// handle, and for a handle in a result.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        match &self.0 {
            HandleKind::Local(_) => None,
            HandleKind::Remote(remote) => remote.parent.as_deref(),
        }
    }

    /// Returns the object of a local handle, if its type is `T`.
    #[must_use]
    pub fn downcast_local<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        match &self.0 {
            HandleKind::Local(object) => Arc::clone(object).downcast().ok(),
            HandleKind::Remote(_) => None,
        }
    }

    /// Returns the map of a received handle. Returns `None` for a local handle, which does not have
    /// a map yet.
    #[must_use]
    pub fn raw(&self) -> Option<&Map> {
        match &self.0 {
            HandleKind::Local(_) => None,
            HandleKind::Remote(remote) => Some(&remote.raw),
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            HandleKind::Local(_) => f.write_str("Handle(of this program)"),
            HandleKind::Remote(remote) => f.debug_tuple("Handle").field(&remote.raw).finish(),
        }
    }
}

/// Local handles are equal if they refer to the same object. Received handles are equal if their
/// maps are equal.
impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (HandleKind::Local(a), HandleKind::Local(b)) => Arc::ptr_eq(a, b),
            (HandleKind::Remote(a), HandleKind::Remote(b)) => a.raw == b.raw,
            _ => false,
        }
    }
}

/// Sets the public key of the owner in all functions of a fetched service, so that their calls are
/// encrypted. If `key` is `None`, `members` stays unchanged.
pub fn set_encryption_key(members: &mut Map, key: Option<&bytes::Bytes>) {
    fn visit(value: &mut Value, key: &bytes::Bytes) {
        match value {
            Value::Handle(handle) => {
                *handle = handle.edited(|raw| {
                    raw.insert(keys::RENC_PUB.into(), Value::Bytes(key.clone()));
                });
            }
            Value::Map(map) => map.values_mut().for_each(|value| visit(value, key)),
            Value::List(items) => items.iter_mut().for_each(|value| visit(value, key)),
            _ => {}
        }
    }
    if let Some(key) = key {
        members.values_mut().for_each(|value| visit(value, key));
    }
}
