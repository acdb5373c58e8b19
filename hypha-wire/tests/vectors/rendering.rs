//! Reads the files of vectors, which represent values as JSON.

use std::path::Path;

use hypha_wire::{Map, Value};
use serde_json::Value as Json;

pub(crate) fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors")
}

pub(crate) fn whole_file(file: &str) -> Json {
    let text = std::fs::read_to_string(directory().join(file)).expect("vectors are there");
    serde_json::from_str(&text).expect("vectors are JSON")
}

pub(crate) fn load(file: &str) -> Vec<Json> {
    let json = whole_file(file);
    json["vectors"].as_array().expect("a list").clone()
}

pub(crate) fn unhex(hex: &Json) -> bytes::Bytes {
    let hex = hex.as_str().expect("bytes");
    let pairs = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).expect("hex"));
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).expect("hex"))
        .collect()
}

/// Converts the JSON form of a value to the value. Returns `None` if the value has keys that are
/// not strings.
pub(crate) fn from_rendering(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Array(items) => Value::List(items.iter().map(from_rendering).collect::<Option<_>>()?),
        Json::Object(map) => {
            if let Some(hex) = map.get("$bytes") {
                return Some(Value::Bytes(unhex(hex)));
            }
            if let Some(text) = map.get("$float") {
                return Some(Value::Float(text.as_str()?.parse().expect("a float")));
            }
            if let Some(ext) = map.get("$ext") {
                let code = i8::try_from(ext[0].as_i64()?).expect("a type");
                return Some(Value::Ext(code, unhex(&ext[1])));
            }
            if map.contains_key("$map") {
                return None;
            }
            let entries = map
                .iter()
                .map(|(key, value)| Some((key.clone(), from_rendering(value)?)));
            Value::Map(entries.collect::<Option<Map>>()?)
        }
        other => other.clone().into(),
    })
}

/// Compares values. NaN equals NaN, and the order of keys matters.
pub(crate) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => {
            left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
        }
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| same(left, right))
        }
        (Value::Map(left), Value::Map(right)) => same_map(left, right),
        _ => left == right,
    }
}

pub(crate) fn same_map(left: &Map, right: &Map) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|((left_key, left), (right_key, right))| {
                left_key == right_key && same(left, right)
            })
}
