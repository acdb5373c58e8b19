//! Functions and streams: values that live in a program and are named, not copied.
//!
//! On the wire they are maps of `_rtype` `method` and `generator`. Here they keep the connection they
//! came on, so that they can be used; those of this program get their name when a message with them
//! is sent.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Error as _, Serialize, Serializer};

use super::address::absolute;
use super::scope::{self, Origin};
use super::value::{Map, Value};
use crate::keys;

/// A connection, as far as values need to know one.
pub trait ConnectionRef: Any + Send + Sync {
    /// The last handle of something at a peer is gone, and it was neither used up nor passed on.
    fn abandoned(&self, remote: &RemoteHandle);

    /// Returns the connection as its own type.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// A function or a stream inside a [`Value`].
///
/// It is used as a `hypha_rpc::Function` or a `hypha_rpc::RemoteStream`, which
/// [`Value::decode_as`] makes of it.
#[derive(Clone)]
pub struct Handle(pub HandleKind);

/// Where a function or stream lives.
#[derive(Clone)]
pub enum HandleKind {
    /// Of this program; what it is knows the layer above.
    Local(Arc<dyn Any + Send + Sync>),
    /// Of a peer.
    Remote(Arc<RemoteHandle>),
}

/// A function or stream of a peer.
pub struct RemoteHandle {
    /// The map that stands for it on the wire, with an absolute address.
    pub raw: Map,
    /// The connection that it came on.
    pub home: Arc<dyn ConnectionRef>,
    /// The caller's session in which it was received, if it was an argument.
    pub parent: Option<String>,
    done: AtomicBool,
}

impl RemoteHandle {
    /// It has ended or was passed on: its owner need not be told when it is dropped here.
    pub fn set_done(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// Whether its owner need not be told.
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }
}

impl Drop for RemoteHandle {
    fn drop(&mut self) {
        if !self.is_done() {
            Arc::clone(&self.home).abandoned(self);
        }
    }
}

impl Handle {
    /// Creates a handle of something in this program.
    pub fn local<T: Any + Send + Sync>(object: Arc<T>) -> Self {
        Self(HandleKind::Local(object))
    }

    /// Reads a map of `_rtype` `method` or `generator`; gives other maps back, and all of them if
    /// nothing is known of where they come from.
    pub(super) fn from_map(mut map: Map) -> Result<Self, Map> {
        let known = matches!(
            map.get(keys::RTYPE).and_then(Value::as_str),
            Some("method" | "generator")
        );
        let Some(origin) = known.then(scope::origin).flatten() else {
            return Err(map);
        };
        let Origin { home, message } = origin;
        let workspace = message.from().and_then(|from| from.split_once('/'));
        if let (Some((workspace, _)), Some(Value::String(target))) =
            (workspace, map.get_mut(keys::RTARGET))
        {
            if let std::borrow::Cow::Owned(full) = absolute(target, workspace) {
                *target = full;
            }
        }
        Ok(Self(HandleKind::Remote(Arc::new(RemoteHandle {
            raw: map,
            home,
            parent: message.session().map(str::to_owned),
            done: AtomicBool::new(false),
        }))))
    }

    /// The same thing of a peer, known by another map.
    pub(super) fn edited(&self, edit: impl FnOnce(&mut Map)) -> Self {
        let HandleKind::Remote(remote) = &self.0 else {
            return self.clone();
        };
        let mut raw = remote.raw.clone();
        edit(&mut raw);
        // The one that is replaced must not end what it stands for.
        let done = AtomicBool::new(remote.done.swap(true, Ordering::Relaxed));
        Self(HandleKind::Remote(Arc::new(RemoteHandle {
            raw,
            home: Arc::clone(&remote.home),
            parent: remote.parent.clone(),
            done,
        })))
    }

    /// The connection of a peer's.
    pub fn home(&self) -> Option<Arc<dyn ConnectionRef>> {
        match &self.0 {
            HandleKind::Local(_) => None,
            HandleKind::Remote(remote) => Some(Arc::clone(&remote.home)),
        }
    }

    /// The caller's session in which a peer's was received, if it was an argument.
    pub fn parent(&self) -> Option<&str> {
        match &self.0 {
            HandleKind::Local(_) => None,
            HandleKind::Remote(remote) => remote.parent.as_deref(),
        }
    }

    /// What it is, if it is a `T` of this program.
    pub fn resident<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        match &self.0 {
            HandleKind::Local(object) => Arc::clone(object).downcast().ok(),
            HandleKind::Remote(_) => None,
        }
    }

    /// The map by which a peer's function is known; `None` for one of this program.
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

/// The same thing, not an equal one.
impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (HandleKind::Local(a), HandleKind::Local(b)) => Arc::ptr_eq(a, b),
            (HandleKind::Remote(a), HandleKind::Remote(b)) => a.raw == b.raw,
            _ => false,
        }
    }
}

/// Gives all functions in a service the public key of its owner.
pub fn give_key(members: &mut Map, key: Option<&bytes::Bytes>) {
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

/// Something that is not copied into the buffer of a message while the message is encoded.
#[derive(Clone, Debug)]
pub(super) enum Splice {
    /// The content of binary data, whose header is in the buffer.
    Bytes(bytes::Bytes),
    /// Is named when the message is finished.
    Handle(Handle),
}

/// Newtype name under which a [`Splice`] is handed to our encoder. What it wraps is for any other.
pub(super) const SPLICE: &str = "$hypha_rpc::splice";

/// Smaller binary data is copied: that is cheaper than to keep it apart.
pub(super) const SPLICED_BYTES: usize = 16 << 10;

thread_local! {
    /// What stands behind the newtype that is serialized next.
    static OFFER: RefCell<Option<Splice>> = const { RefCell::new(None) };
    /// Whether an encoder that takes splices is at work on this thread.
    static TAKING: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, splices are offered to the encoder.
pub(super) struct Taking(bool);

impl Taking {
    pub(super) fn begin() -> Self {
        Self(TAKING.replace(true))
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        TAKING.set(self.0);
        OFFER.take();
    }
}

/// What was offered with the newtype [`SPLICE`].
pub(super) fn offered() -> Option<Splice> {
    OFFER.take()
}

/// Serializes binary data, without a copy where that is possible.
pub(super) fn serialize_bytes<S: Serializer>(
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
                        "a function or stream of this program can only be sent in a call or a result",
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

/// Extension type that stands for something live in a value that has not left this program. A peer
/// may well use the same: only together with the mark of this process does it mean anything.
const RESIDENT: i8 = 0x48;

fn mark() -> &'static [u8; 16] {
    static MARK: OnceLock<[u8; 16]> = OnceLock::new();
    MARK.get_or_init(rand::random)
}

/// Writes what stands for the entry `index` of a table.
pub(super) fn put_resident(out: &mut Vec<u8>, index: usize) {
    let mut data = mark().to_vec();
    data.extend_from_slice(&(index as u64).to_be_bytes());
    super::pack::put_ext(out, RESIDENT, &data);
}

/// What an extension value stands for, if it stands for something live.
pub(super) fn resident(code: i8, data: &[u8]) -> Option<Handle> {
    if code != RESIDENT {
        return None;
    }
    let index: [u8; 8] = data.strip_prefix(mark())?.try_into().ok()?;
    scope::resident(usize::try_from(u64::from_be_bytes(index)).ok()?)
}
