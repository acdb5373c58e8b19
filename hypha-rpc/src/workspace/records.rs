//! Types for records of workspaces, clients, tokens and events.
//!
//! The doc comments of types with `JsonSchema` are published as descriptions in schemas, and
//! clients in other languages show these descriptions. Therefore such doc comments contain no
//! examples. Only types that are flattened into other types contain links, because the descriptions
//! of flattened types are not published.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::keyword::Words;
use super::{Keyword, Permission, ServiceSummary, UserInfo};
use hypha_wire::{Map, Value};

/// Decodes null as the default value, because some clients send null for a key that the user did
/// not set.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Decodes a whole number. Also accepts a float or a string, like the Python server.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Whole(u64),
        Float(f64),
        Text(String),
        Other(Value),
    }
    let expected = "expected a whole number of seconds that is not negative";
    let unfit =
        |given: &dyn std::fmt::Display| D::Error::custom(format!("{expected}, got {given}"));
    let Some(given) = Option::<Number>::deserialize(deserializer)? else {
        return Ok(None);
    };
    match given {
        Number::Whole(number) => Ok(Some(number)),
        Number::Float(number) if number >= 0.0 && number.fract() == 0.0 => Ok(Some(number as u64)),
        Number::Float(number) => Err(unfit(&number)),
        Number::Text(text) => match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(unfit(&format_args!("`{text}`"))),
        },
        Number::Other(value) => Err(unfit(&value.to_json())),
    }
}

/// One event type or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EventTypes {
    /// One type.
    One(String),
    /// Any number of types.
    Many(Vec<String>),
}

impl EventTypes {
    /// Returns the types.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        match self {
            EventTypes::One(name) => std::slice::from_ref(name),
            EventTypes::Many(names) => names,
        }
    }
}

impl From<&str> for EventTypes {
    fn from(name: &str) -> Self {
        EventTypes::One(name.to_owned())
    }
}

impl From<Vec<String>> for EventTypes {
    fn from(names: Vec<String>) -> Self {
        EventTypes::Many(names)
    }
}

/// The properties of a workspace that its creator sets.
///
/// Shared part of [`WorkspaceInfo`] and [`WorkspaceConfig`], flattened into both on the wire.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceProperties {
    /// Description, one sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether the server keeps the workspace when its last client leaves. Default: false.
    #[serde(default, deserialize_with = "null_is_default")]
    pub persistent: bool,
    /// User ids or e-mail addresses of the owners. The server adds the creator.
    #[serde(default, deserialize_with = "null_is_default")]
    pub owners: Vec<String>,
    /// Mark for people; has no effect on calls. Default: false.
    #[serde(default, deserialize_with = "null_is_default")]
    pub read_only: bool,
    /// Picture.
    #[serde(default)]
    pub icon: Option<String>,
    /// Pictures.
    #[serde(default)]
    pub covers: Option<Vec<String>>,
    /// Documentation of any length.
    #[serde(default)]
    pub docs: Option<String>,
    /// Service types, by id.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schemars(with = "std::collections::BTreeMap<String, ServiceTypeInfo>")]
    pub service_types: IndexMap<String, ServiceTypeInfo>,
    /// Environment variables (`environs`), bookmarks and any other data.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub config: Map,
}

/// Record of a workspace, as the manager stores it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceInfo {
    /// Always `workspace`.
    #[serde(default = "workspace_word", rename = "type")]
    pub kind: String,
    /// Name of the workspace in addresses.
    #[serde(default)]
    pub id: String,
    /// Display name.
    #[serde(default)]
    pub name: String,
    /// Properties that the creator sets.
    #[serde(flatten)]
    pub properties: WorkspaceProperties,
    /// Whether the workspace is ready or loading, or the error of loading it.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    pub status: Option<Value>,
}

fn workspace_word() -> String {
    "workspace".into()
}

impl Default for WorkspaceInfo {
    fn default() -> Self {
        WorkspaceInfo {
            kind: workspace_word(),
            id: String::new(),
            name: String::new(),
            properties: WorkspaceProperties::default(),
            status: None,
        }
    }
}

impl WorkspaceInfo {
    /// Returns whether `user` owns the workspace. A user owns a workspace that lists the user's id
    /// or e-mail address as an owner, and the user's personal workspace.
    ///
    /// A user with a token that another user issued owns no workspace, because such a token grants
    /// only its own scope.
    pub fn owned_by(&self, user: &UserInfo) -> bool {
        let listed = |owner: &String| *owner == user.id || Some(owner) == user.email.as_ref();
        let owners = &self.properties.owners;
        user.parent.is_none() && (owners.iter().any(listed) || self.id == user.own_workspace())
    }
}

/// Workspace to create.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceConfig {
    /// Name of the workspace in addresses: lower-case letters, digits and hyphens. Default: the
    /// name; one of the two is required.
    #[serde(default)]
    pub id: Option<String>,
    /// Display name. Default: the id.
    #[serde(default)]
    pub name: Option<String>,
    /// Properties that the creator sets.
    #[serde(flatten)]
    pub properties: WorkspaceProperties,
}

