//! Splices: large binary data and handles, which are stored outside the buffer that a message is
//! encoded into.
//!
//! A type of this crate offers a splice through a thread-local, and then serializes a newtype with
//! a reserved name. The encoder of this crate takes the offer. Any other serializer ignores the
//! name and writes the content, so the types work with every format.

use std::cell::{Cell, RefCell};

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Error as _, Serialize, Serializer};

use super::value::{Handle, Value};

/// Content stored outside the buffer while a message is encoded.
#[derive(Clone, Debug)]
pub(crate) enum Splice {
    /// Content of binary data, whose header is in the buffer.
    Bytes(bytes::Bytes),
    /// Handle, which gets its name when the message is finished.
    Handle(Handle),
}

/// Name of the newtype that announces a [`Splice`] to the encoder of this crate. Other serializers
/// write the content of the newtype.
pub(crate) const SPLICE: &str = "$hypha_rpc::splice";

/// Minimum size of binary data that is spliced, in bytes. Copying shorter data is cheaper than
/// another buffer.
pub(crate) const SPLICED_BYTES: usize = 16 << 10;

thread_local! {
    /// Splice of the newtype that is serialized next. This is a thread-local, because serde can
    /// pass only serializable data to a serializer.
    static OFFER: RefCell<Option<Splice>> = const { RefCell::new(None) };
    /// Whether an encoder that accepts splices is running on this thread.
    static ACCEPTS_SPLICES: Cell<bool> = const { Cell::new(false) };
}

/// Guard of an encoder that accepts splices. Stores whether such an encoder was running before,
/// because a `Serialize` implementation may encode another value in between.
pub(crate) struct AcceptSplices(bool);

impl AcceptSplices {
    /// Makes the types of this crate offer splices until the guard is dropped.
    pub(crate) fn begin() -> Self {
        Self(ACCEPTS_SPLICES.replace(true))
    }
}

impl Drop for AcceptSplices {
    fn drop(&mut self) {
        ACCEPTS_SPLICES.set(self.0);
        // An offer may be left if a wrapper of the serializer did not pass on the newtype. The next
        // value must not use such an offer, which would also keep its memory.
        OFFER.take();
    }
}

/// Takes the splice that was offered for the newtype [`SPLICE`], if there is one.
pub(crate) fn offered() -> Option<Splice> {
    OFFER.take()
}

/// Serializes binary data, without a copy if the data is large and the encoder accepts splices.
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
