// Generated; see `generated.rs`.

use hypha_rpc::prelude::*;

/// Sends and receives.
#[hypha_service(id = "directions")]
#[allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
pub trait Directions {
    async fn report(
        &self,
        it: Report,
    ) -> Vec<Report2>;

    async fn listen(
        &self,
        listener: Callback<Report2, Report>,
    ) -> Result<String, String>;

    async fn items(&self) -> impl Stream<Item = Report2> + Send;

    async fn plain(
        &self,
        it: Plain,
        call: Callback<Plain, Plain>,
    ) -> Result<Plain, String>;

    async fn count(
        &self,
        all: Vec<Option<RemoteFile>>,
        parts: Parts,
    ) -> Vec<bool>;

    async fn nothing(&self) -> (Option<RemoteFile>, Option<RemoteStream<u8>>);
}

fn default_report2_limits() -> Vec<std::time::Duration> {
    vec![std::time::Duration::from_secs_f64(1.5)]
}

/// A report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report2 {
    pub title: String,
    /// Number that the service assigns.
    pub number: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    pub tags: Option<Vec<String>>,
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schemars(with = "Value")]
    pub anything: Option<Value>,
    #[serde(default = "default_report2_limits")]
    pub limits: Vec<std::time::Duration>,
}

fn default_report_limits() -> Vec<std::time::Duration> {
    vec![std::time::Duration::from_secs_f64(1.5)]
}

/// A report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    pub name: String,
    pub password: String,
    pub tags: Vec<String>,
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schemars(with = "Value")]
    pub anything: Option<Value>,
    #[serde(default = "default_report_limits")]
    pub limits: Vec<std::time::Duration>,
}

fn default_plain_counts() -> std::collections::BTreeMap<String, u8> {
    std::collections::BTreeMap::from([])
}

/// A type with the same form in both directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plain {
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schemars(with = "Value")]
    pub anything: Option<Value>,
    #[serde(default = "default_plain_counts")]
    pub counts: std::collections::BTreeMap<String, u8>,
    pub last: u8,
}

/// Optional values that stay at their owner.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Parts {
    pub file: Option<RemoteFile>,
    pub progress: Option<Callback<u8>>,
    pub source: Option<RemoteStream<u8>>,
}

/// Reads a field in which null differs from a missing field.
fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}
