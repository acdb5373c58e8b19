//! Types for the record of a service. The owner of the service sends the record to the workspace
//! manager, and the manager lists the record (`docs/protocol/04-services.md#s4`).
//!
//! The doc comments of types with `JsonSchema` are published as descriptions in schemas, and
//! clients in other languages show these descriptions. Therefore such doc comments contain neither
//! links nor examples.

use hypha_wire::{Map, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The clients that see a service and may call it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Every client sees and calls the service.
    Public,
    /// Clients of the service's workspace and of authorized workspaces see and call the service.
    #[default]
    Protected,
    /// Every client that knows the id calls the service. It is not listed in other workspaces.
    Unlisted,
}

impl Visibility {
    /// Returns the string that represents this visibility in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Visibility::Public => "public",
            Visibility::Protected => "protected",
            Visibility::Unlisted => "unlisted",
        }
    }
}

/// The members of a service that get the call context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ContextRule {
    /// All members, or none.
    All(bool),
    /// These members only.
    Members(Vec<String>),
}

impl Default for ContextRule {
    fn default() -> Self {
        ContextRule::All(false)
    }
}

/// The `config` of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceConfig {
    /// Clients that see and may call the service.
    #[serde(default)]
    pub visibility: Visibility,
    /// Members that get the call context.
    #[serde(default)]
    pub require_context: ContextRule,
    /// Workspace of the service.
    #[serde(default)]
    pub workspace: Option<String>,
    /// Words for people and programs that list services; the server only stores them.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Whether the workspace may contain only one service with this id.
    #[serde(default)]
    pub singleton: Option<bool>,
    /// User that registered the service; written by the server.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    pub created_by: Option<Value>,
    /// Vector for the search by meaning; this crate does not use it.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    pub service_embedding: Option<Value>,
    /// Other workspaces whose clients may use a protected service.
    #[serde(default)]
    pub authorized_workspaces: Option<Vec<String>>,
    /// All other keys.
    #[serde(flatten)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub extra: Map,
}

/// Record of a service, as its owner registers it and the manager lists it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceInfo {
    /// Visibility and other settings.
    pub config: ServiceConfig,
    /// Full id, `workspace/client:name`. The workspace is optional when registering.
    pub id: String,
    /// Display name. Default: the service's name in the id.
    #[serde(default)]
    pub name: Option<String>,
    /// Description, at most 1024 characters.
    #[serde(default)]
    pub description: Option<String>,
    /// Service type. Default: `generic`.
    #[serde(default = "generic", rename = "type")]
    pub kind: Option<String>,
    /// Documentation of any length.
    #[serde(default)]
    pub docs: Option<String>,
    /// Application that the service belongs to, or `*` for none.
    #[serde(default)]
    pub app_id: Option<String>,
    /// Schemas of the members.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    pub service_schema: Option<Value>,
}

fn generic() -> Option<String> {
    Some("generic".into())
}
