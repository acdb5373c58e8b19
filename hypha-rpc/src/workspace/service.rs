//! Types with which clients query services, and types of the results.
//!
//! The doc comments of types with `JsonSchema` are published as descriptions in schemas, and
//! clients in other languages show these descriptions. Therefore such doc comments contain no
//! examples. Only types that are flattened into other types contain links, because the descriptions
//! of flattened types are not published.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Keyword, ServiceInfo};
use crate::service::ServiceConfig;
use hypha_wire::{Case, Map};

/// A service in the summary of a workspace.
//
// `ServiceInfo` does not contain this type as a flattened field. The two types have different
// required keys and a different default for `type`, and users would have to write
// `info.summary.id`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceSummary {
    /// Full id.
    pub id: String,
    /// Display name.
    #[serde(default)]
    pub name: Option<String>,
    /// Service type.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Description, one sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// Visibility and other settings.
    #[serde(default)]
    pub config: ServiceConfig,
}

impl From<ServiceInfo> for ServiceSummary {
    fn from(service: ServiceInfo) -> Self {
        ServiceSummary {
            id: service.id,
            name: service.name,
            kind: service.kind,
            description: service.description,
            config: service.config,
        }
    }
}

/// The services to list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ServiceQuery {
    /// `workspace`, `workspace/service`, `workspace/client:service` or `client:service`.
    Text(String),
    /// Properties; a service must match all of them.
    Filter(Box<ServiceFilter>),
}

impl From<&str> for ServiceQuery {
    fn from(text: &str) -> Self {
        ServiceQuery::Text(text.to_owned())
    }
}

impl From<ServiceFilter> for ServiceQuery {
    fn from(filter: ServiceFilter) -> Self {
        ServiceQuery::Filter(Box::new(filter))
    }
}

/// Properties of services. `*` inside a value matches any characters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceFilter {
    /// `public`, `protected` or `unlisted`. May contain `*`, so any string is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<String>,
    /// Workspace. `*` matches the public services of all workspaces, and all visible services of
    /// the caller's workspace. Default: the caller's workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Client that offers the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Name of the service, optionally with `@app`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_id: Option<String>,
    /// Another key for `service_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Service type.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub kind: Option<String>,
    /// Application that the service belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Other keys. The manager rejects such a query, and names the keys in the error.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: Map,
}

/// Rule that chooses one of several clients that offer a service
/// (`docs/protocol/10-server.md#s6-6`).
///
/// The server does not choose a client that does not respond. If no client responds, the server
/// chooses any of the clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum SelectionMode {
    /// `exact`: the only client that offers the service. It is an error if several clients offer
    /// the service.
    Exact,
    /// `random`: any client.
    Random,
    /// `first`: the first client in the server's list. The order of this list is unspecified.
    First,
    /// `last`: the last client in the server's list. The order of this list is unspecified.
    Last,
    /// `native:random`: any client that is connected to the same server as the caller. If there is
    /// no such client, any client.
    NativeRandom,
    /// `min_load`: the client that sends the fewest messages per minute. The server only measures
    /// clients whose id ends with `__rlb`; all other clients count as idle.
    MinLoad,
    /// `select:min:<method>`: the client that returns the smallest number. The server calls
    /// `<method>` of each client without arguments.
    SelectMin(String),
    /// `select:max:<method>`: the client that returns the largest number. The server calls
    /// `<method>` of each client without arguments.
    SelectMax(String),
    /// `select:first_success:<method>`: the client that is the first to return a result. The server
    /// calls `<method>` of each client without arguments.
    SelectFirstSuccess(String),
    /// A mode that this crate does not know.
    Other(String),
}

impl fmt::Display for SelectionMode {
    /// Writes the mode in the form that messages contain.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SelectionMode::Exact => f.write_str("exact"),
            SelectionMode::Random => f.write_str("random"),
            SelectionMode::First => f.write_str("first"),
            SelectionMode::Last => f.write_str("last"),
            SelectionMode::NativeRandom => f.write_str("native:random"),
            SelectionMode::MinLoad => f.write_str("min_load"),
            SelectionMode::SelectMin(method) => write!(f, "select:min:{method}"),
            SelectionMode::SelectMax(method) => write!(f, "select:max:{method}"),
            SelectionMode::SelectFirstSuccess(method) => write!(f, "select:first_success:{method}"),
            SelectionMode::Other(mode) => f.write_str(mode),
        }
    }
}

impl From<&str> for SelectionMode {
    /// Parses the mode in a message.
    fn from(mode: &str) -> Self {
        let rule = mode.strip_prefix("select:");
        let rule = rule.and_then(|rule| rule.split_once(':'));
        // A mode with a second colon becomes `Other`, because the manager rejects such a mode.
        match (mode, rule.filter(|(_, method)| !method.contains(':'))) {
            ("exact", _) => SelectionMode::Exact,
            ("random", _) => SelectionMode::Random,
            ("first", _) => SelectionMode::First,
            ("last", _) => SelectionMode::Last,
            ("native:random", _) => SelectionMode::NativeRandom,
            ("min_load", _) => SelectionMode::MinLoad,
            (_, Some(("min", method))) => SelectionMode::SelectMin(method.to_owned()),
            (_, Some(("max", method))) => SelectionMode::SelectMax(method.to_owned()),
            (_, Some(("first_success", method))) => {
                SelectionMode::SelectFirstSuccess(method.to_owned())
            }
            _ => SelectionMode::Other(mode.to_owned()),
        }
    }
}

impl From<String> for SelectionMode {
    fn from(mode: String) -> Self {
        SelectionMode::from(mode.as_str())
    }
}

impl From<SelectionMode> for String {
    fn from(mode: SelectionMode) -> String {
        mode.to_string()
    }
}

/// The choice among several clients that offer a service.
///
/// Shared part of [`GetServiceConfig`] and [`SelectConfig`], flattened into both on the wire.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceSelection {
    /// Rule of the choice: `exact`, `random`, `first`, `last`, `native:random`, `min_load` or
    /// `select:<min|max|first_success>:<function>`. Default: `random` in the workspace `public`,
    /// `exact` elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub mode: Option<SelectionMode>,
    /// Timeout in seconds for each candidate of a `select` mode. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select_timeout: Option<f64>,
}

/// Options of fetching a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GetServiceConfig {
    /// Choice among several clients.
    #[serde(flatten)]
    pub selection: ServiceSelection,
    /// Time for the provider to return its service, in seconds. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
    /// Conversion of the keys: `camel`, `snake`, or both in one string. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case_conversion: Option<Keyword<Case>>,
}

/// Options of fetching the record of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SelectConfig {
    /// Choice among several clients.
    #[serde(flatten)]
    pub selection: ServiceSelection,
    /// Whether to also search the manifests of installed applications. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_app_manifest: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selection_modes_keep_their_text() {
        for mode in [
            "exact",
            "random",
            "first",
            "last",
            "native:random",
            "min_load",
            "select:min:load",
            "select:max:load",
            "select:max:a:b",
            "select:first_success:ping",
            "select:least:load",
            "select:min",
            "best",
        ] {
            assert_eq!(SelectionMode::from(mode).to_string(), mode);
        }
        assert_eq!(
            SelectionMode::from("select:min:load"),
            SelectionMode::SelectMin("load".into())
        );
        for malformed in ["", "select:min", "select:min:a:b", "select:best:f"] {
            assert!(matches!(
                SelectionMode::from(malformed),
                SelectionMode::Other(_)
            ));
        }
    }
}
