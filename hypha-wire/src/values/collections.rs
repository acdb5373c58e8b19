//! Collections that other languages distinguish from lists and maps: sets, and maps with keys of
//! any type (`docs/protocol/03-values.md`).

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::buffered;
use super::decode_error::DecodeError;
use super::value::Value;
use crate::keys;
use crate::keys::{SCHEMA_KEYS, SCHEMA_KIND};

/// Collection that arrives in Python and JavaScript as a set.
///
/// Without this wrapper, `HashSet` and other sets are sent as lists, as serde defines. Wrapped and
/// plain sets can be read both from lists and from sets. A type that is no collection does not
/// compile, because it has no items.
///
/// ```
/// # use hypha_wire::Set;
/// use std::collections::BTreeSet;
///
/// let names = Set(BTreeSet::from(["a", "b"]));
/// # hypha_wire::to_vec(&names).expect("encodes");
/// ```
///
/// ```compile_fail,E0277
/// # use hypha_wire::Set;
/// # hypha_wire::to_vec(&Set(vec![3])).expect("encodes");
/// hypha_wire::to_vec(&Set(3)).expect("encodes"); // an integer is no collection
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Set<C>(
    /// Collection that serde represents as a sequence, such as a `Vec` or a `HashSet`.
    pub C,
);

impl<C> Deref for Set<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.0
    }
}

impl<C> DerefMut for Set<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.0
    }
}

impl<C> From<C> for Set<C> {
    fn from(collection: C) -> Self {
        Self(collection)
    }
}

impl<C: Serialize + IntoIterator> Serialize for Set<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(keys::RTYPE, "set")?;
        map.serialize_entry(keys::RVALUE, &self.0)?;
        map.end()
    }
}

impl<'de, C: Deserialize<'de> + IntoIterator> Deserialize<'de> for Set<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Do not use `deserialize_seq`, because other formats present a set as a map with `_rtype`,
        // as on the wire.
        deserializer.deserialize_any(SetVisitor(PhantomData))
    }
}

struct SetVisitor<C>(PhantomData<C>);

impl<'de, C: Deserialize<'de> + IntoIterator> Visitor<'de> for SetVisitor<C> {
    type Value = Set<C>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("set")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Set<C>, A::Error> {
        C::deserialize(SeqAccessDeserializer::new(items)).map(Set)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Set<C>, A::Error> {
        // The tag may come after the content, so collect both before checking them.
        let (mut tagged, mut content) = (false, None);
        while let Some(key) = entries.next_key::<Cow<'de, str>>()? {
            match key.as_ref() {
                keys::RTYPE => tagged = entries.next_value::<Cow<'de, str>>()? == "set",
                keys::RVALUE => content = Some(Set(entries.next_value()?)),
                _ => {
                    entries.next_value::<de::IgnoredAny>()?;
                }
            }
        }
        match content {
            Some(set) if tagged => Ok(set),
            _ => Err(de::Error::invalid_type(de::Unexpected::Map, &self)),
        }
    }
}

impl<C: JsonSchema + IntoIterator> JsonSchema for Set<C> {
    fn schema_name() -> Cow<'static, str> {
        format!("Set_of_{}", C::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = C::json_schema(generator);
        schema.insert("uniqueItems".to_owned(), true.into());
        schema.insert(SCHEMA_KIND.to_owned(), "set".into());
        schema
    }
}

/// Map with keys of any type, in a fixed order. Arrives as a `Map` in JavaScript, and as an
/// `OrderedDict` in Python.
///
/// The map is sent as a list of pairs, so that keys need not be strings. Plain maps are also
/// accepted.
///
/// ```
/// # use hypha_wire::OrderedMap;
/// let names: OrderedMap<u16, &str> = [(200, "ok"), (404, "not found")].into_iter().collect();
/// assert_eq!(names.get(&404), Some(&"not found"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrderedMap<K, V>(
    /// Entries in the order sent. Repeated keys are kept.
    pub Vec<(K, V)>,
);

