//! Defines [`Value`], a value of any type, for programs that do not know the types of a service.
//!
//! The module `value_serde` contains the serde implementations of [`Value`]. The module `local`
//! contains its conversions to and from other types.

mod handle;

use std::fmt;

pub use handle::{ConnectionRef, Handle, HandleKind, RemoteHandle, set_encryption_key};

use crate::keys;

/// Entries of a [`Value::Map`], in the order in which the peer sent them.
pub type Map = indexmap::IndexMap<String, Value>;

/// Any value that peers can send and receive.
///
/// Typed values such as arrays, sets and errors are maps with the member `_rtype`, and a program
/// can pass them on unchanged. Functions and streams store the connection on which they were
/// received.
///
/// [`Value::encode_from`] converts from every type that serde supports, and [`Value::decode_as`]
/// converts to every such type:
///
/// ```
/// # use hypha_wire::Value;
/// let value = Value::encode_from(&("stage", vec![1.5, 2.0]))?;
/// assert_eq!(value.to_string(), r#"["stage",[1.5,2.0]]"#);
/// let (name, position): (String, Vec<f64>) = value.decode_as()?;
/// assert_eq!((name.as_str(), position.len()), ("stage", 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Null, which is `None` in Python and `null` in JavaScript.
    #[default]
    Null,
    /// Boolean.
    Bool(bool),
    /// Integer up to `i64::MAX`.
    Int(i64),
    /// Integer above `i64::MAX`. Smaller integers are always [`Value::Int`].
    UInt(u64),
    /// Floating-point number. JavaScript peers send a number without a fraction as an integer,
    /// which becomes [`Value::Int`].
    Float(f64),
    /// String.
    String(String),
    /// Binary data. A received value shares the memory of its message.
    Bytes(bytes::Bytes),
    /// List.
    List(Vec<Value>),
    /// Map with string keys.
    Map(Map),
    /// Extension value of msgpack, with its type and data. Type -1 is a
    /// [`Timestamp`](crate::Timestamp).
    Ext(i8, bytes::Bytes),
    /// Function or stream, which is either received or local. [`decode_as`](Self::decode_as)
    /// converts it to a `hypha_rpc::Function`, `hypha_rpc::Callback` or `hypha_rpc::RemoteStream`.
    Handle(Handle),
}

impl Value {
    /// Returns the name of the kind of value, as used in error messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::UInt(_) => "integer",
            Self::Float(_) => "float",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Ext(..) => "extension",
            Self::Handle(handle) => match handle.raw().and_then(|raw| raw.get(keys::RTYPE)) {
                Some(rtype) if rtype.as_str() == Some("generator") => "stream",
                _ => "function",
            },
        }
    }

    /// Returns whether this is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns the boolean, if this is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the integer, if this is an integer up to `i64::MAX`.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the integer, if this is a non-negative integer.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int(value) => u64::try_from(*value).ok(),
            Self::UInt(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the number if this is a float or an integer. Integers beyond 2⁵³ are rounded.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Int(value) => Some(*value as f64),
            Self::UInt(value) => Some(*value as f64),
            _ => None,
        }
    }

    /// Returns the string, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the binary data, if this is binary data.
    pub fn as_bytes(&self) -> Option<&bytes::Bytes> {
        match self {
            Self::Bytes(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the items, if this is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the entries, if this is a map.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the member `key` of a map. For a received function or stream, returns the member
    /// `key` of its map on the wire, for example `_rschema`. Returns `None` if there is no such
    /// member.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Map(map) => map.get(key),
            Self::Handle(handle) => handle.raw()?.get(key),
            _ => None,
        }
    }

    /// Returns the value as JSON, for people and for logs.
    ///
    /// A value that JSON cannot represent becomes an object with one key: `{"$bytes": hex}`,
    /// `{"$ext": [type, hex]}`, `{"$float": "NaN"}`, or, for a local handle, `{"$live":
    /// "function"}`. Such an object cannot be converted back.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::{Value as Json, json};
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::UInt(value) => (*value).into(),
            Self::Float(value) => match serde_json::Number::from_f64(*value) {
                Some(number) => number.into(),
                // NaN and infinity, which JSON cannot represent.
                None => json!({ "$float": value.to_string() }),
            },
            Self::String(value) => value.as_str().into(),
            Self::Bytes(value) => json!({ "$bytes": hex(value) }),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(map) => Json::Object(
                map.iter()
                    .map(|(key, value)| (key.clone(), value.to_json()))
                    .collect(),
            ),
            Self::Ext(code, data) => json!({ "$ext": [code, hex(data)] }),
            Self::Handle(handle) => match handle.raw() {
                Some(raw) => Json::Object(
                    raw.iter()
                        .map(|(key, value)| (key.clone(), value.to_json()))
                        .collect(),
                ),
                None => json!({ "$live": self.kind() }),
            },
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the value as compact JSON, see [`Value::to_json`].
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_json().fmt(f)
    }
}

macro_rules! from {
    ($($type:ty => |$value:ident| $body:expr;)*) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $body
            }
        })*
    };
}

from! {
    () => |_unit| Self::Null;
    bool => |value| Self::Bool(value);
    i8 => |value| Self::Int(value.into());
    i16 => |value| Self::Int(value.into());
    i32 => |value| Self::Int(value.into());
    i64 => |value| Self::Int(value);
    // An unsigned number that fits `i64` becomes `Int`. Thus each number has only one form, and
    // equal numbers compare equal.
    u8 => |value| Self::Int(value.into());
    u16 => |value| Self::Int(value.into());
    u32 => |value| Self::Int(value.into());
    u64 => |value| i64::try_from(value).map_or(Self::UInt(value), Self::Int);
    usize => |value| Self::from(value as u64);
    f32 => |value| Self::Float(value.into());
    f64 => |value| Self::Float(value);
    &str => |value| Self::String(value.to_owned());
    String => |value| Self::String(value);
    bytes::Bytes => |value| Self::Bytes(value);
    Map => |value| Self::Map(value);
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        items.into_iter().collect()
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Self::Int(value),
                (None, Some(value)) => Self::UInt(value),
                (None, None) => number.as_f64().map_or(Self::Null, Self::Float),
            },
            Json::String(value) => Self::String(value),
            Json::Array(items) => items.into_iter().collect(),
            Json::Object(map) => Self::Map(
                map.into_iter()
                    .map(|(key, value)| (key, value.into()))
                    .collect(),
            ),
        }
    }
}
