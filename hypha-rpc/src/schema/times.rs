//! Replaces the schemas of `Duration` and `SystemTime` with the schema of a number of seconds, the
//! form of both types on the wire.
//!
//! serde converts both types into structs, and schemars describes these structs.

use hypha_wire::Timestamp;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::KIND;

const DURATION: [&str; 2] = ["secs", "nanos"];
const SYSTEM_TIME: [&str; 2] = ["secs_since_epoch", "nanos_since_epoch"];

/// Removes the definitions of `Duration` and `SystemTime`. Replaces each reference to these
/// definitions with the schema of a number.
pub(super) fn inline(schema: &mut Value, definitions: &mut Map<String, Value>) {
    let mut numbers: Vec<(String, Map<String, Value>)> = Vec::new();
    definitions.retain(|name, definition| match number_of(name, definition) {
        Some(number) => {
            numbers.push((format!("#/$defs/{name}"), number));
            false
        }
        None => true,
    });
    if numbers.is_empty() {
        return;
    }
    for place in std::iter::once(schema).chain(definitions.values_mut()) {
        replace(place, &numbers);
    }
}

/// Returns the schema of a number of seconds if `definition` describes a `Duration` or a
/// `SystemTime`.
fn number_of(name: &str, definition: &Value) -> Option<Map<String, Value>> {
    // If several types have the same name, schemars appends a digit to the name of each further
    // type.
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let properties = definition.get("properties")?.as_object()?;
    let is_of = |fields: [&str; 2]| {
        let keys: Vec<&str> = properties.keys().map(String::as_str).collect();
        let required = definition.get("required");
        keys == fields
            && required == Some(&json!(fields))
            && definition.get("description").is_none()
    };
    let number = match name {
        "Duration" if is_of(DURATION) => json!({
            "type": "number",
            "minimum": 0,
            "description": "A time span in seconds.",
            (KIND): "duration"
        }),
        "SystemTime" if is_of(SYSTEM_TIME) => {
            Timestamp::json_schema(&mut SchemaGenerator::default()).to_value()
        }
        _ => return None,
    };
    number.as_object().cloned()
}

fn replace(schema: &mut Value, numbers: &[(String, Map<String, Value>)]) {
    match schema {
        Value::Object(members) => {
            let to = members.get("$ref").and_then(Value::as_str);
            let number = numbers.iter().find(|(name, _)| Some(&**name) == to);
            if let Some((_, number)) = number {
                let mut whole = number.clone();
                members.shift_remove("$ref");
                whole.extend(std::mem::take(members));
                *members = whole;
                return;
            }
            for member in members.values_mut() {
                replace(member, numbers);
            }
            lift(members);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, numbers)),
        _ => {}
    }
}

/// Moves the description of an optional time out of `anyOf` to the schema itself. All other
/// optional types have their description there.
fn lift(members: &mut Map<String, Value>) {
    let Some(Value::Array(kinds)) = members.get_mut("anyOf") else {
        return;
    };
    if !kinds.contains(&json!({"type": "null"})) {
        return;
    }
    let is_time = |kind: &&mut Value| matches!(kind[KIND].as_str(), Some("duration" | "timestamp"));
    let marked = kinds.iter_mut().find(is_time);
    let text = marked.and_then(|kind| kind.as_object_mut()?.shift_remove("description"));
    if let Some(text) = text {
        members.entry("description").or_insert(text);
    }
}

/// Converts a default value from the struct that serde writes to a number of seconds.
pub(super) fn seconds(default: &Value) -> Option<Value> {
    let part = |key| default.get(key).and_then(Value::as_u64);
    let (seconds, nanoseconds) = match part(DURATION[0]) {
        Some(seconds) => (seconds, part(DURATION[1])?),
        None => (part(SYSTEM_TIME[0])?, part(SYSTEM_TIME[1])?),
    };
    #[allow(clippy::cast_precision_loss)]
    let number = seconds as f64 + nanoseconds as f64 / 1e9;
    Some(number.into())
}
