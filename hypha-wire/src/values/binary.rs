//! Defines [`Binary`], binary data that shares the memory of the received frame.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::buffered;
use super::dtype;
use super::scope::share;
use super::splice::serialize_bytes;
use super::value::Value;
use crate::keys::{self, SCHEMA_KIND};

/// Binary data, such as an image or a file. Cheap to clone.
///
/// A `Binary` is sent as msgpack `bin`, and arrives as `bytes` in Python and as `Uint8Array` in
/// JavaScript. A `Vec<u8>`, in contrast, is sent as a list of numbers. A received `Binary` shares
/// the memory of its message, so even a small value keeps the whole message in memory. To keep a
/// value for long, copy it with `to_vec`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binary(
    /// The shared buffer.
    pub bytes::Bytes,
);

impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Deref for Binary {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Binary {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<bytes::Bytes> for Binary {
    fn from(bytes: bytes::Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Binary {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&'static [u8]> for Binary {
    fn from(bytes: &'static [u8]) -> Self {
        Self(bytes::Bytes::from_static(bytes))
    }
}

impl<const N: usize> From<&'static [u8; N]> for Binary {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self(bytes::Bytes::from_static(bytes))
    }
}

impl From<Binary> for bytes::Bytes {
    fn from(bytes: Binary) -> Self {
        bytes.0
    }
}

impl From<Binary> for Value {
    fn from(binary: Binary) -> Self {
        Value::Bytes(binary.0)
    }
}

impl From<Binary> for Vec<u8> {
    fn from(bytes: Binary) -> Self {
        bytes.0.into()
    }
}

impl JsonSchema for Binary {
    fn schema_name() -> Cow<'static, str> {
        "Binary".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "binary", (SCHEMA_KIND): "bytes" })
    }
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_bytes(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's buffer presents some bytes as a newtype, and only for a value of any type.
        match deserializer.is_human_readable() {
            true => deserializer.deserialize_any(BinaryVisitor),
            false => deserializer.deserialize_byte_buf(BinaryVisitor),
        }
    }
}

struct BinaryVisitor;

impl<'de> Visitor<'de> for BinaryVisitor {
    type Value = Binary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    /// Shares the memory of the frame if the bytes are inside the frame. Only the decoder of this
    /// crate passes bytes that are inside the frame.
    fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Binary, E> {
        Ok(Binary(share(bytes)))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Binary, E> {
        Ok(Binary(bytes::Bytes::copy_from_slice(bytes)))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Binary, E> {
        Ok(bytes.into())
    }

    /// Reads a list of small integers. Text formats such as JSON represent bytes in this form.
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Binary, A::Error> {
        // Limit the reserved memory, because in other formats the hint may be a length declared by
        // a peer.
        let mut bytes = Vec::with_capacity(items.size_hint().unwrap_or(0).min(4096));
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, content: D) -> Result<Binary, D::Error> {
        Newtype::read_bytes(content, &self)
    }

    /// Reads the typed value of a buffer, such as a JavaScript `ArrayBuffer` or a Python
    /// `memoryview`, or of an array of bytes.
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Binary, A::Error> {
        // The tag may come after the content, so collect all parts before checking them.
        let (mut is_buffer, mut is_array, mut is_bytes) = (false, false, false);
        let mut content = None;
        while let Some(key) = entries.next_key::<Cow<'de, str>>()? {
            match key.as_ref() {
                keys::RTYPE => {
                    let tag = entries.next_value::<Cow<'de, str>>()?;
                    is_buffer = tag == "memoryview";
                    is_array = matches!(&*tag, "typedarray" | "ndarray");
                }
                // JavaScript sends a `Uint8ClampedArray`, for example the pixels of a canvas,
                // without an element type.
                keys::RDTYPE => {
                    let dtype = entries.next_value::<Option<Cow<'de, str>>>()?;
                    is_bytes = dtype.is_none_or(|dtype| dtype::is_bytes(dtype.as_bytes()));
                }
                keys::RVALUE if content.is_none() => content = Some(entries.next_value()?),
                _ => {
                    entries.next_value::<de::IgnoredAny>()?;
                }
            }
        }
        match content {
            Some(bytes) if is_buffer => Ok(bytes),
            // An array has a shape, so another variant of an untagged enum may be meant.
            Some(bytes) if is_array && is_bytes && buffered::may_cast() => Ok(bytes),
            _ => Err(de::Error::invalid_type(de::Unexpected::Map, &self)),
        }
    }
}

/// Content of a newtype that is neither a newtype of the program nor of a number.
pub(super) enum Newtype {
    /// Type byte and data of an extension value.
    Ext(Binary),
    Bytes(Binary),
}

impl Newtype {
    /// Reads the content of a newtype.
    pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NewtypeVisitor)
    }

    /// Reads the content of a newtype, where only bytes are valid. `expected` describes the type.
    pub(super) fn read_bytes<'de, D: Deserializer<'de>>(
        deserializer: D,
        expected: &dyn de::Expected,
    ) -> Result<Binary, D::Error> {
        match Self::read(deserializer)? {
            Newtype::Bytes(bytes) => Ok(bytes),
            Newtype::Ext(_) => Err(de::Error::invalid_type(
                de::Unexpected::NewtypeStruct,
                expected,
            )),
        }
    }
}

struct NewtypeVisitor;

impl<'de> Visitor<'de> for NewtypeVisitor {
    type Value = Newtype;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("extension")
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Newtype, E> {
        Ok(Newtype::Ext(Binary(share(bytes))))
    }

    /// Other formats do not borrow bytes.
    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Newtype, E> {
        Ok(Newtype::Ext(bytes.to_vec().into()))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Newtype, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Newtype, A::Error> {
        match entries.next_entry::<(), Binary>()? {
            Some(((), bytes)) => Ok(Newtype::Bytes(bytes)),
            None => Err(de::Error::invalid_type(de::Unexpected::Map, &self)),
        }
    }
}
