//! The other things the manager keeps and hands out: workspaces, clients, tokens, events.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{ServiceSummary, UserInfo};
use hypha_wire::{Map, Value};

/// A null where a default is meant.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// One event type or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EventTypes {
    /// A single one.
    One(String),
    /// Any number.
    Many(Vec<String>),
}

impl EventTypes {
    /// All of them.
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

/// A workspace as the manager keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceInfo {
    /// Always `workspace`.
    #[serde(default = "workspace_word", rename = "type")]
    pub kind: String,
    /// The name in addresses.
    #[serde(default)]
    pub id: String,
    /// Display name.
    #[serde(default)]
    pub name: String,
    /// One sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// Kept when its last client leaves.
    #[serde(default, deserialize_with = "null_is_default")]
    pub persistent: bool,
    /// User ids or e-mail addresses.
    #[serde(default, deserialize_with = "null_is_default")]
    pub owners: Vec<String>,
    /// Has no effect on calls.
    #[serde(default, deserialize_with = "null_is_default")]
    pub read_only: bool,
    /// Picture.
    #[serde(default)]
    pub icon: Option<String>,
    /// Pictures.
    #[serde(default)]
    pub covers: Option<Vec<String>>,
    /// Longer text.
    #[serde(default)]
    pub docs: Option<String>,
    /// Kinds of services, by id.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schemars(with = "std::collections::BTreeMap<String, ServiceTypeInfo>")]
    pub service_types: IndexMap<String, ServiceTypeInfo>,
    /// Environment variables, bookmarks and whatever else was given.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub config: Map,
    /// Ready, loading, or what went wrong.
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
            description: None,
            persistent: false,
            owners: Vec::new(),
            read_only: false,
            icon: None,
            covers: None,
            docs: None,
            service_types: IndexMap::new(),
            config: Map::new(),
            status: None,
        }
    }
}

impl WorkspaceInfo {
    /// Whether the workspace belongs to `user`: by id, by e-mail address, or as its personal one.
    ///
    /// Who acts with a token that somebody else issued owns nothing: such a token can do what its
    /// scope says and no more.
    pub fn owned_by(&self, user: &UserInfo) -> bool {
        let listed = |owner: &String| *owner == user.id || Some(owner) == user.email.as_ref();
        user.parent.is_none() && (self.owners.iter().any(listed) || self.id == user.own_workspace())
    }
}

/// What to create: any part of a [`WorkspaceInfo`], with at least an id or a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceConfig {
    /// The name in addresses; lower-case letters, digits and hyphens.
    #[serde(default)]
    pub id: Option<String>,
    /// Display name; the id if absent.
    #[serde(default)]
    pub name: Option<String>,
    /// One sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// Keep it when its last client leaves.
    #[serde(default, deserialize_with = "null_is_default")]
    pub persistent: bool,
    /// User ids or e-mail addresses; the caller is added.
    #[serde(default, deserialize_with = "null_is_default")]
    pub owners: Vec<String>,
    /// Has no effect on calls.
    #[serde(default, deserialize_with = "null_is_default")]
    pub read_only: bool,
    /// Picture.
    #[serde(default)]
    pub icon: Option<String>,
    /// Pictures.
    #[serde(default)]
    pub covers: Option<Vec<String>>,
    /// Longer text.
    #[serde(default)]
    pub docs: Option<String>,
    /// Kinds of services, by id.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schemars(with = "std::collections::BTreeMap<String, ServiceTypeInfo>")]
    pub service_types: IndexMap<String, ServiceTypeInfo>,
    /// Anything else worth keeping.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub config: Map,
}

/// A workspace in a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceListing {
    /// The name in addresses.
    pub id: String,
    /// Display name.
    pub name: String,
    /// One sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// Has no effect on calls.
    #[serde(default, deserialize_with = "null_is_default")]
    pub read_only: bool,
    /// Kept when its last client leaves.
    #[serde(default, deserialize_with = "null_is_default")]
    pub persistent: bool,
    /// User ids or e-mail addresses.
    #[serde(default, deserialize_with = "null_is_default")]
    pub owners: Vec<String>,
}

/// What is in a workspace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceSummary {
    /// Display name.
    pub name: String,
    /// One sentence.
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

/// Whether a workspace can be used, and what the caller may do there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceStatus {
    /// `ready`, `loading`, `error` or `not_found`.
    pub status: String,
    /// Parts that failed while the workspace became ready.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    pub errors: Option<Value>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `r`, `rw` or `a`.
    #[serde(default)]
    pub user_permission: Option<String>,
}

/// A connected client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClientInfo {
    /// `workspace/client`.
    pub id: String,
    /// Whose it is.
    #[serde(default)]
    pub user: UserInfo,
}

/// A kind of service that others can be checked against.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceTypeInfo {
    /// Its name; comes back as `workspace/name`.
    pub id: String,
    /// Display name.
    pub name: String,
    /// The schema tree of an example service.
    #[schemars(with = "serde_json::Value")]
    pub definition: Value,
    /// One sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// `visibility: public` lets other workspaces read it.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub config: Map,
    /// Longer text.
    #[serde(default)]
    pub docs: Option<String>,
}

/// What a new token may do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TokenConfig {
    /// Seconds until it ends; 3600 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
    /// The workspace it is for; the caller's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// `read`, `read_write` (if absent) or `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<String>,
    /// Further scope words, for special purposes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_scopes: Option<Vec<String>>,
    /// The only client that may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Another e-mail address; for callers with the role `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// A workspace or service worth remembering.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bookmark {
    /// `workspace` or `service`.
    pub bookmark_type: String,
    /// What it points to.
    pub id: String,
}

/// An entry of the event log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventRecord {
    /// Running number.
    pub id: u64,
    /// One word.
    pub event_type: String,
    /// Where it happened.
    pub workspace: String,
    /// Who did it.
    pub user_id: String,
    /// When, as ISO text in UTC.
    pub timestamp: String,
    /// Anything.
    #[serde(default)]
    #[schemars(with = "serde_json::Value")]
    pub data: Value,
}

/// How often an event was logged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventCount {
    /// One word.
    pub event_type: String,
    /// How often.
    pub count: u64,
}
