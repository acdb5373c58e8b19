//! A service as its owner describes it to the workspace manager
//! (`docs/protocol/04-services.md#s4`).

use hypha_wire::{Map, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who sees a service, and who may call it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Listed everywhere, usable by everyone.
    Public,
    /// For the own workspace and the authorized ones.
    #[default]
    Protected,
    /// Usable by everyone who knows the id, never listed elsewhere.
    Unlisted,
}

impl Visibility {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Visibility::Public => "public",
            Visibility::Protected => "protected",
            Visibility::Unlisted => "unlisted",
        }
    }
}

/// Which members of a service get the call context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ContextRule {
    /// All of them or none.
    All(bool),
    /// Only these.
    Members(Vec<String>),
}

impl Default for ContextRule {
    fn default() -> Self {
        ContextRule::All(false)
    }
}

/// The `config` of a service. Keys that are not named here are kept in `extra`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceConfig {
    /// Who sees and may call the service.
    #[serde(default)]
    pub visibility: Visibility,
    /// Which members get the call context.
    #[serde(default)]
    pub require_context: ContextRule,
    /// The workspace the service is in.
    #[serde(default)]
    pub workspace: Option<String>,
    /// Free words, stored only.
    #[serde(default)]
    pub flags: Vec<String>,
    /// At most one service of this name in the workspace.
    #[serde(default)]
    pub singleton: Option<bool>,
    /// Written by the server: who registered it.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    pub created_by: Option<Value>,
    /// For search; unused by this crate.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    pub service_embedding: Option<Value>,
    /// Other workspaces whose clients may use a protected service.
    #[serde(default)]
    pub authorized_workspaces: Option<Vec<String>>,
    /// Every other key.
    #[serde(flatten)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub extra: Map,
}

/// A service as it is registered and listed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceInfo {
    /// How the service behaves; required when registering.
    pub config: ServiceConfig,
    /// `workspace/client:name`; the workspace may be left out when registering.
    pub id: String,
    /// Display name; the service's own name if absent.
    #[serde(default)]
    pub name: Option<String>,
    /// One sentence, at most 1024 characters.
    #[serde(default)]
    pub description: Option<String>,
    /// Kind of service, `generic` if absent.
    #[serde(default = "generic", rename = "type")]
    pub kind: Option<String>,
    /// Longer text.
    #[serde(default)]
    pub docs: Option<String>,
    /// The application it belongs to, `*` for none.
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
