//! Defines splices. A splice is large binary data or a handle, and is stored outside of the buffer
//! into which a message is encoded.
//!
//! A type of this crate first stores its splice in a thread-local, and then serializes a newtype
//! with a reserved name. The encoder of this crate takes the splice from the thread-local. Any
//! other serializer ignores the name and writes the content of the newtype, so these types work
//! with every format.

use std::cell::{Cell, RefCell};

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Error as _, Serialize, Serializer};

use super::value::{Handle, Value};

/// Content stored outside of the buffer while a message is encoded.
#[derive(Clone, Debug)]
pub(crate) enum Splice {
    /// Content of binary data. The header of the binary data is in the buffer.
    Bytes(bytes::Bytes),
    /// Handle. The handle gets its name when the message is finished.
    Handle(Handle),
}

/// Name of the newtype that announces a [`Splice`] to the encoder of this crate. Other serializers
/// ignore the name, and write the content of the newtype.
pub(crate) const SPLICE: &str = "$hypha_rpc::splice";

/// Minimum size of binary data that is stored as a splice, in bytes. For shorter data, a copy is
/// cheaper than another buffer.
pub(crate) const SPLICED_BYTES: usize = 16 << 10;

thread_local! {
    /// Splice of the newtype that is serialized next. A thread-local stores the splice, because
    /// serde can pass only serializable data to a serializer.
    static OFFER: RefCell<Option<Splice>> = const { RefCell::new(None) };
    /// Whether an encoder that accepts splices is running on this thread.
    static ACCEPTS_SPLICES: Cell<bool> = const { Cell::new(false) };
}

/// Guard of an encoder that accepts splices. Stores whether such an encoder was already running,
/// because a `Serialize` implementation may encode another value in between.
pub(crate) struct AcceptSplices(bool);

impl AcceptSplices {
    /// Allows the types of this crate to offer splices until the guard is dropped.
    pub(crate) fn begin() -> Self {
        Self(ACCEPTS_SPLICES.replace(true))
    }
}

impl Drop for AcceptSplices {
    fn drop(&mut self) {
        ACCEPTS_SPLICES.set(self.0);
        // An unused splice is left here if a wrapper of the serializer did not pass the newtype on.
        // Remove the splice, because the next value must not use it, and because it keeps its
        // memory.
        OFFER.take();
    }
}

/// Takes the splice that was offered for the newtype [`SPLICE`]. Returns `None` if no splice was
/// offered.
pub(crate) fn offered() -> Option<Splice> {
    OFFER.take()
}

/// Serializes binary data. Does not copy the data if it is large and the encoder accepts splices.
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
    if bytes.len() < SPLICED_BYTES || !ACCEPTS_SPLICES.get() {
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
        if ACCEPTS_SPLICES.get() {
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
