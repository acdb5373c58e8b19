//! Stores the context of the value that is being decoded on this thread. The context contains the
//! frame that holds the bytes of the value, and the origin of functions and streams.
//!
//! The context is a thread-local, because serde passes no context to the types that it decodes. The
//! entry points of the decoder set the context with a [`Scope`]. Types that share bytes, and
//! handles, read the context. Decoding a value never awaits, so a context is only used on its own
//! thread.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use super::handles;
use super::value::{ConnectionRef, Handle, Map, RemoteHandle, Value};
use crate::address::absolute_address;
use crate::keys;

/// Origin of a value. Contains everything needed to call the functions in the value.
#[derive(Clone)]
pub struct Origin {
    /// Connection on which the message was received.
    pub connection: Arc<dyn ConnectionRef>,
    /// Address of the sender, as UTF-8. Empty if the message has no sender.
    sender: bytes::Bytes,
    /// Session of the caller, as UTF-8. Empty if the message has no session.
    session: bytes::Bytes,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("sender", &self.sender)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl Origin {
    /// Creates an origin from slices of the message. A string is copied only when a handle is
    /// decoded.
    pub(crate) fn new(
        connection: Arc<dyn ConnectionRef>,
        sender: bytes::Bytes,
        session: bytes::Bytes,
    ) -> Self {
        Self {
            connection,
            sender,
            session,
        }
    }

    /// Returns the workspace of the sender.
    pub(crate) fn workspace(&self) -> Option<&str> {
        let sender = std::str::from_utf8(&self.sender).ok()?;
        sender.split_once('/').map(|(workspace, _)| workspace)
    }

    /// Returns the session of the caller.
    pub(crate) fn session(&self) -> Option<&str> {
        let session = std::str::from_utf8(&self.session).ok()?;
        Some(session).filter(|session| !session.is_empty())
    }

    /// Returns the handle for a map. The map was received from this origin.
    fn handle(self, mut map: Map) -> Handle {
        if let (Some(workspace), Some(Value::String(target))) =
            (self.workspace(), map.get_mut(keys::RTARGET))
        {
            if let std::borrow::Cow::Owned(full) = absolute_address(target, workspace) {
                *target = full;
            }
        }
        let parent = self.session().map(str::to_owned);
        let remote = RemoteHandle::new(map, self.connection, parent);
        handles::share(remote)
    }
}

/// Context of the value that is being decoded.
#[derive(Clone)]
pub(crate) struct DecodeContext {
    /// Buffer that is being decoded. The bytes in the value become slices of this buffer.
    frame: bytes::Bytes,
    /// Origin of functions and streams. `None` if the value was not received.
    origin: Option<Origin>,
    /// Handles in the value. Empty if a peer has sent the value.
    table: Arc<[Handle]>,
    /// Memory limit in bytes for a part of the value. The limit applies if a `Deserialize`
    /// implementation decodes that part with [`from_slice`](crate::from_slice).
    limit: usize,
}

thread_local! {
    static CURRENT: RefCell<Option<DecodeContext>> = const { RefCell::new(None) };
}

/// Returns the table of a value without handles. All such values share one table, so that decoding
/// does not allocate a table.
pub(crate) fn no_handles() -> &'static Arc<[Handle]> {
    static EMPTY: LazyLock<Arc<[Handle]>> = LazyLock::new(Arc::default);
    &EMPTY
}

/// Guard of the current context. Dropping the guard restores the previous context, because a
/// `Deserialize` implementation may decode another value in between, and may panic.
pub(crate) struct Scope(Option<DecodeContext>);

impl Scope {
    /// Sets the context. The context stays set until the guard is dropped.
    pub(crate) fn enter(
        frame: &bytes::Bytes,
        origin: Option<&Origin>,
        table: &Arc<[Handle]>,
        limit: usize,
    ) -> Self {
        Self(CURRENT.replace(Some(DecodeContext {
            frame: frame.clone(),
            origin: origin.cloned(),
            table: Arc::clone(table),
            limit,
        })))
    }

    /// Sets another frame and keeps the origin, to decode a part of a value from another buffer.
    /// Also returns the smaller of `limit` and the limit of the whole value. Otherwise a peer could
    /// exceed the limit of the whole value with nested values.
    pub(crate) fn inside(frame: &bytes::Bytes, limit: usize) -> (Self, usize) {
        let outer = CURRENT.with_borrow(Clone::clone);
        let outer = outer.unwrap_or_else(|| DecodeContext {
            frame: bytes::Bytes::new(),
            origin: None,
            table: Arc::clone(no_handles()),
            limit,
        });
        let limit = outer.limit.min(limit);
        let scope = Self(CURRENT.replace(Some(DecodeContext {
            frame: frame.clone(),
            limit,
            ..outer
        })));
        (scope, limit)
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Returns `slice` as shared bytes. Copies `slice` only if it is outside the current frame.
pub(crate) fn share(slice: &[u8]) -> bytes::Bytes {
    CURRENT.with_borrow(|current| match current {
        Some(DecodeContext { frame, .. }) if lies_in(slice, frame) => frame.slice_ref(slice),
        _ => bytes::Bytes::copy_from_slice(slice),
    })
}

/// Returns whether `slice` is inside the memory of `frame`. Compares only the addresses.
fn lies_in(slice: &[u8], frame: &[u8]) -> bool {
    let (slice, frame) = (slice.as_ptr_range(), frame.as_ptr_range());
    frame.start <= slice.start && slice.end <= frame.end
}

/// Returns the handle for a received map with the `_rtype` `method` or `generator`.
///
/// Returns the map unchanged as `Err` if the map has another `_rtype`. Does the same if the value
/// has no origin, because the function could not be called.
pub(crate) fn handle_of(map: Map) -> Result<Handle, Map> {
    let rtype = map.get(keys::RTYPE).and_then(Value::as_str);
    if !matches!(rtype, Some("method" | "generator")) {
        return Err(map);
    }
    let origin = CURRENT.with_borrow(|current| current.as_ref()?.origin.clone());
    match origin {
        Some(origin) => Ok(origin.handle(map)),
        None => Err(map),
    }
}

/// Type byte of the extension value that represents a handle in a value that has not left this
/// process. The extension value contains the random bytes of [`process_mark`] and an index into the
/// table of the context. Peers may also send this type byte, so the decoder accepts only extension
/// values with these random bytes. Otherwise a peer could use the functions of this program by
/// their index.
const TABLE_HANDLE: i8 = 0x48;

/// Returns random bytes that identify this process. No peer knows these bytes.
fn process_mark() -> &'static [u8; 16] {
    static MARK: OnceLock<[u8; 16]> = OnceLock::new();
    MARK.get_or_init(rand::random)
}

/// Writes the extension value for the handle at `index` in the table.
pub(crate) fn put_table_handle(out: &mut Vec<u8>, index: usize) {
    let mut data = process_mark().to_vec();
    data.extend_from_slice(&(index as u64).to_be_bytes());
    crate::pack::put_ext(out, TABLE_HANDLE, &data);
}

/// Returns the handle that an extension value represents. Returns `None` for any other value.
pub(crate) fn table_handle(code: i8, data: &[u8]) -> Option<Handle> {
    if code != TABLE_HANDLE {
        return None;
    }
    let index: [u8; 8] = data.strip_prefix(process_mark())?.try_into().ok()?;
    let index = usize::try_from(u64::from_be_bytes(index)).ok()?;
    CURRENT.with_borrow(|current| current.as_ref()?.table.get(index).cloned())
}
