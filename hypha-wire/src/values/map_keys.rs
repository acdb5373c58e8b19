//! Types of the keys of maps.
//!
//! JSON has only texts as keys. For a map with integer or boolean keys, schemars states a pattern
//! of digits at most, which is the same for all integer types. [`state`] adds the type of the keys.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::keys::SCHEMA_KEYS;

/// Has the schema of `T`, with the types of the integer and boolean keys of its maps.
///
/// Arguments, results, callbacks and streams have these types in their schemas without `Keyed`.
/// schemars generates the schemas of fields of a type with `derive(JsonSchema)`, and omits the
/// types of keys. A contract generated from such a schema has `u64`, `i64` or `String` as the key,
/// unless the field has the attribute `#[schemars(with = "Keyed<..>")]`. Generated contracts have
/// this attribute.
///
/// # Examples
///
/// ```
/// # use std::collections::BTreeMap;
/// # use hypha_wire::Keyed;
/// #[derive(schemars::JsonSchema)]
/// struct Settings {
///     /// Exposure by channel.
///     #[schemars(with = "Keyed<BTreeMap<u8, f64>>")]
///     exposures: BTreeMap<u8, f64>,
///     #[schemars(with = "Option<Keyed<BTreeMap<bool, f64>>>")]
///     offsets: Option<BTreeMap<bool, f64>>,
/// }
///
/// let schema = schemars::schema_for!(Settings);
/// let exposures = &schema.as_value()["properties"]["exposures"];
/// assert_eq!(exposures["x-hypha-keys"]["format"], "uint8");
/// ```
#[derive(Debug)]
pub struct Keyed<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for Keyed<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        keyed::<T>(generator)
    }
}

/// Returns the schema of a type, with the types of the keys of its maps. Named types become
/// references to definitions of the generator.
#[doc(hidden)]
pub fn keyed<T: JsonSchema + ?Sized>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = generator.subschema_for::<T>();
    if let Some(schema) = schema.as_object_mut() {
        state(schema, &T::schema_id());
    }
    schema
}

/// Adds the types of keys to the schema of the type with this id. schemars writes them into the id,
/// as in `Option<[Map<uint16, double>]>`, and not into the schema. Leaves the schema unchanged if
/// the id has another form.
fn state(schema: &mut Map<String, Value>, id: &str) {
    if let Some(inner) = within(id, "Option<", ">") {
        // Before it is normalised, the schema of an optional map is the schema of the map.
        return match schema.get_mut("anyOf").and_then(Value::as_array_mut) {
            Some(kinds) => kinds.iter_mut().for_each(|kind| state_value(kind, inner)),
            None => state(schema, inner),
        };
    }
    if let Some(inner) = within(id, "Map<", ">") {
        let parts = parts(inner);
        let (key, value) = match &parts[..] {
            [key, value] => (Some(*key), *value),
            _ => (None, inner),
        };
        if let Some(key) = key.and_then(key_schema) {
            schema.insert(SCHEMA_KEYS.to_owned(), key);
        }
        let patterns = schema.get_mut("patternProperties");
        let patterns = patterns.and_then(Value::as_object_mut);
        for values in patterns.into_iter().flat_map(Map::values_mut) {
            state_value(values, value);
        }
        if let Some(values) = schema.get_mut("additionalProperties") {
            state_value(values, value);
        }
        return;
    }
    if let Some(item) = within(id, "[", "]").or_else(|| within(id, "Set<", ">")) {
        // The id of an array starts with its length: `[3; double]`.
        let item = item.trim_start_matches(|c: char| c.is_ascii_digit());
        let item = item.strip_prefix("; ").unwrap_or(item);
        if let Some(items) = schema.get_mut("items") {
            state_value(items, item);
        }
        return;
    }
    if let Some(inner) = within(id, "(", ")") {
        let items = schema.get_mut("prefixItems").and_then(Value::as_array_mut);
        for (item, id) in items.into_iter().flatten().zip(parts(inner)) {
            state_value(item, id);
        }
    }
}

fn state_value(schema: &mut Value, id: &str) {
    if let Value::Object(schema) = schema {
        state(schema, id);
    }
}

fn within<'a>(id: &'a str, start: &str, end: &str) -> Option<&'a str> {
    id.strip_prefix(start)?.strip_suffix(end)
}

/// Splits a list at the commas that are not inside brackets.
fn parts(list: &str) -> Vec<&str> {
    let mut depth = 0usize;
    let is_end = |c: char| {
        match c {
            '<' | '[' | '(' => depth += 1,
            '>' | ']' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    list.split(is_end).map(str::trim).collect()
}

/// Returns the schema of an integer or boolean key as schemars writes it, unless the schema of the
/// map implies it.
fn key_schema(id: &str) -> Option<Value> {
    match id {
        "boolean" => Some(json!({"type": "boolean"})),
        // Implied by the patterns of digits.
        "int64" | "uint64" => None,
        "int8" | "int16" | "int32" | "int128" | "int" | "uint8" | "uint16" | "uint32"
        | "uint128" | "uint" => Some(json!({"type": "integer", "format": id})),
        _ => None,
    }
}
