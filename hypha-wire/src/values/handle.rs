//! [`Handle`]: functions and streams, which stay in their process and are referenced, not copied.
//!
//! On the wire they are maps of `_rtype` `method` and `generator`. A received handle keeps its
//! connection, so that it can be called. A local handle gets its map when a message that contains
//! it is finished.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Error as _, Serialize, Serializer};

use super::scope;
use super::value::{Map, Value};
use crate::address::absolute_address;
use crate::keys;

/// Connection that a received handle keeps.
pub trait ConnectionRef: Any + Send + Sync {
    /// Called when the last clone of a received handle is dropped, unless it has ended or was
    /// passed on.
    fn handle_dropped(&self, remote: &RemoteHandle);

    /// Returns the connection as `Any`, for a downcast to its type.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// Function or stream inside a [`Value`].
///
/// Use [`Value::decode_as`] to convert it into a `hypha_rpc::Function` or a
/// `hypha_rpc::RemoteStream`.
#[derive(Clone)]
pub struct Handle(pub HandleKind);

/// Location of a function or stream.
#[derive(Clone)]
pub enum HandleKind {
    /// In this process: an object whose type only `hypha-rpc` knows.
    Local(Arc<dyn Any + Send + Sync>),
    /// At a peer.
    Remote(Arc<RemoteHandle>),
}

/// Function or stream of a peer.
pub struct RemoteHandle {
    /// Map by which it is known on the wire, with an absolute address.
    pub raw: Map,
    /// Connection on which it was received.
    pub connection: Arc<dyn ConnectionRef>,
    /// Session of the call in which it was received as an argument.
    pub parent: Option<String>,
    /// Whether dropping it needs no message to its owner.
    done: AtomicBool,
}

impl RemoteHandle {
    /// Marks it as ended or passed on: its owner gets no message when it is dropped.
    pub fn mark_released(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// Returns whether it has ended or was passed on.
    pub fn is_released(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }
}

impl Drop for RemoteHandle {
    fn drop(&mut self) {
        if !self.is_released() {
            Arc::clone(&self.connection).handle_dropped(self);
        }
    }
}

impl Handle {
    /// Creates a handle of an object in this process.
    pub fn local<T: Any + Send + Sync>(object: Arc<T>) -> Self {
        Self(HandleKind::Local(object))
    }

    /// Creates a handle from a map of `_rtype` `method` or `generator`. Returns other maps
    /// unchanged, and every map if the value that is decoded has no origin.
    pub(crate) fn from_map(mut map: Map) -> Result<Self, Map> {
        let known = matches!(
            map.get(keys::RTYPE).and_then(Value::as_str),
            Some("method" | "generator")
        );
        let Some(origin) = known.then(scope::current_origin).flatten() else {
            return Err(map);
        };
        if let (Some(workspace), Some(Value::String(target))) =
            (origin.workspace(), map.get_mut(keys::RTARGET))
        {
            if let std::borrow::Cow::Owned(full) = absolute_address(target, workspace) {
                *target = full;
            }
        }
        Ok(Self(HandleKind::Remote(Arc::new(RemoteHandle {
            raw: map,
            parent: origin.session().map(str::to_owned),
            connection: origin.connection,
            done: AtomicBool::new(false),
        }))))
    }

    /// Returns a handle of the same function or stream with an edited map. Returns local handles
    /// unchanged.
    pub(crate) fn edited(&self, edit: impl FnOnce(&mut Map)) -> Self {
        let HandleKind::Remote(remote) = &self.0 else {
            return self.clone();
        };
        let mut raw = remote.raw.clone();
        edit(&mut raw);
        // The replaced handle is dropped, and must not release the function at its owner.
        let done = AtomicBool::new(remote.done.swap(true, Ordering::Relaxed));
        Self(HandleKind::Remote(Arc::new(RemoteHandle {
            raw,
            connection: Arc::clone(&remote.connection),
            parent: remote.parent.clone(),
            done,
        })))
    }

    /// Returns the connection of a received handle, or `None` for a local one.
    pub fn connection(&self) -> Option<Arc<dyn ConnectionRef>> {
        match &self.0 {
            HandleKind::Local(_) => None,
            HandleKind::Remote(remote) => Some(Arc::clone(&remote.connection)),
        }
    }

    /// Returns the session of the call in which a handle was received as an argument.
    pub fn parent(&self) -> Option<&str> {
        match &self.0 {
            HandleKind::Local(_) => None,
            HandleKind::Remote(remote) => remote.parent.as_deref(),
        }
    }

