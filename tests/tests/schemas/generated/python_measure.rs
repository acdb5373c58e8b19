// Generated; see `generated.rs`.

use hypha_rpc::prelude::*;

/// Takes measurements.
#[hypha_service(id = "measure")]
#[allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
pub trait Measure {
    /// Take some samples.
    async fn sample(
        &self,
        /// The number.
        count: u8,
        /// The speed.
        #[hypha(default = Mode::Fast)]
        mode: Mode,
        /// Where, if not here.
        place: Option<Point>,
    ) -> Value;

    /// Add up a tree.
    async fn total(
        &self,
        /// The root.
        tree: Node,
    ) -> Value;

    /// Rename what has a number.
    async fn rename(
        &self,
        /// New names by old ones.
        names: std::collections::BTreeMap<String, String>,
        /// With their numbers.
        pairs: Vec<(i32, String)>,
        /// Anything else.
        others: Option<std::collections::BTreeMap<String, Value>>,
        /// The amount.
        #[hypha(default = 0.5)]
        share: f64,
        /// Raw data.
        data: Option<Binary>,
        /// Whether to try only.
        #[hypha(default = false)]
        dry: bool,
    ) -> Value;

    /// Change what may be changed.
    async fn settings(
        &self,
        /// Of the light.
        #[hypha(default = 1)]
        level: u8,
        /// For the next user.
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

/// A place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// To the right.
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
