//! Defines [`WireError`], an error on the wire (`_rtype: "error"`, `docs/protocol/03-values.md`).

use std::fmt;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::value::Value;
use crate::keys;

/// Error of a call, in its form on the wire. Python and JavaScript peers send only the message and
/// the trace, and ignore the other fields. These fields are extensions.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct WireError {
    /// Error message (`_rvalue`).
    pub message: String,
    /// Stack trace for people (`_rtrace`). May be empty.
    pub trace: String,
    /// Name of the class of the error, for programs (`_rname`). Only Rust peers send the name.
    pub name: Option<String>,
    /// Data of the error (`_rdata`). Only Rust peers send the data.
    pub data: Option<Box<Value>>,
    /// Messages of the causes, the nearest cause first (`_rcauses`). Only Rust peers send the
    /// causes.
    pub causes: Vec<String>,
    /// Stack frames of the place where the error was created. This field is not sent, because the
    /// frames contain names of source files. The dispatcher adds the frames to the trace only if
    /// the service allows it.
    pub backtrace: Option<Box<str>>,
}

/// Maximum number of causes that are read from a received error, because a peer can send any
/// number.
const MAX_CAUSES: usize = 64;

impl WireError {
    /// Creates an error with this message and no trace.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::default()
        }
    }

    /// Converts the argument of `reject`. If the value is not an error, it becomes the message of
    /// the error, because peers may reject with any value, such as a plain string.
    pub fn from_value(value: Value) -> Self {
        let mut map = match value {
            Value::Map(map) if map.get(keys::RTYPE).and_then(Value::as_str) == Some("error") => map,
            other => return Self::new(into_text(other)),
        };
        let mut take = |key| map.shift_remove(key).unwrap_or_default();
        let trace = take(keys::RTRACE);
        Self {
            message: into_text(take(keys::RVALUE)),
            trace: if trace.is_null() {
                String::new()
            } else {
                into_text(trace)
            },
            name: take(keys::RNAME).as_str().map(str::to_owned),
            data: match take(keys::RDATA) {
                Value::Null => None,
                data => Some(Box::new(data)),
            },
            causes: match take(keys::RCAUSES) {
                Value::List(causes) => {
                    let causes = causes.into_iter().take(MAX_CAUSES);
                    causes.map(into_text).collect()
                }
                _ => Vec::new(),
            },
            backtrace: None,
        }
    }
}

/// Returns a string unchanged, and any other value as JSON.
fn into_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for WireError {}

impl Serialize for WireError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Write extensions only if they are set, so that an error without extensions has the same
        // bytes as in the other clients.
        let extensions = usize::from(self.name.is_some())
            + usize::from(self.data.is_some())
            + usize::from(!self.causes.is_empty());
        let mut map = serializer.serialize_map(Some(3 + extensions))?;
        map.serialize_entry(keys::RTYPE, "error")?;
        map.serialize_entry(keys::RVALUE, &self.message)?;
        map.serialize_entry(keys::RTRACE, &self.trace)?;
        if let Some(name) = &self.name {
            map.serialize_entry(keys::RNAME, name)?;
        }
        if let Some(data) = &self.data {
            map.serialize_entry(keys::RDATA, data)?;
        }
        if !self.causes.is_empty() {
            map.serialize_entry(keys::RCAUSES, &self.causes)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for WireError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from_value)
    }
}