/// A workspace in a list.
//
// This type has only some fields of `WorkspaceProperties`, in another order, so it cannot contain
// that struct.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceListing {
    /// Name of the workspace in addresses.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Description, one sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// Mark for people; has no effect on calls.
    #[serde(default, deserialize_with = "null_is_default")]
    pub read_only: bool,
    /// Whether the server keeps the workspace when its last client leaves.
    #[serde(default, deserialize_with = "null_is_default")]
    pub persistent: bool,
    /// User ids or e-mail addresses of the owners.
    #[serde(default, deserialize_with = "null_is_default")]
    pub owners: Vec<String>,
}

/// The clients and services of a workspace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceSummary {
    /// Display name.
    pub name: String,
    /// Description, one sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// Number of clients.
    pub client_count: u64,
    /// Addresses of the clients.
    pub clients: Vec<String>,
    /// Number of services.
    pub service_count: u64,
    /// The services.
    pub services: Vec<ServiceSummary>,
}

/// The state of a workspace, and the caller's permission there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceStatus {
    /// `ready`, `loading`, `error` or `not_found`.
    pub status: String,
    /// Parts that failed while the workspace was loaded.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    pub errors: Option<Value>,
    /// Error of loading the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Permission of the caller: `r`, `rw` or `a`.
    #[serde(default)]
    pub user_permission: Option<String>,
}

/// A connected client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClientInfo {
    /// Address, `workspace/client`.
    pub id: String,
    /// User that the client is connected as.
    #[serde(default)]
    pub user: UserInfo,
}

/// Service type, against which services can be checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceTypeInfo {
    /// Name of the type. The server returns it as `workspace/name`.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Schema tree of an example service.
    #[schemars(with = "serde_json::Value")]
    pub definition: Value,
    /// Description, one sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// `visibility: public` lets other workspaces read the type.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub config: Map,
    /// Documentation of any length.
    #[serde(default)]
    pub docs: Option<String>,
}

/// Options of a new token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TokenConfig {
    /// Lifetime in seconds. Default: 3600.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole_number"
    )]
    pub expires_in: Option<u64>,
    /// Workspace that the token is for. Default: the caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// `read`, `read_write` or `admin`. Default: `read_write`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<Keyword<Permission>>,
    /// Additional words of the token's scope. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_scopes: Option<Vec<String>>,
    /// Only client that may use the token. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// E-mail address of the token's user; only callers with the role `admin` may set it. Default:
    /// the caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// The target of a [`Bookmark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookmarkType {
    /// A workspace.
    Workspace,
    /// A service.
    Service,
}

impl Words for BookmarkType {
    fn from_word(text: &str) -> Option<Self> {
        match text {
            "workspace" => Some(BookmarkType::Workspace),
            "service" => Some(BookmarkType::Service),
            _ => None,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            BookmarkType::Workspace => "workspace",
            BookmarkType::Service => "service",
        }
    }
}

/// A bookmark of a workspace or service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bookmark {
    /// `workspace` or `service`.
    pub bookmark_type: Keyword<BookmarkType>,
    /// Id of the workspace or service.
    pub id: String,
}

/// An entry of the event log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventRecord {
    /// Number of the entry, in ascending order.
    pub id: u64,
    /// Type of the event, one word.
    pub event_type: String,
    /// Workspace of the event.
    pub workspace: String,
    /// Id of the user that caused the event.
    pub user_id: String,
    /// Time of the event in UTC, as an ISO 8601 string.
    pub timestamp: String,
    /// Data of the event.
    #[serde(default)]
    #[schemars(with = "serde_json::Value")]
    pub data: Value,
}

/// Number of logged events of one type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventCount {
    /// Type of the event, one word.
    pub event_type: String,
    /// Number of events.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map<const N: usize>(entries: [(&str, Value); N]) -> Map {
        entries.map(|(key, value)| (key.to_owned(), value)).into()
    }

    #[test]
    fn shared_properties_are_flat_on_the_wire() {
        // serde reads flattened fields through a buffer, and the buffer could change such values.
        let config = map([
            ("bytes", Value::Bytes(vec![1, 2].into())),
            ("extension", Value::Ext(5, vec![3].into())),
            ("large", Value::UInt(u64::MAX)),
            ("negative", Value::Int(-1)),
        ]);
        let given = map([
            ("config", Value::Map(config.clone())),
            ("id", Value::from("lab")),
            ("owners", Value::Null),
            ("persistent", Value::from(true)),
            ("other", Value::from(1i64)),
        ]);
        let info: WorkspaceInfo = Value::Map(given).decode_as().unwrap();
        assert_eq!(info.properties.config, config);
        assert!(info.properties.persistent && info.properties.owners.is_empty());

        let keys = |value: Value| -> Vec<String> {
            let map = value.as_map().unwrap();
            map.keys().cloned().collect()
        };
        let shared = [
            "description",
            "persistent",
            "owners",
            "read_only",
            "icon",
            "covers",
            "docs",
            "service_types",
            "config",
        ];
        let written = keys(Value::encode_from(&info).unwrap());
        assert_eq!(written[..3], ["type", "id", "name"]);
        assert_eq!(written[3..12], shared);
        assert_eq!(written[12..], ["status"]);
        let written = keys(Value::encode_from(&WorkspaceConfig::default()).unwrap());
        assert_eq!(written[..2], ["id", "name"]);
        assert_eq!(written[2..], shared);
    }
}