impl<K: PartialEq, V> OrderedMap<K, V> {
    /// Returns the value of `key`. If the key is repeated, returns the last value, as in other
    /// languages.
    ///
    /// Searches all entries.
    pub fn get(&self, key: &K) -> Option<&V> {
        // Search from the end, because the last value of a repeated key counts.
        let mut entries = self.0.iter().rev();
        entries
            .find(|(found, _)| found == key)
            .map(|(_, value)| value)
    }
}

impl<K, V> Default for OrderedMap<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K, V> From<Vec<(K, V)>> for OrderedMap<K, V> {
    fn from(entries: Vec<(K, V)>) -> Self {
        Self(entries)
    }
}

impl<K, V> FromIterator<(K, V)> for OrderedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl<K, V> IntoIterator for OrderedMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<K: Serialize, V: Serialize> Serialize for OrderedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(keys::RTYPE, "orderedmap")?;
        map.serialize_entry(keys::RVALUE, &self.0)?;
        map.end()
    }
}

impl<'de, K: DeserializeOwned, V: Deserialize<'de>> Deserialize<'de> for OrderedMap<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

struct PairsVisitor<K, V>(PhantomData<(K, V)>);

impl<'de, K: DeserializeOwned, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<K, V> {
    type Value = OrderedMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ordered map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<OrderedMap<K, V>, A::Error> {
        // Read a `Value`, because only the key itself shows whether it is the tag or a key of the
        // map.
        let Some(first) = entries.next_key::<Value>()? else {
            return Ok(OrderedMap::default());
        };
        // The decoder of this crate presents only the pairs. Other formats present the typed value
        // itself, as does serde where it buffers a value, for example in an untagged enum.
        if first.as_str() == Some(keys::RTYPE) {
            return match entries.next_value::<Cow<'de, str>>()?.as_ref() {
                "orderedmap" => tagged_pairs(entries),
                _ => Err(de::Error::invalid_type(de::Unexpected::Map, &self)),
            };
        }
        let key = decode_key(&first).map_err(de::Error::custom)?;
        let mut pairs = vec![(key, entries.next_value()?)];
        while let Some(entry) = entries.next_entry()? {
            pairs.push(entry);
        }
        Ok(OrderedMap(pairs))
    }
}

/// Decodes a key. As in other maps, a string may hold the digits of an integer, or a `bool`.
fn decode_key<K: DeserializeOwned>(key: &Value) -> Result<K, DecodeError> {
    let decoded = key.decode_as();
    let Some(text) = key.as_str().filter(|_| decoded.is_err()) else {
        return decoded;
    };
    let other = match (text.parse::<u64>(), text.parse::<i64>(), text) {
        (.., "true" | "false") => Value::from(text == "true"),
        _ if !buffered::is_integer(text) => return decoded,
        (Ok(number), ..) => Value::from(number),
        (_, Ok(number), _) => Value::from(number),
        _ => return decoded,
    };
    other.decode_as().or(decoded)
}

/// Reads the pairs of a map whose `_rtype` has been read.
fn tagged_pairs<'de, A: MapAccess<'de>, K: Deserialize<'de>, V: Deserialize<'de>>(
    mut entries: A,
) -> Result<OrderedMap<K, V>, A::Error> {
    let mut pairs = None;
    while let Some(key) = entries.next_key::<Cow<'de, str>>()? {
        if key == keys::RVALUE {
            pairs = Some(OrderedMap(entries.next_value()?));
        } else {
            entries.next_value::<de::IgnoredAny>()?;
        }
    }
    pairs.ok_or_else(|| de::Error::missing_field(keys::RVALUE))
}

impl<K: JsonSchema, V: JsonSchema> JsonSchema for OrderedMap<K, V> {
    fn schema_name() -> Cow<'static, str> {
        format!(
            "OrderedMap_from_{}_to_{}",
            K::schema_name(),
            V::schema_name()
        )
        .into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({
            "type": "object",
            "additionalProperties": generator.subschema_for::<V>(),
            (SCHEMA_KIND): "ordered_map"
        });
        // JSON only has strings as keys, so no keyword of JSON Schema describes other keys.
        let keys = generator.subschema_for::<K>();
        if keys.as_object().is_some_and(|keys| !keys.is_empty()) {
            schema.insert(SCHEMA_KEYS.to_owned(), keys.to_value());
        }
        schema
    }
}
