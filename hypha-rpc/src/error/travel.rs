//! Serializes [`Error`]. So the error type of a contract can contain an [`Error`] with `#[from]
//! hypha_rpc::Error`.
//!
//! Every variant is deserialized as [`Error::Remote`] with the same message, class and causes. The
//! reason is that for the next caller, the failed call was made by another program.

use std::borrow::Cow;
use std::error::Error as _;

use hypha_wire::keys::SCHEMA_KIND;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::cause::RemoteCause;
use super::{CallSite, Error, RemoteError};

#[derive(serde::Serialize, serde::Deserialize)]
struct SerializedError {
    kind: String,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    method: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    peer: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let causes = std::iter::successors(self.source(), |&cause| cause.source());
        let mut serialized = SerializedError {
            kind: self.kind().to_string(),
            message: self.to_string(),
            class: None,
            name: None,
            method: String::new(),
            peer: String::new(),
            causes: causes.map(ToString::to_string).collect(),
        };
        // Omit the trace, because the trace may contain stack frames of this program.
        if let Error::Remote(error) = self {
            serialized.message.clone_from(&error.message);
            serialized.class.clone_from(&error.class);
            serialized.name.clone_from(&error.name);
            serialized.method.clone_from(&error.call.method);
            serialized.peer.clone_from(&error.call.peer);
        }
        serialized.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let error = SerializedError::deserialize(deserializer)?;
        Ok(Error::Remote(Box::new(RemoteError {
            message: error.message,
            class: error.class,
            name: error.name,
            trace: String::new(),
            data: None,
            call: CallSite {
                method: error.method,
                peer: error.peer,
            },
            cause: RemoteCause::chain(error.causes),
        })))
    }
}

impl JsonSchema for Error {
    fn schema_name() -> Cow<'static, str> {
        "Error".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "The failure of a call: its kind, message, class and causes.",
            (SCHEMA_KIND): "error"
        })
    }
}
