//! Shares received functions and streams between the attempts to decode one value.
//!
//! serde may decode a value more than once: the variants of an untagged enum read the same buffer,
//! and the module `search` repeats the decoding. Dropping the last clone of a handle releases the
//! function at its owner. Therefore all attempts use the same handle, and this module holds a clone
//! until the decoding ends. Then the owner receives one release for a handle that no value
//! contains, and none for the others.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;

use super::value::{Handle, HandleKind, Map, RemoteHandle, Value};

/// Handles of the values that this thread is decoding.
#[derive(Default)]
struct Handles {
    /// Number of values that are being decoded. A `Deserialize` implementation may decode another
    /// value.
    depth: usize,
    /// Handles, with the text of their maps as keys.
    shared: Map,
    /// Objects that are dropped after the decoding.
    kept: Vec<Box<dyn Any>>,
}

thread_local! {
    static HANDLES: RefCell<Handles> = RefCell::default();
}

/// Guard of the decoding of a value. Dropping the guard of the outermost value drops the handles.
pub(super) struct Decoding(());

impl Decoding {
    pub(super) fn begin() -> Self {
        HANDLES.with_borrow_mut(|handles| handles.depth += 1);
        Self(())
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        let done = HANDLES.with_borrow_mut(|handles| {
            handles.depth -= 1;
            let has_any = !handles.shared.is_empty() || !handles.kept.is_empty();
            (handles.depth == 0 && has_any).then(|| std::mem::take(handles))
        });
        // Drop the handles outside of the borrow, because their connection sends the releases. An
        // object that uses a handle counts its clones, so it is dropped after the other clones.
        if let Some(Handles { shared, kept, .. }) = done {
            drop(shared);
            drop(kept);
        }
    }
}

/// Keeps an object of a decoded value until the decoding ends. Dropping the object may have an
/// effect at the peer, and another attempt to decode the value may create the same object.
#[doc(hidden)]
pub fn keep_until_decoded<T: Any>(object: Arc<T>) {
    HANDLES.with_borrow_mut(|handles| {
        if handles.depth > 0 {
            handles.kept.push(Box::new(object));
        }
    });
}

/// Returns the handle of an equal map that was decoded before, or `remote` as a handle.
pub(super) fn share(remote: RemoteHandle) -> Handle {
    HANDLES.with_borrow_mut(|handles| {
        if handles.depth == 0 {
            return Handle(HandleKind::Remote(Arc::new(remote)));
        }
        let text = Value::Map(remote.raw.clone()).to_string();
        match handles.shared.get(&text) {
            Some(Value::Handle(handle)) if handle.is_of(&remote) => {
                let handle = handle.clone();
                // The handle that was made for this attempt must not release the function.
                remote.mark_released();
                handle
            }
            before => {
                let handle = Handle(HandleKind::Remote(Arc::new(remote)));
                match before {
                    // Maps that differ may have the same text.
                    Some(_) => handles.kept.push(Box::new(handle.clone())),
                    None => {
                        handles.shared.insert(text, Value::Handle(handle.clone()));
                    }
                }
                handle
            }
        }
    })
}
