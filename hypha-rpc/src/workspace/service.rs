//! Services as the manager lists and hands them out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::service::ServiceConfig;
use hypha_wire::Map;

/// One line of a workspace's summary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceSummary {
    /// Full id.
    pub id: String,
    /// Display name.
    #[serde(default)]
    pub name: Option<String>,
    /// Kind of service.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// One sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// How the service behaves.
    #[serde(default)]
    pub config: ServiceConfig,
}

/// Which services to list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ServiceQuery {
    /// `workspace`, `workspace/service`, `workspace/client:service` or `client:service`.
    Text(String),
    /// By property; all given ones must fit.
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

/// Services by property. `*` inside a value matches any text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceFilter {
    /// `public`, `protected` or `unlisted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<String>,
    /// The caller's workspace if absent; `*` for the public services of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// The client that offers the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The service's name, maybe with `@app`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_id: Option<String>,
    /// Another spelling of `service_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Kind of service.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub kind: Option<String>,
    /// The application it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Other keys; the manager refuses them by name.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: Map,
}

/// How to fetch a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GetServiceConfig {
    /// How to choose among several: `exact`, `random`, `first`, `last`, `native:random`,
    /// `min_load` or `select:<min|max|first_success>:<function>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Seconds the provider may take; 10 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
    /// `camel`, `snake` or both in one text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case_conversion: Option<String>,
    /// Seconds for each candidate of a `select` mode; 2 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select_timeout: Option<f64>,
}

/// How to choose a service's record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SelectConfig {
    /// As in [`GetServiceConfig`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Seconds for each candidate of a `select` mode; 2 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select_timeout: Option<f64>,
    /// Also look into the manifests of installed applications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_app_manifest: Option<bool>,
}
