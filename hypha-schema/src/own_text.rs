//! Distinguishes descriptions of the service's author from those of `hypha-rpc`'s own types.

use hypha_rpc::{Function, Object, RemoteFile, RemoteService, RemoteStream};
use hypha_wire::keys::SCHEMA_KIND;
use hypha_wire::{NdArray, Timestamp, Value};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value as Json;

/// Returns the description in a schema, unless it is the one that `hypha-rpc` gives to every array,
/// function or stream.
pub(crate) fn own_text(schema: &Json) -> String {
    let text = schema["description"].as_str().unwrap_or("");
    let mut generator = SchemaGenerator::default();
    let common = match schema[SCHEMA_KIND].as_str() {
        Some("ndarray") => NdArray::json_schema(&mut generator),
        Some("function") => Function::json_schema(&mut generator),
        Some("stream") => RemoteStream::<Value>::json_schema(&mut generator),
        Some("object") => Object::<RemoteService>::json_schema(&mut generator),
        Some("file") => RemoteFile::json_schema(&mut generator),
        Some("timestamp") => Timestamp::json_schema(&mut generator),
        _ => return text.to_owned(),
    };
    match common.get("description").and_then(Json::as_str) == Some(text) {
        true => String::new(),
        false => text.to_owned(),
    }
}