    /// Returns the object of a local handle, if it is a `T`.
    pub fn downcast_local<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        match &self.0 {
            HandleKind::Local(object) => Arc::clone(object).downcast().ok(),
            HandleKind::Remote(_) => None,
        }
    }

    /// Returns the map of a received handle, or `None` for a local one.
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

/// Local handles are equal if they are of the same object, received ones if their maps are equal.
impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (HandleKind::Local(a), HandleKind::Local(b)) => Arc::ptr_eq(a, b),
            (HandleKind::Remote(a), HandleKind::Remote(b)) => a.raw == b.raw,
            _ => false,
        }
    }
}

/// Sets the public key of the owner on all functions of a service, so that calls of them are
/// encrypted.
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

/// Content that is kept apart from the buffer while a message is encoded.
#[derive(Clone, Debug)]
pub(crate) enum Splice {
    /// Content of binary data, whose header is in the buffer.
    Bytes(bytes::Bytes),
    /// Handle, which gets its name when the message is finished.
    Handle(Handle),
}

/// Name of the newtype that announces a [`Splice`] to the encoder of this crate. Other serializers
/// write its content.
pub(crate) const SPLICE: &str = "$hypha_rpc::splice";

/// Smallest binary data that is spliced, in bytes. Copying shorter data is cheaper.
pub(crate) const SPLICED_BYTES: usize = 16 << 10;

thread_local! {
    /// Splice of the newtype that is serialized next: serde passes only serializable data to a
    /// serializer.
    static OFFER: RefCell<Option<Splice>> = const { RefCell::new(None) };
    /// Whether an encoder that takes splices is running on this thread.
    static TAKING: Cell<bool> = const { Cell::new(false) };
}

/// Guard of an encoder that takes splices.
pub(crate) struct Taking(bool);

impl Taking {
    /// Makes the types of this crate offer splices until the guard is dropped.
    pub(crate) fn begin() -> Self {
        Self(TAKING.replace(true))
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        TAKING.set(self.0);
        OFFER.take();
    }
}

/// Takes the splice of the newtype [`SPLICE`].
pub(crate) fn offered() -> Option<Splice> {
    OFFER.take()
}

/// Serializes binary data, without a copy if it is large and the encoder takes splices.
pub(crate) fn serialize_bytes<S: Serializer>(
    bytes: &bytes::Bytes,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    struct Plain<'a>(&'a [u8]);
    impl Serialize for Plain<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }
    if bytes.len() < SPLICED_BYTES || !TAKING.get() {
        return serializer.serialize_bytes(bytes);
    }
    OFFER.set(Some(Splice::Bytes(bytes.clone())));
    serializer.serialize_newtype_struct(SPLICE, &Plain(bytes))
}

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Raw<'a>(&'a Handle);
        impl Serialize for Raw<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self.0.raw() {
                    Some(raw) => serializer.collect_map(raw),
                    None => Err(S::Error::custom(
                        "a function or stream of this program can only be sent in a call or a \
                         result",
                    )),
                }
            }
        }
        if TAKING.get() {
            OFFER.set(Some(Splice::Handle(self.clone())));
        }
        serializer.serialize_newtype_struct(SPLICE, &Raw(self))
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Handle(handle) => Ok(handle),
            other => Err(de::Error::custom(format_args!(
                "expected a function or a stream, got {}",
                other.kind()
            ))),
        }
    }
}

/// Extension type of a handle in a value that has not left this process: an index into the table of
/// the scope. Peers may use the type for themselves, so only values with the mark of this process
/// are handles.
const TABLE_HANDLE: i8 = 0x48;

/// Returns the random mark of this process, which no peer knows.
fn process_mark() -> &'static [u8; 16] {
    static MARK: OnceLock<[u8; 16]> = OnceLock::new();
    MARK.get_or_init(rand::random)
}

/// Writes the extension value of the handle at `index` of the table.
pub(crate) fn put_table_handle(out: &mut Vec<u8>, index: usize) {
    let mut data = process_mark().to_vec();
    data.extend_from_slice(&(index as u64).to_be_bytes());
    crate::pack::put_ext(out, TABLE_HANDLE, &data);
}

/// Returns the handle of an extension value, or `None` for any other value.
pub(crate) fn table_handle(code: i8, data: &[u8]) -> Option<Handle> {
    if code != TABLE_HANDLE {
        return None;
    }
    let index: [u8; 8] = data.strip_prefix(process_mark())?.try_into().ok()?;
    scope::table_handle(usize::try_from(u64::from_be_bytes(index)).ok()?)
}
