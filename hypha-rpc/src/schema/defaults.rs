//! Gives each default the form that its schema describes.
//!
//! schemars converts a default with serde_json. For some types, the result differs from the value
//! on the wire: a time becomes a struct, a number that is not finite becomes null, an array or a
//! set becomes an object with a tag, and bytes become a list of numbers.

use hypha_wire::keys::{self, RTYPE, SCHEMA_DTYPE};
use serde_json::{Map, Number, Value};

use super::direction::reference;
use super::{KIND, times};

/// Maximum depth of a default. Definitions may refer to each other in a circle.
const MAX_DEPTH: usize = 64;

/// Converts the defaults in the schema and the definitions. Removes each default that has no form
/// under its own schema. The member then remains optional.
pub(super) fn correct(schema: &mut Value, definitions: &mut Map<String, Value>) {
    let all = definitions.clone();
    for place in std::iter::once(schema).chain(definitions.values_mut()) {
        correct_in(place, &all);
    }
}

fn correct_in(schema: &mut Value, definitions: &Map<String, Value>) {
    let Value::Object(members) = schema else {
        return;
    };
    for (key, member) in members.iter_mut() {
        match (key.as_str(), member) {
            ("properties" | "patternProperties", Value::Object(schemas)) => {
                schemas
                    .values_mut()
                    .for_each(|it| correct_in(it, definitions));
            }
            (keys::SCHEMA_METHODS, Value::Object(methods)) => {
                let parts = methods.values_mut().filter_map(Value::as_object_mut);
                let schemas = parts.flat_map(Map::values_mut);
                schemas.for_each(|it| correct_in(it, definitions));
            }
            ("default" | "enum" | "const" | "examples" | "required", _) => {}
            (_, Value::Array(schemas)) => {
                schemas
                    .iter_mut()
                    .for_each(|it| correct_in(it, definitions));
            }
            (_, other) => correct_in(other, definitions),
        }
    }
    let Some(default) = members.shift_remove("default") else {
        return;
    };
    if let Some(default) = fit(default, members, definitions, 0) {
        members.insert("default".to_owned(), default);
    }
}

/// Returns a value in the form that a schema describes, or `None` if the value does not fit.
fn fit(
    value: Value,
    schema: &Map<String, Value>,
    definitions: &Map<String, Value>,
    depth: usize,
) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    let fit_in = |value: Value, schema: &Value| match schema {
        Value::Object(schema) => fit(value, schema, definitions, depth + 1),
        other => (*other != Value::Bool(false)).then_some(value),
    };
    let kind = schema.get(KIND).and_then(Value::as_str);
    let mut value = match kind {
        Some("duration" | "timestamp") => times::seconds(&value).unwrap_or(value),
        _ => value,
    };
    if !has_type(&value, schema) || !is_within(&value, schema) {
        return None;
    }
    let is_single = || schema.get(SCHEMA_DTYPE).is_some_and(|it| it == "float32");
    match &mut value {
        Value::Number(number) if number.is_f64() && is_single() => {
            *number = shortest(number).unwrap_or_else(|| number.clone());
        }
        Value::Array(items) => {
            let each = schema.get("prefixItems").and_then(Value::as_array);
            for (index, item) in items.iter_mut().enumerate() {
                let own = each.and_then(|each| each.get(index));
                if let Some(schema) = own.or(schema.get("items")) {
                    *item = fit_in(item.take(), schema)?;
                }
            }
        }
        Value::Object(members) => {
            let required = schema.get("required").and_then(Value::as_array);
            let mut required = required.into_iter().flatten().filter_map(Value::as_str);
            if members.contains_key(RTYPE) || !required.all(|name| members.contains_key(name)) {
                return None;
            }
            let properties = schema.get("properties").and_then(Value::as_object);
            // schemars writes at most one pattern, for maps with integer keys.
            let patterns = schema.get("patternProperties").and_then(Value::as_object);
            let patterns = patterns.and_then(|patterns| patterns.values().next());
            let others = patterns.or(schema.get("additionalProperties"));
            for (name, member) in members {
                let own = properties.and_then(|properties| properties.get(name));
                if let Some(schema) = own.or(others) {
                    *member = fit_in(member.take(), schema)?;
                }
            }
        }
        _ => {}
    }
    let list = |key: &str| schema.get(key).and_then(Value::as_array);
    if schema.contains_key("$ref") {
        value = fit_in(value, definitions.get(&reference(schema)?)?)?;
    }
    for part in list("allOf").into_iter().flatten() {
        value = fit_in(value, part)?;
    }
    for alternatives in ["anyOf", "oneOf"].into_iter().filter_map(list) {
        value = alternatives
            .iter()
            .find_map(|schema| fit_in(value.clone(), schema))?;
    }
    Some(value)
}

/// Returns whether the value has the type, and is one of the values that the schema lists.
fn has_type(value: &Value, schema: &Map<String, Value>) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    let is_of_type = match schema.get("type") {
        Some(Value::Array(names)) => names.iter().any(is),
        Some(name) => is(name),
        None => true,
    };
    let words = schema.get("enum").and_then(Value::as_array);
    is_of_type
        && words.is_none_or(|words| words.contains(value))
        && schema.get("const").is_none_or(|only| only == value)
}

/// Returns whether a number or a length is within the bounds of the schema.
fn is_within(value: &Value, schema: &Map<String, Value>) -> bool {
    let (number, bounds) = match value {
        Value::Number(number) => (number.clone(), ["minimum", "maximum"]),
        Value::String(text) => (text.chars().count().into(), ["minLength", "maxLength"]),
        Value::Array(items) => (items.len().into(), ["minItems", "maxItems"]),
        Value::Object(members) => (members.len().into(), ["minProperties", "maxProperties"]),
        _ => return true,
    };
    let [least, most] = bounds.map(|key| match schema.get(key) {
        Some(Value::Number(bound)) => Some(bound),
        _ => None,
    });
    least.is_none_or(|least| !is_less(&number, least))
        && most.is_none_or(|most| !is_less(most, &number))
}

fn is_less(one: &Number, other: &Number) -> bool {
    match (one.as_i128(), other.as_i128()) {
        (Some(one), Some(other)) => one < other,
        _ => one.as_f64() < other.as_f64(),
    }
}

/// Returns the shortest form of an `f32`, such as 0.1. serde_json widens it to `f64`: 0.1 becomes
/// 0.10000000149011612.
fn shortest(number: &Number) -> Option<Number> {
    // The string form of an `f32` has the fewest digits that denote the same number.
    #[allow(clippy::cast_possible_truncation)]
    let text = (number.as_f64()? as f32).to_string();
    Number::from_f64(text.parse().ok()?)
}
