//! Defines [`MethodRef`], the map of a function on the wire (`_rtype: "method"`,
//! `docs/protocol/03-values.md`).

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::binary::Binary;
use super::value::Value;
use crate::keys;

/// Reference to a function of a peer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MethodRef {
    /// Public base URL of the server to which the owner of the function is connected.
    pub server: Option<String>,
    /// Address of the owner: `workspace/client`, or only `client` if the owner is in the workspace
    /// of the sender.
    pub target: String,
    /// Path of the function at the owner: `services.<id>.<member>` or `<session>.<object>`.
    pub method: String,
    /// Form in which callers must request the response.
    pub promise: PromiseKind,
    /// Name of the function itself, for messages to users. This name may differ from the name of
    /// the function in the service.
    pub name: Option<String>,
    /// Whether the function is asynchronous. Only set for methods of services.
    pub is_async: Option<bool>,
    /// Documentation.
    pub doc: Option<String>,
    /// JSON Schema of the function: name, description and parameters.
    pub schema: Option<Value>,
    /// Public key of the owner. Callers encrypt their calls with this key. `None` if calls are not
    /// encrypted.
    pub enc_pub: Option<bytes::Bytes>,
    /// Whether callers must send a release to the owner when the last handle is dropped. Only set
    /// by Rust peers.
    pub release: bool,
    /// Whether a caller must send a cancellation to the owner when the caller stops waiting. Only
    /// set by Rust peers.
    pub cancel: bool,
}

/// Form in which a function sends its response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PromiseKind {
    /// No response (`false`).
    #[default]
    None,
    /// To the session of the caller (`"*"`). This is the usual form.
    Star,
    /// To methods that the message contains (`true`).
    Full,
}

impl MethodRef {
    /// Returns whether this is a method of a service. Every other function is a callback, which
    /// belongs to a session.
    pub fn is_service_method(&self) -> bool {
        self.method.starts_with("services.")
    }
}

/// The keys have the same order as in the Python client, so that messages can be compared with
/// recorded messages. The order differs between methods of services and callbacks.
impl Serialize for MethodRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let service = self.is_service_method();
        // The methods that receive responses have neither a name nor documentation.
        let described = self.promise != PromiseKind::None;
        let optional = [
            self.server.is_some(),
            described || self.name.is_some(),
            self.is_async.is_some(),
            described || self.doc.is_some(),
            self.schema.is_some(),
            self.enc_pub.is_some(),
            self.release,
            self.cancel,
        ];
        let len = 4 + optional.iter().filter(|given| **given).count();
        let mut map = serializer.serialize_map(Some(len))?;
        map.serialize_entry(keys::RTYPE, "method")?;
        if let Some(server) = &self.server {
            map.serialize_entry(keys::RSERVER, server)?;
        }
        map.serialize_entry(keys::RTARGET, &self.target)?;
        map.serialize_entry(keys::RMETHOD, &self.method)?;
        if service {
            map.serialize_entry(keys::RPROMISE, &self.promise)?;
        }
        if described || self.name.is_some() {
            map.serialize_entry(keys::RNAME, &self.name)?;
        }
        if !service {
            map.serialize_entry(keys::RPROMISE, &self.promise)?;
        }
        if let Some(is_async) = self.is_async {
            map.serialize_entry(keys::RASYNC, &is_async)?;
        }
        if let Some(key) = &self.enc_pub {
            map.serialize_entry(keys::RENC_PUB, &Binary(key.clone()))?;
        }
        if described || self.doc.is_some() {
            map.serialize_entry(keys::RDOC, &self.doc)?;
        }
        if let Some(schema) = &self.schema {
            map.serialize_entry(keys::RSCHEMA, schema)?;
        }
        if self.release {
            map.serialize_entry(keys::RRELEASE, &true)?;
        }
        if self.cancel {
            map.serialize_entry(keys::RCANCEL, &true)?;
        }
        map.end()
    }
}

/// Entries of the map. `Wire` is a separate type, because the tag is checked but not stored.
#[derive(serde::Deserialize)]
struct Wire {
    #[serde(rename = "_rtype")]
    rtype: String,
    #[serde(rename = "_rserver")]
    server: Option<String>,
    #[serde(rename = "_rtarget")]
    target: String,
    #[serde(rename = "_rmethod")]
    method: String,
    // If this key is missing, the function sends no response, as in the other clients.
    #[serde(rename = "_rpromise", default)]
    promise: PromiseKind,
    #[serde(rename = "_rname")]
    name: Option<String>,
    #[serde(rename = "_rasync")]
    is_async: Option<bool>,
    #[serde(rename = "_rdoc")]
    doc: Option<String>,
    #[serde(rename = "_rschema")]
    schema: Option<Value>,
    #[serde(rename = "_renc_pub")]
    enc_pub: Option<Binary>,
    #[serde(rename = "_rrelease", default)]
    release: bool,
    #[serde(rename = "_rcancel", default)]
    cancel: bool,
}

impl<'de> Deserialize<'de> for MethodRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        if wire.rtype != "method" {
            return Err(de::Error::custom("expected a function"));
        }
        Ok(Self {
            server: wire.server,
            target: wire.target,
            method: wire.method,
            promise: wire.promise,
            name: wire.name,
            is_async: wire.is_async,
            doc: wire.doc,
            schema: wire.schema,
            enc_pub: wire.enc_pub.map(|key| key.0),
            release: wire.release,
            cancel: wire.cancel,
        })
    }
}

impl Serialize for PromiseKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_bool(false),
            Self::Star => serializer.serialize_str("*"),
            Self::Full => serializer.serialize_bool(true),
        }
    }
}

impl<'de> Deserialize<'de> for PromiseKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null | Value::Bool(false) => Ok(Self::None),
            Value::Bool(true) => Ok(Self::Full),
            Value::String(text) if text == "*" => Ok(Self::Star),
            // Use the same error message as the other clients.
            other => Err(de::Error::custom(format_args!(
                "Unsupported promise type: {other}"
            ))),
        }
    }
}
