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
    ) -> Vec<f64>;

    /// Add up a tree.
    async fn total(
        &self,
        /// Root of the tree.
        tree: Node,
    ) -> u64;

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
    ) -> std::collections::BTreeMap<String, i64>;

    /// Count up.
    async fn count(
        &self,
        n: u16,
    ) -> impl Stream<Item = u16> + Send;

    /// Blur an image.
    async fn blur(
        &self,
        image: NdArray,
        #[hypha(default = 1.0)]
        sigma: f64,
    ) -> NdArray;

    /// Take an image.
    async fn expose(
        &self,
        background: hypha_rpc::Array<u16, 2>,
        /// Pauses between the images.
        pauses: Vec<std::time::Duration>,
        /// Exposure time of one image.
        #[hypha(default = std::time::Duration::from_secs_f64(1.5))]
        time: std::time::Duration,
        /// Time of the end.
        until: Option<hypha_rpc::Timestamp>,
    ) -> Option<hypha_rpc::Array<f32, 1>>;

    /// Report the progress.
    async fn watch(
        &self,
        listener: Function,
    ) -> Option<String>;

    /// Change a shape.
    async fn reshape(
        &self,
        shape: Shape,
        number: Number,
        r#type: Option<i8>,
    ) -> (Shape, Happening);

    /// Change the settings.
    async fn settings(
        &self,
        /// Level of the light.
        #[hypha(default = 1)]
        level: u8,
        /// Note for the next user.
        note: Option<String>,
    );

    /// Move the stage.
    #[hypha(name = "stage.move")]
    async fn stage_move(
        &self,
        #[hypha(name = "toPoint")]
        to_point: Point,
    );
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

/// A shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Shape {
    /// A shape without a size.
    Dot,
    Circle(f64),
    Line(f64, f64),
    /// A rectangle.
    Box {
        /// Width, from left to right.
        width: f64,
        height: Option<f64>,
    },
}

/// An event of the stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
pub enum Happening {
    #[serde(rename = "started")]
    Started,
    #[serde(rename = "gone_wrong")]
    GoneWrong {
        text: String,
    },
    /// The stage has arrived.
    #[serde(rename = "arrived")]
    Arrived(Point),
}

/// A number or its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Number {
    Integer(i64),
    Text(String),
}
