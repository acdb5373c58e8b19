//! Implements serde's accessors for the items of a list, the entries of a map, and the content of a
//! variant.
//!
//! Each accessor charges the memory of an item before decoding the item, and adds the index or key
//! to an error. `size_hint` never exceeds the number of remaining bytes, because visitors reserve
//! memory based on `size_hint`.

use std::borrow::Cow;

use serde::de::{self, Deserialize, DeserializeSeed, IntoDeserializer, Visitor};

use super::key::Key;
use super::{Decoder, MAP_ENTRY, MAX_RESERVED, Token};
use crate::values::decode_error::DecodeError;

/// Items of a list that are not decoded yet.
pub(super) struct List<'a, 'de> {
    pub(super) decoder: &'a mut Decoder<'de>,
    /// Index of the next item.
    pub(super) next: usize,
    /// Number of items, according to the header.
    pub(super) len: usize,
    /// Factor between the size of an item and the memory charged for the item.
    pub(super) copies: usize,
}

impl<'de> de::SeqAccess<'de> for List<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        if self.next == self.len {
            return Ok(None);
        }
        let index = self.next;
        self.next += 1;
        let size = size_of::<S::Value>();
        let room = self.decoder.charge(size * self.copies);
        self.decoder.place = size;
        self.decoder.at_index(index);
        match room.and_then(|()| seed.deserialize(&mut *self.decoder)) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(error.in_index(index)),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(
            (self.len - self.next)
                .min(self.decoder.remaining())
                .min(MAX_RESERVED),
        )
    }
}

/// Bytes that are read as a list of small integers, for example a Python `bytes` for a `Vec<u8>`.
pub(super) struct Bytes<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    bytes: &'de [u8],
    next: usize,
    /// Factor between the size of an item and the memory charged for the item.
    copies: usize,
}

impl<'a, 'de> Bytes<'a, 'de> {
    /// Visits `bytes` as a list.
    pub(super) fn visit<V: Visitor<'de>>(
        decoder: &'a mut Decoder<'de>,
        bytes: &'de [u8],
        copies: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let mut items = Bytes {
            decoder,
            bytes,
            next: 0,
            copies,
        };
        let value = visitor.visit_seq(&mut items)?;
        if items.next < bytes.len() {
            return Err(DecodeError::expected(
                format_args!("a list of length {}", items.next),
                format_args!("length {}", bytes.len()),
            ));
        }
        Ok(value)
    }
}

impl<'de> de::SeqAccess<'de> for Bytes<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        let Some(&byte) = self.bytes.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        self.decoder.charge(size_of::<S::Value>() * self.copies)?;
        seed.deserialize(byte.into_deserializer()).map(Some)
    }

    /// Returns the exact number of remaining bytes. No smaller limit is needed, because all of them
    /// have arrived.
    fn size_hint(&self) -> Option<usize> {
        Some(self.bytes.len() - self.next)
    }
}

/// Entries of a map that are not decoded yet.
pub(super) struct Map<'a, 'de> {
    pub(super) decoder: &'a mut Decoder<'de>,
    /// Number of entries left.
    pub(super) left: usize,
    /// Position of the last key. The key is read again to report an error, so that no copy of the
    /// key is needed if there is no error.
    pub(super) key: usize,
    /// Whether every entry is a list of two items, as in an ordered map: a key of any type, and a
    /// value.
    pub(super) pairs: bool,
    /// Factor between the size of an entry and the memory charged for the entry.
    pub(super) copies: usize,
}

impl<'de> de::MapAccess<'de> for Map<'_, 'de> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        if self.pairs {
            let expected = |got: &dyn std::fmt::Display| {
                Err(DecodeError::expected("a list of a key and a value", got))
            };
            match self.decoder.token()? {
                Token::List(2) => {}
                Token::List(len) => return expected(&format_args!("a list of length {len}")),
                token => return expected(&token.kind()),
            }
        }
        self.key = self.decoder.pos;
        self.decoder.charge(size_of::<S::Value>() * self.copies)?;
        let key = Key {
            decoder: &mut *self.decoder,
            of_any_type: self.pairs,
        };
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, DecodeError> {
        let size = size_of::<S::Value>();
        let room = self.decoder.charge((size + MAP_ENTRY) * self.copies);
        self.decoder.place = size;
        self.decoder.at_key(self.key);
        let value = room.and_then(|()| seed.deserialize(&mut *self.decoder));
        value.map_err(|error| match key_text(self.decoder.input, self.key) {
            Some(key) => error.in_key(&key),
            None => error,
        })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(
            self.left
                .min(self.decoder.remaining() / 2)
                .min(MAX_RESERVED),
        )
    }
}

/// Returns the key at the position `key`, as a step of a path. Returns `None` if the key is not a
/// string or an integer.
pub(super) fn key_text(input: &[u8], key: usize) -> Option<Cow<'_, str>> {
    match Decoder::of_message(input, key).token() {
        Ok(Token::Str(key)) => Some(String::from_utf8_lossy(key)),
        Ok(Token::UInt(key)) => Some(key.to_string().into()),
        Ok(Token::Int(key)) => Some(key.to_string().into()),
        _ => None,
    }
}

/// Enum variant with content: a map with one entry.
pub(super) struct Variant<'a, 'de> {
    pub(super) decoder: &'a mut Decoder<'de>,
    /// Name of the variant, for error paths. Empty until the name is read.
    pub(super) name: &'de str,
}

impl<'de> de::EnumAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(
        mut self,
        seed: S,
    ) -> Result<(S::Value, Self), DecodeError> {
        self.name = self.decoder.key()?;
        let variant = seed.deserialize(de::value::BorrowedStrDeserializer::new(self.name))?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        <()>::deserialize(self.decoder).map_err(|error| error.in_key(self.name))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<S::Value, DecodeError> {
        self.decoder.place = size_of::<S::Value>();
        seed.deserialize(self.decoder)
            .map_err(|error| error.in_key(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        // The content is part of the enum, so its memory was charged with the enum.
        self.decoder.place = usize::MAX;
        de::Deserializer::deserialize_tuple(self.decoder, len, visitor)
            .map_err(|error| error.in_key(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.decoder.place = usize::MAX;
        de::Deserializer::deserialize_struct(self.decoder, "", fields, visitor)
            .map_err(|error| error.in_key(self.name))
    }
}
