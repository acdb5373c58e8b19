//! Serde implementations of [`Value`].
//!
//! The implementations work with every format. serde has no type for extension values and handles,
//! so they reach the encoder and decoder of this crate as newtypes with reserved names.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::binary::{Binary, Newtype};
use super::buffered;
use super::encode::EXT;
use super::scope::{self, share};
use super::splice::serialize_bytes;
use super::value::{Map, Value};
use crate::keys;

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::UInt(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::String(value) => serializer.serialize_str(value),
            Self::Bytes(value) => serialize_bytes(value, serializer),
            Self::Handle(handle) => handle.serialize(serializer),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(map) => serializer.collect_map(map),
            Self::Ext(code, data) => {
                let mut tagged = Vec::with_capacity(data.len() + 1);
                tagged.push(*code as u8);
                tagged.extend_from_slice(data);
                serializer.serialize_newtype_struct(EXT, &Binary::from(tagged))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_i32<E: de::Error>(self, value: i32) -> Result<Value, E> {
        buffered::refuse_scalar(&self)?;
        self.visit_i64(value.into())
    }

    fn visit_u32<E: de::Error>(self, value: u32) -> Result<Value, E> {
        buffered::refuse_scalar(&self)?;
        self.visit_u64(value.into())
    }

    fn visit_f32<E: de::Error>(self, value: f32) -> Result<Value, E> {
        buffered::refuse_scalar(&self)?;
        self.visit_f64(value.into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    /// Converts the number with `From`. A number that fits `i64` becomes a [`Value::Int`].
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_borrowed_bytes<E>(self, value: &'de [u8]) -> Result<Value, E> {
        Ok(Value::Bytes(share(value)))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes::Bytes::copy_from_slice(value)))
    }

    fn visit_byte_buf<E>(self, value: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(value.into()))
    }

    /// Reads an extension value. The decoder of this crate presents an extension value as a newtype
    /// that contains the type byte and the data. In serde's buffer, bytes may also be a newtype.
    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Value, D::Error> {
        let mut data = match Newtype::read(deserializer)? {
            Newtype::Ext(Binary(data)) => data,
            Newtype::Bytes(Binary(data)) => return Ok(Value::Bytes(data)),
        };
        if data.is_empty() {
            return Err(de::Error::custom("an extension value has no type"));
        }
        let code = data.split_to(1)[0] as i8;
        Ok(match scope::table_handle(code, &data) {
            Some(handle) => Value::Handle(handle),
            None => Value::Ext(code, data),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        // Limit the reserved memory, because in other formats the hint may be a length declared by
        // a peer.
        let mut list = Vec::with_capacity(items.size_hint().unwrap_or(0).min(4096));
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::with_capacity(entries.size_hint().unwrap_or(0).min(4096));
        let mut tagged = false;
        while let Some((MapKey(key), value)) = entries.next_entry()? {
            // Only a map with this key can be a function or stream. For all other maps, omit the
            // lookup.
            tagged |= key == keys::RTYPE;
            map.insert(key, value);
        }
        if tagged {
            return Ok(scope::handle_of(map).map_or_else(Value::Map, Value::Handle));
        }
        Ok(Value::Map(map))
    }
}

/// Key of a map. Unlike a `String`, it cannot be bytes, because the keys of a struct that the
/// decoder has made for another type are bytes.
struct MapKey(String);

impl<'de> Deserialize<'de> for MapKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_string(MapKeyVisitor).map(Self)
    }
}

struct MapKeyVisitor;

impl Visitor<'_> for MapKeyVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, key: &str) -> Result<String, E> {
        Ok(key.to_owned())
    }

    fn visit_string<E>(self, key: String) -> Result<String, E> {
        Ok(key)
    }
}

/// The schema accepts every value.
impl JsonSchema for Value {
    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({})
    }
}
