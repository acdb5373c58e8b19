//! What decoding on this thread may refer to: the frame that bytes are slices of, and where the
//! functions and streams in it come from.
//!
//! It is kept beside the decoder and not handed through it, because types that hold bytes or
//! functions are decoded by serde, which passes nothing on.

use std::cell::RefCell;
use std::sync::Arc;

use super::handle::{ConnectionRef, Handle};
use super::message::Message;

/// Where a value comes from: what is needed to call the functions in it.
#[derive(Clone)]
pub struct Origin {
    /// The connection on which the message came.
    pub home: Arc<dyn ConnectionRef>,
    /// The message.
    pub message: Message,
}

/// The surroundings of the value that is decoded.
#[derive(Clone, Default)]
pub(super) struct Surroundings {
    frame: bytes::Bytes,
    origin: Option<Origin>,
    /// What stands in a value that has not left this program.
    table: Arc<[Handle]>,
}

thread_local! {
    static CURRENT: RefCell<Option<Surroundings>> = const { RefCell::new(None) };
}

/// While it lives, these are the surroundings. Those before are restored on drop, also when decoding
/// panics in a user's code.
pub(super) struct Scope(Option<Surroundings>);

impl Scope {
    pub(super) fn enter(
        frame: &bytes::Bytes,
        origin: Option<&Origin>,
        table: &Arc<[Handle]>,
    ) -> Self {
        Self(CURRENT.replace(Some(Surroundings {
            frame: frame.clone(),
            origin: origin.cloned(),
            table: Arc::clone(table),
        })))
    }

    /// Around a part that is decoded from another buffer, whose functions come from the same place.
    pub(super) fn inside(frame: &bytes::Bytes) -> Self {
        let outer = CURRENT.with_borrow(Clone::clone).unwrap_or_default();
        Self(CURRENT.replace(Some(Surroundings {
            frame: frame.clone(),
            ..outer
        })))
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// `slice` as shared bytes: a part of the current frame if it lies in it, else a copy.
pub(super) fn share(slice: &[u8]) -> bytes::Bytes {
    CURRENT.with_borrow(|current| match current {
        Some(Surroundings { frame, .. }) if lies_in(slice, frame) => frame.slice_ref(slice),
        _ => bytes::Bytes::copy_from_slice(slice),
    })
}

fn lies_in(slice: &[u8], frame: &[u8]) -> bool {
    let (slice, frame) = (slice.as_ptr_range(), frame.as_ptr_range());
    frame.start <= slice.start && slice.end <= frame.end
}

/// Where the value that is decoded comes from.
pub(super) fn origin() -> Option<Origin> {
    CURRENT.with_borrow(|current| current.as_ref()?.origin.clone())
}

/// What stands at `index` in a value that has not left this program.
pub(super) fn resident(index: usize) -> Option<Handle> {
    CURRENT.with_borrow(|current| current.as_ref()?.table.get(index).cloned())
}
