// Generated; see `generated.rs`.

use hypha_rpc::prelude::*;

#[hypha_service(id = "written")]
#[allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
pub trait Written {
    async fn states(
        &self,
        it: StatesIt,
    ) -> StatesResult;

    async fn rest(
        &self,
        it: RestIt,
    ) -> RestResult;

    async fn numbered(
        &self,
        it: NumberedIt,
    ) -> NumberedResult;

    async fn either(
        &self,
        it: EitherIt,
    ) -> EitherResult;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatesResult {
    pub id: i64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schemars(extend("x-hypha-absent" = true))]
    pub level: Option<Option<i64>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schemars(extend("x-hypha-absent" = true))]
    pub name: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64")]
    pub limit: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schemars(with = "Value")]
    pub any: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatesIt {
    pub id: i64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schemars(extend("x-hypha-absent" = true))]
    pub level: Option<Option<i64>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schemars(extend("x-hypha-absent" = true))]
    pub name: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64")]
    pub limit: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schemars(with = "Value")]
    pub any: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode")]
pub enum RestResult {
    #[serde(rename = "timed")]
    Timed {
        n: i64,
        wait: f64,
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<String, f64>,
    },
    #[serde(rename = "idle")]
    Idle {
        n: i64,
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<String, f64>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode")]
pub enum RestIt {
    #[serde(rename = "timed")]
    Timed {
        n: i64,
        wait: f64,
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<String, f64>,
    },
    #[serde(rename = "idle")]
    Idle {
        n: i64,
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<String, f64>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode")]
pub enum NumberedResult {
    #[serde(rename = "timed")]
    Timed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "i64")]
        n: Option<i64>,
        wait: f64,
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<i64, String>,
    },
    #[serde(rename = "idle")]
    Idle {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "i64")]
        n: Option<i64>,
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<i64, String>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode")]
pub enum NumberedIt {
    #[serde(rename = "timed")]
    Timed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "i64")]
        n: Option<i64>,
        wait: f64,
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<i64, String>,
    },
    #[serde(rename = "idle")]
    Idle {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "i64")]
        n: Option<i64>,
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<i64, String>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EitherResult {
    Variant1 {
        n: i64,
        a: i64,
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<String, String>,
    },
    Variant2 {
        n: i64,
        b: bool,
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<String, String>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EitherIt {
    Variant1 {
        n: i64,
        a: i64,
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<String, String>,
    },
    Variant2 {
        n: i64,
        b: bool,
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<String, String>,
    },
}

/// Reads a field in which null differs from a missing field.
fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}
