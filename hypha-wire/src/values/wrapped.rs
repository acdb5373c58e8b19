//! Keeps bytes, strings and extension values apart in serde's buffer.
//!
//! A `String`, a `PathBuf` and a `&str` accept bytes that are valid UTF-8 from the buffer. This
//! module therefore puts such bytes into the buffer as a map in two newtypes. `()` is the only key
//! of the map. No string accepts the map. No newtype of a string, or of a map with strings as keys,
//! accepts it either. The types of this crate read the bytes from the map. For other types of
//! bytes, the module `search` decodes the value again with a list of the bytes, or with the bytes
//! themselves if there are many.

use std::any::type_name;

use serde::de::value::{BorrowedBytesDeserializer, MapDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};

use super::decode_error::DecodeError;

/// Returns whether `V` is the visitor of serde's buffer.
#[inline]
pub(super) fn is_buffer<'de, V: Visitor<'de>>() -> bool {
    // Without these conditions, which the compiler evaluates, a program would contain the names of
    // more types.
    let may_be = matches!(size_of::<V::Value>(), 16..=32) && align_of::<V::Value>() == 8;
    may_be && size_of::<V>() == 0 && type_name::<V>().contains("::content::ContentVisitor")
}

/// Deserializer of a value that becomes two newtypes in serde's buffer.
pub(super) struct Wrapped<'de> {
    content: &'de [u8],
    /// Whether the content is the type byte and data of an extension value. Otherwise the content
    /// is bytes that are valid UTF-8.
    is_ext: bool,
    /// Number of newtypes around the content.
    newtypes: u8,
}

impl<'de> Wrapped<'de> {
    /// Returns `None` if the bytes are not valid UTF-8. No string accepts such bytes.
    pub(super) fn bytes(content: &'de [u8]) -> Option<Self> {
        std::str::from_utf8(content).ok()?;
        Some(Self {
            content,
            is_ext: false,
            newtypes: 2,
        })
    }

    /// Otherwise a newtype of bytes would accept the extension value.
    pub(super) fn ext(content: &'de [u8]) -> Self {
        Self {
            content,
            is_ext: true,
            newtypes: 2,
        }
    }
}

impl<'de> Deserializer<'de> for Wrapped<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if let Some(newtypes) = self.newtypes.checked_sub(1) {
            return visitor.visit_newtype_struct(Wrapped { newtypes, ..self });
        }
        match self.is_ext {
            true => visitor.visit_borrowed_bytes(self.content),
            false => {
                let entry = std::iter::once(((), Part(self.content)));
                visitor.visit_map(MapDeserializer::new(entry))
            }
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

struct Part<'de>(&'de [u8]);

impl<'de> IntoDeserializer<'de, DecodeError> for Part<'de> {
    type Deserializer = BorrowedBytesDeserializer<'de, DecodeError>;

    fn into_deserializer(self) -> Self::Deserializer {
        BorrowedBytesDeserializer::new(self.0)
    }
}
