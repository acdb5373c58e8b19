//! Contract from which descriptions and code are generated. `tests/interop/python/schema_peer.py`
//! contains the same service in Python.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures_util::stream;
use hypha_rpc::Array;
use hypha_rpc::prelude::*;

/// A choice of speed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Fast,
    Slow,
}

/// A position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Point {
    /// Distance to the right.
    pub(crate) x: f64,
    pub(crate) label: Option<String>,
    #[serde(default = "one")]
    pub(crate) weight: i64,
    pub(crate) tags: Vec<String>,
}

fn one() -> i64 {
    1
}

/// A tree of numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Node {
    pub(crate) value: u32,
    pub(crate) children: Vec<Node>,
    pub(crate) next: Option<Box<Node>>,
}

/// A shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Shape {
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
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Happening {
    Started,
    GoneWrong {
        text: String,
    },
    /// The stage has arrived.
    Arrived(Point),
}

/// A number or its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Number {
    Integer(i64),
    Text(String),
}

/// Takes measurements.
#[hypha_service(id = "measure", visibility = "public")]
pub(crate) trait Measure {
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
        names: BTreeMap<String, String>,
        /// Items with their numbers.
        pairs: Vec<(i32, String)>,
        /// Other entries.
        others: Option<BTreeMap<String, Value>>,
        /// The amount.
        #[hypha(default = 0.5)]
        share: f64,
        /// Raw data.
        data: Option<Binary>,
        /// Whether to only simulate.
        #[hypha(default = false)]
        dry: bool,
    ) -> BTreeMap<String, i64>;

    /// Count up.
    async fn count(&self, n: u16) -> impl Stream<Item = u16> + Send;

    /// Blur an image.
    async fn blur(&self, image: NdArray, #[hypha(default = 1.0)] sigma: f64) -> NdArray;

    /// Take an image.
    async fn expose(
        &self,
        background: Array<u16, 2>,
        /// Pauses between the images.
        pauses: Vec<Duration>,
        /// Exposure time of one image.
        #[hypha(default = Duration::from_millis(1500))]
        time: Duration,
        /// Time of the end.
        until: Option<SystemTime>,
    ) -> Option<Array<f32, 1>>;

    /// Report the progress.
    async fn watch(&self, listener: Function) -> Option<String>;

    /// Change a shape.
    async fn reshape(&self, shape: Shape, number: Number, r#type: Option<i8>)
    -> (Shape, Happening);

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
    async fn stage_move(&self, #[hypha(name = "toPoint")] to_point: Point);
}

/// Implementation with fixed results.
pub(crate) struct Desk;

impl Measure for Desk {
    async fn sample(&self, count: u8, mode: Mode, place: Option<Point>) -> Vec<f64> {
        let step = if mode == Mode::Fast { 1.0 } else { 0.5 };
        let from = place.map_or(0.0, |place| place.x);
        (0..count).map(|n| from + step * f64::from(n)).collect()
    }

    async fn total(&self, tree: Node) -> u64 {
        total(&tree)
    }

    async fn rename(
        &self,
        names: BTreeMap<String, String>,
        pairs: Vec<(i32, String)>,
        _: Option<BTreeMap<String, Value>>,
        _: f64,
        _: Option<Binary>,
        _: bool,
    ) -> BTreeMap<String, i64> {
        let renamed = pairs.into_iter();
        renamed
            .map(|(n, name)| (names.get(&name).cloned().unwrap_or(name), n.into()))
            .collect()
    }

    async fn count(&self, n: u16) -> impl Stream<Item = u16> + Send {
        stream::iter(0..n)
    }

    async fn blur(&self, image: NdArray, _: f64) -> NdArray {
        image
    }

    async fn expose(
        &self,
        background: Array<u16, 2>,
        pauses: Vec<Duration>,
        time: Duration,
        _: Option<SystemTime>,
    ) -> Option<Array<f32, 1>> {
        let seconds = (time + pauses.into_iter().sum::<Duration>()).as_secs_f32();
        let pixels = background.as_slice().iter();
        let pixels: Vec<f32> = pixels.map(|pixel| f32::from(*pixel) * seconds).collect();
        Some(pixels.into())
    }

    async fn watch(&self, listener: Function) -> Option<String> {
        listener.call(hypha_rpc::args!(0.5)).await.ok()
    }

    async fn reshape(&self, shape: Shape, _: Number, _: Option<i8>) -> (Shape, Happening) {
        (shape, Happening::Started)
    }

    async fn settings(&self, _: u8, _: Option<String>) {}

    async fn stage_move(&self, _: Point) {}
}

fn total(tree: &Node) -> u64 {
    let next = tree.next.as_deref().map_or(0, total);
    u64::from(tree.value) + tree.children.iter().map(total).sum::<u64>() + next
}
