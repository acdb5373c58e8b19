//! Corrects the schemas of variants whose only field serde skips.
//!
//! serde sends a variant such as `File(#[serde(skip)] PathBuf)` like one without fields. schemars
//! writes the schema of the field. It marks a field that serde does not receive as read-only, and a
//! field that serde does not send as write-only.

use hypha_wire::keys;
use serde_json::{Map, Value, json};

/// Keys that describe the type of a field.
const KEYS_OF_TYPES: [&str; 8] = [
    keys::SCHEMA_KIND,
    keys::SCHEMA_DTYPE,
    keys::SCHEMA_DIMENSIONS,
    keys::SCHEMA_KEYS,
    keys::SCHEMA_ARGUMENTS,
    keys::SCHEMA_RETURNS,
    keys::SCHEMA_METHODS,
    keys::SCHEMA_ERROR,
];

/// Keyword of a field that serde does not receive.
pub(super) const NOT_RECEIVED: &str = "readOnly";
/// Keyword of a field that serde does not send.
pub(super) const NOT_SENT: &str = "writeOnly";

/// Corrects the variants in a schema of an enum. `mark` is the keyword of a field that serde skips
/// in the direction of the schema.
pub(super) fn correct(schema: &mut Map<String, Value>, mark: &str) {
    for key in ["oneOf", "anyOf"] {
        let Some(Value::Array(variants)) = schema.get_mut(key) else {
            continue;
        };
        let mut has_new_words = false;
        for variant in variants.iter_mut().filter_map(Value::as_object_mut) {
            has_new_words |= correct_variant(variant, mark);
        }
        if has_new_words {
            join_words(variants);
        }
    }
}

fn is_skipped(schema: &Map<String, Value>, mark: &str) -> bool {
    schema.get(mark) == Some(&Value::Bool(true))
}

/// Corrects a variant, if serde skips its field. Returns whether the variant has become a string.
fn correct_variant(variant: &mut Map<String, Value>, mark: &str) -> bool {
    let members = variant.get("properties").and_then(Value::as_object);
    if is_skipped(variant, mark) {
        // Beside an internal tag, which comes first, are the members of the field. An untagged
        // variant has no tag.
        let first = members.and_then(|members| members.iter().next());
        let tag = first.filter(|(_, tag)| tag.get("const").is_some());
        let tag = tag.map(|(name, tag)| (name.clone(), tag.clone()));
        keep_own(variant);
        match tag {
            Some((name, tag)) => {
                variant.insert("type".to_owned(), "object".into());
                variant.insert("properties".to_owned(), json!({ (name.as_str()): tag }));
                variant.insert("required".to_owned(), json!([name]));
            }
            None => {
                variant.shift_remove("additionalProperties");
                variant.insert("type".to_owned(), "null".into());
            }
        }
        return false;
    }
    let is_field = |member: &Value| member.as_object().is_some_and(|it| is_skipped(it, mark));
    // More members are fields beside an internal tag.
    let members = members.filter(|members| members.len() <= 2);
    let field = members.and_then(|members| members.iter().find(|(_, member)| is_field(member)));
    let Some((name, only)) = field.map(|(name, _)| (name.clone(), members.map(Map::len))) else {
        return false;
    };
    if only == Some(1) {
        keep_own(variant);
        variant.shift_remove("additionalProperties");
        variant.insert("type".to_owned(), "string".into());
        variant.insert("const".to_owned(), name.into());
        return true;
    }
    // The content beside an adjacent tag.
    if let Some(Value::Object(members)) = variant.get_mut("properties") {
        members.shift_remove(&name);
    }
    if let Some(Value::Array(required)) = variant.get_mut("required") {
        required.retain(|member| *member != name);
    }
    false
}

/// Removes all keywords that describe the field. The description is that of the type of the field,
/// if the type is one that JSON cannot represent.
fn keep_own(variant: &mut Map<String, Value>) {
    let has_kind = variant.contains_key(keys::SCHEMA_KIND);
    variant.retain(|key, value| match key.as_str() {
        "description" => !has_kind,
        "deprecated" => true,
        "additionalProperties" => *value == Value::Bool(false),
        key => key.starts_with("x-") && !KEYS_OF_TYPES.contains(&key),
    });
}

/// Writes the variants without fields and descriptions as one list, as schemars does.
fn join_words(variants: &mut Vec<Value>) {
    let is_plain = |variant: &Value| {
        let members = variant.as_object().map_or(0, Map::len);
        variant["type"] == "string" && variant["const"].is_string() && members == 2
    };
    let words: Vec<Value> = variants
        .iter()
        .filter(|variant| is_plain(variant))
        .map(|variant| variant["const"].clone())
        .collect();
    if words.is_empty() {
        return;
    }
    variants.retain(|variant| !is_plain(variant));
    let list = variants
        .iter_mut()
        .find_map(|variant| variant.get_mut("enum").and_then(Value::as_array_mut));
    match list {
        Some(list) => list.extend(words),
        None => variants.insert(0, json!({"type": "string", "enum": words})),
    }
}
