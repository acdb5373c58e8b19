//! Gives each default the form that its schema describes.
//!
//! schemars converts a default with serde_json. For some types, the result differs from the value
//! on the wire: a time becomes a struct, a number that is not finite becomes null, an array or a
//! set becomes an object with a tag, and bytes become a list of numbers.

use std::collections::HashSet;

use hypha_wire::keys::{self, RTYPE, SCHEMA_DTYPE};
use serde_json::{Map, Number, Value};

use super::direction::reference;
use super::{KIND, skipped, times};

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
    if let Some(default) = fit(default, members, &Listed::default(), definitions, 0) {
        members.insert("default".to_owned(), default);
    }
}

/// The members that a schema of an object lists, with those of the schemas that describe the same
/// object.
#[derive(Clone, Default)]
struct Listed<'a> {
    names: HashSet<&'a str>,
    /// Whether the schema describes further members, such as those of a flattened map.
    has_others: bool,
    /// References that were followed.
    seen: HashSet<String>,
}

impl<'a> Listed<'a> {
    fn add(&mut self, schema: &'a Map<String, Value>, definitions: &'a Map<String, Value>) {
        self.add_without("", schema, definitions);
    }

    /// Adds the members of a schema, except those of the schemas under the key `without`.
    fn add_without(
        &mut self,
        without: &str,
        schema: &'a Map<String, Value>,
        definitions: &'a Map<String, Value>,
    ) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let names = properties.into_iter().flat_map(Map::keys);
        self.names.extend(names.map(String::as_str));
        let others = [
            "additionalProperties",
            "patternProperties",
            "unevaluatedProperties",
        ];
        let mut others = others.into_iter().filter_map(|key| schema.get(key));
        self.has_others |= others.any(|others| *others != Value::Bool(false));
        if let Some(name) = reference(schema).filter(|_| without != "$ref") {
            let target = definitions.get(&name).and_then(Value::as_object);
            if let (true, Some(target)) = (self.seen.insert(name), target) {
                self.add(target, definitions);
            }
        }
        let lists = ["allOf", "anyOf", "oneOf"].into_iter();
        let lists = lists.filter(|key| *key != without);
        let lists = lists.filter_map(|key| schema.get(key)?.as_array());
        for part in lists.flatten().filter_map(Value::as_object) {
            self.add(part, definitions);
        }
    }

    /// Returns whether the type reads these members as the same value. serde reads unknown members
    /// as missing. It may write a member under a name other than the one that it reads, or not at
    /// all. Beside a flattened map, the map may contain the other name.
    fn has_same(&self, members: &Map<String, Value>, properties: &Map<String, Value>) -> bool {
        let is_known = |name: &String| self.has_others || self.names.contains(name.as_str());
        let mut missing = properties
            .iter()
            .filter(|(name, _)| !members.contains_key(*name));
        let is_skipped = |member: &Value| member.get(skipped::NOT_SENT) == Some(&Value::Bool(true));
        members.keys().all(is_known)
            && !missing.any(|(_, member)| self.has_others || is_skipped(member))
    }
}

/// Returns a value in the form that a schema describes, or `None` if the value does not fit.
/// `outer` are the members that other schemas of the same object list.
fn fit(
    value: Value,
    schema: &Map<String, Value>,
    outer: &Listed<'_>,
    definitions: &Map<String, Value>,
    depth: usize,
) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    let fit_with = |value: Value, schema: &Value, outer: &Listed<'_>| match schema {
        Value::Object(schema) => fit(value, schema, outer, definitions, depth + 1),
        other => (*other != Value::Bool(false)).then_some(value),
    };
    let fit_in = |value: Value, schema: &Value| fit_with(value, schema, &Listed::default());
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
            let mut listed = outer.clone();
            listed.add(schema, definitions);
            if properties.is_some_and(|properties| !listed.has_same(members, properties)) {
                return None;
            }
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
    for key in ["$ref", "allOf", "anyOf", "oneOf"] {
        let Some(inner) = schema.get(key) else {
            continue;
        };
        // A part knows its own members, and those of the schemas beside it.
        let mut beside = outer.clone();
        if value.is_object() {
            beside.add_without(key, schema, definitions);
        }
        value = match (key, inner) {
            ("$ref", _) => fit_with(value, definitions.get(&reference(schema)?)?, &beside)?,
            ("allOf", Value::Array(parts)) => {
                for (index, part) in parts.iter().enumerate() {
                    let mut beside = beside.clone();
                    let others = parts.iter().enumerate().filter(|(it, _)| *it != index);
                    for other in others.filter_map(|(_, other)| other.as_object()) {
                        beside.add(other, definitions);
                    }
                    value = fit_with(value, part, &beside)?;
                }
                value
            }
            (_, Value::Array(alternatives)) => alternatives
                .iter()
                .find_map(|schema| fit_with(value.clone(), schema, &beside))?,
            _ => value,
        };
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
