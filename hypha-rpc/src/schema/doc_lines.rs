//! Reads units and examples from lines of a description: `Unit: mm`, `Example: 0.5`.

use hypha_wire::keys::SCHEMA_UNIT;
use serde_json::{Map, Value};

/// Adds the unit and the examples of the description to the schema. The lines stay in the
/// description, for programs that do not read the keys.
pub(super) fn annotate(schema: &mut Map<String, Value>) {
    let Some(Value::String(text)) = schema.get("description") else {
        return;
    };
    let value = |line: &str, name: &str| {
        let value = line.trim().strip_prefix(name)?.strip_prefix(':')?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    let unit = text.lines().find_map(|line| value(line, "Unit"));
    let examples = text.lines().filter_map(|line| value(line, "Example"));
    let is_text = is_text(schema);
    let examples: Vec<Value> = examples
        .map(|text| match serde_json::from_str::<Value>(&text) {
            Ok(value) if !is_text || value.is_string() => value,
            // An example of a string needs no quotes.
            _ => text.into(),
        })
        .collect();
    if let Some(unit) = unit {
        schema.entry(SCHEMA_UNIT).or_insert(unit.into());
    }
    if !examples.is_empty() {
        schema.entry("examples").or_insert(examples.into());
    }
}

/// Returns whether the values are strings, or null.
fn is_text(schema: &Map<String, Value>) -> bool {
    match (schema.get("type"), schema.get("anyOf")) {
        (Some(Value::String(kind)), _) => kind == "string",
        // An `Option`, before and after it is normalised.
        (Some(Value::Array(kinds)), _) => kinds.iter().all(|it| it == "string" || it == "null"),
        (None, Some(Value::Array(kinds))) => {
            let is_text = |kind: &Value| kind["type"] == "string" || kind["type"] == "null";
            kinds.iter().all(is_text)
        }
        _ => false,
    }
}
