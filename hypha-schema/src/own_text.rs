//! Distinguishes the descriptions that the author of a service wrote from the default descriptions
//! of types in `hypha-rpc`.

use hypha_rpc::{Error, Function, Object, RemoteFile, RemoteService, RemoteStream};
use hypha_wire::keys::{self, SCHEMA_KIND};
use hypha_wire::{Timestamp, Value, array_schema};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value as Json;

/// Returns the description in a schema. Returns an empty string for the default description that
/// `hypha-rpc` gives to types such as arrays, functions and streams.
pub(crate) fn own_text(schema: &Json) -> String {
    let text = schema["description"].as_str().unwrap_or("");
    // In the schema of a nullable type, the description is beside `anyOf`, and not in the
    // alternatives.
    let kinds = schema["anyOf"].as_array();
    let marked = kinds.and_then(|kinds| kinds.iter().find(|kind| kind.get(SCHEMA_KIND).is_some()));
    let schema = marked.unwrap_or(schema);
    let mut generator = SchemaGenerator::default();
    let common = match schema[SCHEMA_KIND].as_str() {
        Some("ndarray") => {
            let dtype = schema[keys::SCHEMA_DTYPE].as_str();
            let dimensions = schema[keys::SCHEMA_DIMENSIONS].as_u64();
            array_schema(
                dtype,
                dimensions.and_then(|number| usize::try_from(number).ok()),
            )
        }
        Some("function") => Function::json_schema(&mut generator),
        Some("stream") => RemoteStream::<Value>::json_schema(&mut generator),
        Some("object") => Object::<RemoteService>::json_schema(&mut generator),
        Some("file") => RemoteFile::json_schema(&mut generator),
        Some("error") => Error::json_schema(&mut generator),
        Some("duration") if text == "A time span in seconds." => return String::new(),
        Some("timestamp") => Timestamp::json_schema(&mut generator),
        _ => return text.to_owned(),
    };
    match common.get("description").and_then(Json::as_str) == Some(text) {
        true => String::new(),
        false => text.to_owned(),
    }
}
