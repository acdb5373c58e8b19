//! Decodes the keys of maps, which are strings on the wire.
//!
//! If the Rust type of a key is an integer or `bool`, the key is parsed from the string, as in
//! JSON. Integer keys on the wire are also accepted, because Python sends them. Only an ordered map
//! may have keys of any type.

use rmp::Marker;
use serde::de::{self, Visitor};

use super::{Decoder, Token, bad_key, is_string_marker, text};
use crate::values::buffered::{self, Form};
use crate::values::decode_error::DecodeError;

/// Deserializer of one map key.
pub(super) struct Key<'a, 'de> {
    pub(super) decoder: &'a mut Decoder<'de>,
    /// Whether the key may be of any type, as in an ordered map.
    pub(super) of_any_type: bool,
}

impl<'a, 'de> Key<'a, 'de> {
    /// Returns the decoder, or an error if the next key does not have a permitted type.
    fn checked(self) -> Result<&'a mut Decoder<'de>, DecodeError> {
        if self.of_any_type || is_string_marker(self.decoder.peek()?) {
            return Ok(self.decoder);
        }
        Err(bad_key(self.decoder.token()?.kind()))
    }

    /// Reads an integer, or a string with the digits of an integer.
    fn integer<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.decoder.token()? {
            Token::Str(key) => {
                let key = text(key)?;
                let read = match (key.parse(), key.parse()) {
                    // No client writes `+1`, `01` or `-0`, which `parse` accepts. Two different
                    // keys would become the same integer.
                    _ if !buffered::is_integer(key) => None,
                    (Ok(number), _) => Some(visitor.visit_u64(number)),
                    (_, Ok(number)) => Some(visitor.visit_i64(number)),
                    _ => None,
                };
                read.unwrap_or_else(|| Err(DecodeError::unfit_key("an integer", key)))
            }
            token @ (Token::UInt(_) | Token::Int(_)) => self.decoder.visit(token, visitor),
            token if self.of_any_type => self.decoder.visit(token.whole(), visitor),
            token => Err(bad_key(token.kind())),
        }
    }
}

fn is_integer(marker: Marker) -> bool {
    matches!(
        marker,
        Marker::FixPos(_)
            | Marker::FixNeg(_)
            | Marker::U8
            | Marker::U16
            | Marker::U32
            | Marker::U64
            | Marker::I8
            | Marker::I16
            | Marker::I32
            | Marker::I64
    )
}

/// Visits a key of unknown type, and records it. Uses another form if the module `buffered` has a
/// hint for the keys of this map.
#[cold]
fn visit_recorded<'de, V: Visitor<'de>>(
    decoder: &mut Decoder<'de>,
    visitor: V,
) -> Result<V::Value, DecodeError> {
    let start = decoder.pos;
    let key = decoder.key()?;
    match decoder.recorded_key_form(start, key) {
        Some(Form::Integers) => match (key.parse(), key.parse()) {
            (Ok(number), _) => visitor.visit_u64(number),
            (_, Ok(number)) => visitor.visit_i64(number),
            _ => visitor.visit_borrowed_str(key),
        },
        Some(Form::Bools) => visitor.visit_bool(key == "true"),
        _ => visitor.visit_borrowed_str(key),
    }
}

macro_rules! forward {
    ($($deserialize:ident($($name:ident: $ty:ty),*);)*) => {
        $(fn $deserialize<V: Visitor<'de>>(
            self,
            $($name: $ty,)*
            visitor: V,
        ) -> Result<V::Value, DecodeError> {
            self.checked()?.$deserialize($($name,)* visitor)
        })*
    };
}

macro_rules! integers {
    ($($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            self.integer(visitor)
        })*
    };
}

impl<'de> de::Deserializer<'de> for Key<'_, 'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.decoder.trail.is_some() && is_string_marker(self.decoder.peek()?) {
            return visit_recorded(self.decoder, visitor);
        }
        // A map that serde buffers may have integer keys, because Python sends them as integers.
        match Marker::from_u8(self.decoder.peek()?) {
            marker if is_integer(marker) => self.decoder.deserialize_any(visitor),
            _ => self.checked()?.deserialize_any(visitor),
        }
    }

    forward! {
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_ignored_any();
    }

    integers!(deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128);

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if !is_string_marker(self.decoder.peek()?) {
            return self.checked()?.deserialize_bool(visitor);
        }
        match self.decoder.key()? {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            key => Err(DecodeError::unfit_key("`true` or `false`", key)),
        }
    }

    /// Accepts only strings. An ordered map may also have a number as a key, but serde would use a
    /// number as the index of a field.
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.decoder.trail.is_some() {
            true => visit_recorded(self.decoder, visitor),
            false => visitor.visit_borrowed_str(self.decoder.key()?),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.of_any_type {
            true => self.decoder.deserialize_option(visitor),
            false => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }
}
