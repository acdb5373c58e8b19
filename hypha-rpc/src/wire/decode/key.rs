//! A key of a map. Keys are strings on this wire; a map whose keys are numbers has them written out, as in
//! JSON, and as its schema says.

use serde::de::{self, Visitor};

use super::{Decoder, is_string_marker};
use crate::wire::decode_error::DecodeError;

/// Reads numbers and truth values out of strings; everything else is what the decoder says.
pub(super) struct Key<'a, 'de>(pub(super) &'a mut Decoder<'de>);

impl<'de> Key<'_, 'de> {
    /// The characters, if it is a string. In an ordered map it may be a number.
    fn written(&mut self) -> Result<Option<&'de str>, DecodeError> {
        if is_string_marker(self.0.peek()?) {
            self.0.key().map(Some)
        } else {
            Ok(None)
        }
    }
}

macro_rules! parse {
    ($expected:literal: $($deserialize:ident($wide:ty) => $visit:ident;)*) => {
        $(fn $deserialize<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
            match self.written()? {
                None => self.0.$deserialize(visitor),
                Some(key) => match (key.parse::<$wide>(), key.parse::<i64>()) {
                    (Ok(value), _) => visitor.$visit(value),
                    // One below zero, where there can be none.
                    (Err(_), Ok(value)) => visitor.visit_i64(value),
                    (Err(_), Err(_)) => Err(DecodeError::expected($expected, "another text")),
                },
            }
        })*
    };
}

macro_rules! forward {
    ($($deserialize:ident($($name:ident: $ty:ty),*);)*) => {
        $(fn $deserialize<V: Visitor<'de>>(
            self,
            $($name: $ty,)*
            visitor: V,
        ) -> Result<V::Value, DecodeError> {
            self.0.$deserialize($($name,)* visitor)
        })*
    };
}

impl<'de> de::Deserializer<'de> for Key<'_, 'de> {
    type Error = DecodeError;

    parse! {
        "`true` or `false` as the key":
        deserialize_bool(bool) => visit_bool;
    }

    parse! {
        "an integer as the key":
        deserialize_i8(i64) => visit_i64;
        deserialize_i16(i64) => visit_i64;
        deserialize_i32(i64) => visit_i64;
        deserialize_i64(i64) => visit_i64;
        deserialize_i128(i128) => visit_i128;
        deserialize_u8(u64) => visit_u64;
        deserialize_u16(u64) => visit_u64;
        deserialize_u32(u64) => visit_u64;
        deserialize_u64(u64) => visit_u64;
        deserialize_u128(u128) => visit_u128;
    }

    forward! {
        deserialize_any();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }
}
