//! Defines [`Handle`], which represents a function or stream in a value. The function or stream
//! stays in the process of its owner, and messages contain only references.
//!
//! On the wire, a handle is a map with the `_rtype` `method` or `generator`. A received handle
//! stores its connection, so that a program can call the function. For a local handle, the map is
//! created when a message that contains the handle is finished.
//!
//! The owner of a function keeps the function until all receivers have released it. Therefore, when
//! the last clone of a received handle is dropped, the handle notifies its connection. The
//! connection then sends the release.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Map, Value};
use crate::keys;

/// Connection on which a handle was received. `hypha-rpc` implements this trait, because this crate
/// has no I/O.
pub trait ConnectionRef: Any + Send + Sync {
    /// Notifies the connection that the last clone of a received handle was dropped. Not called if
    /// [`RemoteHandle::is_released`] returns true.
    ///
    /// A destructor calls this method on any thread, so the method must neither block nor panic.
    fn handle_dropped(&self, remote: &RemoteHandle);

    /// Returns the connection as `Any`, for a downcast to its type.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// Function or stream inside a [`Value`].
///
/// To convert a handle to a `hypha_rpc::Function` or a `hypha_rpc::RemoteStream`, use
/// [`Value::decode_as`].
#[derive(Clone)]
pub struct Handle(pub HandleKind);

/// Owner of a function or stream.
#[derive(Clone)]
pub enum HandleKind {
    /// This process owns the function or stream. The content is an object of a type that only
    /// `hypha-rpc` knows.
    Local(Arc<dyn Any + Send + Sync>),
    /// A peer owns the function or stream.
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

/// Function or stream that a peer owns.
pub struct RemoteHandle {
    /// Map of the function or stream on the wire. The `_rtarget` in the map is an absolute address.
    pub raw: Map,
    /// Connection on which the handle was received.
    pub connection: Arc<dyn ConnectionRef>,
    /// Session of the call that passed the handle as an argument. `None` for a handle in a result.
    pub parent: Option<String>,
    /// Whether no release must be sent when the handle is dropped. Relaxed ordering suffices,
    /// because the flag guards no other data, and `Arc` orders the last drop after all other uses.
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
    /// Creates the handle for a map that was received on this connection.
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

    /// Marks the handle, so that no release is sent to the owner when the handle is dropped. Call
    /// this method if the function or stream has ended, or if the handle was passed on.
    pub fn mark_released(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// Returns whether no release must be sent when the handle is dropped.
    pub fn is_released(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }
}

impl Drop for RemoteHandle {
    fn drop(&mut self) {
        if !self.is_released() {
            // The clone of the `Arc` keeps the connection alive until `handle_dropped` returns.
            Arc::clone(&self.connection).handle_dropped(self);
        }
    }
}

impl Handle {
    /// Returns whether this is a handle of the same function or stream, from the same message.
    pub(crate) fn is_of(&self, other: &RemoteHandle) -> bool {
        let HandleKind::Remote(remote) = &self.0 else {
            return false;
        };
        let address = |remote: &RemoteHandle| Arc::as_ptr(&remote.connection).cast::<()>();
        address(remote) == address(other)
            && remote.parent == other.parent
            && remote.raw == other.raw
    }

    /// Creates a handle of an object that this process owns.
    pub fn local<T: Any + Send + Sync>(object: Arc<T>) -> Self {
        Self(HandleKind::Local(object))
    }

    /// Returns a handle of the same function or stream, with an edited map. Returns a local handle
    /// unchanged.
    pub(crate) fn edited(&self, edit: impl FnOnce(&mut Map)) -> Self {
        let HandleKind::Remote(remote) = &self.0 else {
            return self.clone();
        };
        let mut raw = remote.raw.clone();
        edit(&mut raw);
        // From now on, only the edited handle sends the release. Otherwise dropping the original
        // handle would release a function that is still in use.
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

    /// Returns the session of the call that passed the handle as an argument. Returns `None` for a
    /// local handle, and for a handle in a result.
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

    /// Returns the map of a received handle. Returns `None` for a local handle, because a local
    /// handle has no map yet.
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

/// Sets the public key of the owner in all functions of a fetched service, so that calls of these
/// functions are encrypted. If `key` is `None`, `members` stays unchanged.
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
