// Generated; see `generated.rs`.

use hypha_rpc::prelude::*;

/// Takes measurements.
#[hypha_service(id = "measure")]
#[allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
pub trait Measure {
    /// Take some samples.
    async fn sample(
        &self,
        /// Number of samples.
        count: u8,
        /// The speed.
        #[hypha(default = Mode::Fast)]
        mode: Mode,
        /// Position, if not the current one.
        place: Option<Point>,
    ) -> Value;

    /// Add up a tree.
    async fn total(
        &self,
        /// Root of the tree.
        tree: Node,
    ) -> Value;

    /// Rename numbered items.
    async fn rename(
        &self,
        /// New names by old names.
        names: std::collections::BTreeMap<String, String>,
        /// Items with their numbers.
        pairs: Vec<(i32, String)>,
        /// Other entries.
        others: Option<std::collections::BTreeMap<String, Value>>,
        /// The amount.
        #[hypha(default = 0.5)]
        share: f64,
        /// Raw data.
        data: Option<Binary>,
        /// Whether to only simulate.
        #[hypha(default = false)]
        dry: bool,
    ) -> Value;

    /// Change the settings.
    async fn settings(
        &self,
        /// Level of the light.
        #[hypha(default = 1)]
        level: u8,
        /// Note for the next user.
        note: Option<String>,
    ) -> Value;
}

/// A choice of speed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    #[serde(rename = "fast")]
    Fast,
    #[serde(rename = "slow")]
    Slow,
}

fn default_point_weight() -> i64 {
    1
}

/// A position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// Distance to the right.
    pub x: f64,
    pub label: Option<String>,
    #[serde(default = "default_point_weight")]
    pub weight: i64,
    pub tags: Vec<String>,
}

/// A tree of numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    pub value: u32,
    pub children: Vec<Node>,
    pub next: Option<Box<Node>>,
}
