// Generated; see `generated.rs`.

use hypha_rpc::prelude::*;

/// Takes values whose parts have limits.
#[hypha_service(id = "inner")]
#[allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
pub trait Inner {
    #[schemars(extend("prefixItems/0/minimum" = 1, "prefixItems/1/items/format" = "ip"))]
    async fn values(
        &self,
        parts: Parts,
        addresses: Option<Addresses>,
        /// Some addresses.
        #[schemars(extend("items/format" = "ip"))]
        some: Option<Vec<String>>,
        #[schemars(extend("items/format" = "ip"))]
        set: hypha_rpc::Set<Vec<String>>,
        #[schemars(extend("x-hypha-keys/minimum" = 1, "additionalProperties/format" = "ip"))]
        ordered: hypha_rpc::OrderedMap<u8, String>,
        #[schemars(extend("additionalProperties/maximum" = 0.5))]
        shares: std::collections::BTreeMap<u64, f32>,
    ) -> (u8, Vec<String>);

    #[schemars(extend("format" = "ip"))]
    async fn functions(
        &self,
        #[schemars(extend("x-hypha-arguments/0/items/format" = "ip", "x-hypha-arguments/1/minimum" = 1, "x-hypha-returns/minimum" = 1))]
        on_event: Callback<(Vec<String>, u8), Option<u16>>,
        #[schemars(extend("x-hypha-arguments/0/format" = "ip"))]
        maybe: Option<Callback<String>>,
        #[schemars(extend("items/minimum" = 1))]
        numbers: RemoteStream<u32>,
    ) -> Option<String>;

    /// Send numbers.
    #[schemars(extend("items/minimum" = 1, "items/maximum" = 9))]
    async fn numbers(&self) -> Result<impl Stream<Item = u8> + Send, Failure>;

    #[schemars(extend("maximum" = 9))]
    async fn maybe(&self) -> Result<Option<i32>, Failure>;
}

/// Fields with limits inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("additionalProperties/format" = "ip"))]
pub struct Parts {
    #[schemars(extend("items/format" = "ip"))]
    pub addresses: Vec<String>,
    #[schemars(extend("maxItems" = 9, "items/maxLength" = 3))]
    pub names: Vec<String>,
    #[schemars(extend("items/minimum" = 1))]
    pub maybe: Vec<Option<u8>>,
    #[schemars(extend("prefixItems/0/minimum" = 1, "prefixItems/1/items/format" = "ip"))]
    pub pair: (u16, Vec<String>),
    #[schemars(extend("items/minimum" = 1))]
    pub fixed: [u64; 2],
    #[schemars(extend("additionalProperties/items/format" = "ip"))]
    pub by_name: std::collections::BTreeMap<String, Vec<String>>,
    #[schemars(with = "Option<hypha_rpc::schema::Keyed<std::collections::BTreeMap<u8, u8>>>", extend("additionalProperties/minimum" = 1))]
    pub by_number: Option<std::collections::BTreeMap<u8, u8>>,
    #[schemars(extend("items/uniqueItems" = true, "items/items/prefixItems/1/format" = "ip"))]
    pub unique: Vec<Vec<(u8, String)>>,
    pub part: Part,
    /// Everything else.
    #[serde(flatten)]
    pub others: std::collections::BTreeMap<String, String>,
}

/// Addresses with a name of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Addresses(#[schemars(extend("items/format" = "ip"))] pub Vec<String>);

/// A failure with an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[derive(thiserror::Error, RemoteError)]
pub enum Failure {
    #[error("unreachable")]
    Unreachable(#[schemars(extend("items/format" = "ip"))] Vec<String>),
    #[error("at {step}")]
    Step {
        #[schemars(extend("minimum" = 1, "maximum" = 9))]
        step: u8,
    },
}

/// Variants with limits inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Part {
    Addresses(#[schemars(extend("items/format" = "ip"))] Vec<String>),
    Pair(u8, #[schemars(extend("minimum" = 1))] u8, #[schemars(extend("items/format" = "ip"))] Vec<String>),
    Fields {
        #[schemars(extend("items/format" = "ip"))]
        addresses: Vec<String>,
    },
}
