// Generated; see `generated.rs`.

use hypha_rpc::prelude::*;

/// Uses everything.
#[hypha_service(id = "everything")]
#[allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
pub trait Everything {
    /// Take an image.
    async fn snap(
        &self,
        exposure: std::time::Duration,
        at: Option<hypha_rpc::Timestamp>,
    ) -> Result<NdArray, ScopeError>;

    /// Send typed arrays.
    async fn arrays(
        &self,
        image: hypha_rpc::Array<u16, 2>,
        waves: hypha_rpc::Array<num_complex::Complex<f32>, 1>,
        halves: Option<hypha_rpc::Array<half::f16, 1>>,
        any: NdArray,
    ) -> Result<hypha_rpc::Array<f32, 1>, Code>;

    /// Call back.
    async fn watch(
        &self,
        /// Gets two numbers.
        on_pair: Callback<(u32, u32)>,
        on_one: Callback<f64, String>,
        on_none: Callback<()>,
        may_fail: Callback<Colour, u8, ScopeError>,
        on_tuple: Callback<((u8, u8),), (u8, Colour)>,
        maybe: Option<Callback<Frame>>,
        bytes: Callback<Binary, Binary>,
        any: Function,
    ) -> Result<String, ScopeError>;

    /// Hand out the stage.
    async fn stage(&self) -> Object<StageProxy>;

    /// Drive a stage of the caller.
    async fn drive(
        &self,
        stage: Object<StageProxy>,
        x: f64,
    ) -> f64;

    /// Send what happens.
    async fn frames(
        &self,
        count: u8,
    ) -> impl Stream<Item = Result<Frame, ScopeError>> + Send;

    /// Open a stream, or fail.
    async fn open(
        &self,
        count: u8,
    ) -> Result<impl Stream<Item = u8> + Send, Code>;

    /// Add up streams.
    async fn sum(
        &self,
        numbers: RemoteStream<f64>,
        failing: RemoteStream<u8, ScopeError>,
        parts: RemoteStream<Binary>,
    ) -> f64;

    /// Make a stream inside of something.
    async fn streams(&self) -> Vec<RemoteStream<(u8, Colour)>>;

    /// Read a file, and send another.
    async fn file(
        &self,
        file: RemoteFile,
    ) -> RemoteFile;

    /// Send maps and sets.
    async fn maps(
        &self,
        by_number: std::collections::BTreeMap<u32, Colour>,
        signed: std::collections::BTreeMap<i32, Vec<u8>>,
        named: std::collections::BTreeMap<String, Option<f64>>,
        unique: std::collections::BTreeSet<u8>,
        set: hypha_rpc::Set<Vec<u8>>,
        ordered: hypha_rpc::OrderedMap<Value, bool>,
    ) -> std::collections::BTreeMap<i64, String>;

    /// Send values whose exact types JSON does not have.
    async fn exact(
        &self,
        limits: Limits,
        percent: Percent,
        #[hypha(default = 3)]
        #[schemars(extend("maximum" = 10))]
        level: u8,
        /// Name of the measurement.
        #[schemars(extend("format" = "uuid"))]
        id: String,
        by_channel: std::collections::BTreeMap<u16, f32>,
        by_side: Option<Vec<std::collections::BTreeMap<bool, u8>>>,
        ordered: hypha_rpc::OrderedMap<i16, Colour>,
        on_table: Callback<std::collections::BTreeMap<u8, f32>, std::collections::BTreeMap<bool, u8>>,
        tables: RemoteStream<std::collections::BTreeMap<i8, f32>>,
    ) -> (String, std::collections::BTreeMap<bool, std::collections::BTreeMap<u8, f32>>);

    /// Send values.
    async fn values(
        &self,
        bytes: Binary,
        maybe: Option<Binary>,
        pair: (u8, Option<String>),
        fixed: [f64; 3],
        letter: char,
        sample: Sample,
        anything: Value,
    ) -> (Sample, char, [u8; 2], Binary);

    /// Use defaults.
    async fn defaults(
        &self,
        #[hypha(default = Colour::Green)]
        colour: Colour,
        #[hypha(default = Shape::Box { width: 1.5, height: None })]
        shape: Shape,
        #[hypha(default = Shape::Line(1.0, 2.0))]
        line: Shape,
        #[hypha(default = Shape::Dot)]
        dot: Shape,
        #[hypha(default = Place::At { x: 1.0, y: -2.0 })]
        place: Place,
        #[hypha(default = Place::Home)]
        home: Place,
        #[hypha(default = std::time::Duration::from_secs_f64(0.02))]
        pause: std::time::Duration,
        #[hypha(default = 0.1)]
        share: f32,
        #[hypha(default = std::collections::BTreeMap::from([(7, 0.5)]))]
        weights: std::collections::BTreeMap<i64, f64>,
        #[hypha(default = '\u{16f}')]
        letter: char,
        #[hypha(default = [1, 2])]
        fixed: [u8; 2],
        #[hypha(default = Sample(3))]
        sample: Sample,
    ) -> String;

    /// Fail in one of the ways.
    async fn fail(
        &self,
        way: u8,
    ) -> Result<(), ScopeError>;

    /// Fail with a text.
    async fn text(&self) -> Result<u8, String>;

    /// Fail with a cause.
    async fn caused(
        &self,
        way: u8,
    ) -> Result<(), CausedError>;

    /// Fail with a struct that has no names.
    async fn pair(&self) -> Result<(), PairError>;

    async fn unit(&self) -> Result<(), UnitError>;

    async fn number(&self) -> Result<(), NumberError>;

    async fn step(&self) -> Result<(), StepError>;

    async fn outer(&self) -> Result<(), OuterError>;

    async fn list(&self) -> Result<(), ListError>;

    async fn text_error(&self) -> Result<(), TextError>;

    /// Send content that is also received.
    async fn bundle(
        &self,
        bundle: Bundle,
    ) -> Bundle;

    /// Send content that is not received.
    async fn order(
        &self,
        order: Order,
        weights: Vec<f64>,
        by_name: std::collections::BTreeMap<String, Vec<f64>>,
    ) -> u64;

    /// Send fields without names.
    async fn range(
        &self,
        #[hypha(default = Range(1, Some(2)))]
        range: Range,
    ) -> Range;
}

/// Failures of the microscope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[derive(thiserror::Error, RemoteError)]
pub enum ScopeError {
    /// The lamp is off.
    #[error("no light")]
    Dark,
    #[error("{0} is out of range")]
    #[remote_error(class = "ValueError")]
    Range(f64),
    #[error("stuck at {x:.2}, {y} in {colour:?}")]
    #[remote_error(name = "Stuck", class = ["OSError", "IOError"])]
    Jammed {
        x: f64,
        y: i64,
        colour: Colour,
    },
    #[error("between {0} and {1}")]
    Between(u8, u8),
    #[error("{}", "ScopeError.Bad")]
    Bad(Frame),
    #[error("{0}")]
    #[remote_error(other)]
    Other(String),
}

/// Failure with a single form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[derive(thiserror::Error, RemoteError)]
#[error("{code} means {text}")]
#[remote_error(class = "RuntimeError")]
pub struct Code {
    pub code: i32,
    /// In words.
    pub text: String,
}

/// A colour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Colour {
    #[serde(rename = "red")]
    Red,
    /// As grass.
    #[serde(rename = "green")]
    Green,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Frame {
    /// From 0.
    pub index: u64,
    pub pixels: hypha_rpc::Array<u8, 2>,
    pub exposure: std::time::Duration,
    #[schemars(with = "hypha_rpc::schema::Keyed<std::collections::BTreeMap<u16, Colour>>")]
    pub colours: std::collections::BTreeMap<u16, Colour>,
}

/// Moves the sample.
#[hypha_service]
#[allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
pub trait Stage {
    /// Go to a position.
    async fn go(
        &self,
        /// Target.
        ///
        /// Unit: µm
        /// Example: 12.5
        x: f64,
        #[hypha(default = Colour::Red)]
        colour: Colour,
    ) -> Result<f64, ScopeError>;

    /// The same stage.
    #[hypha(name = "other.twin")]
    async fn other_twin(&self) -> Object<StageProxy>;

    /// Listen to its moves.
    async fn listen(
        &self,
        on_move: Callback<(f64, Colour), bool>,
    ) -> bool;
}

/// Numbers, maps and texts whose schemas have more than their JSON type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Gain.
    ///
    /// Unit: dB
    /// Example: 1.5
    #[schemars(extend("minimum" = -0.5, "maximum" = 20))]
    pub gain: f32,
    #[schemars(extend("minimum" = 1, "maximum" = 5000000000i64))]
    pub count: u64,
    #[schemars(extend("minimum" = 1))]
    pub level: Option<i16>,
    pub singles: Vec<f32>,
    pub widest: (u128, i128),
    pub index: usize,
    pub shift: isize,
    #[schemars(with = "Option<hypha_rpc::schema::Keyed<std::collections::BTreeMap<bool, f32>>>")]
    pub sides: Option<std::collections::BTreeMap<bool, f32>>,
    #[schemars(extend("pattern" = "^[a-z]+$", "minLength" = 1, "maxLength" = 8))]
    pub name: String,
    #[schemars(extend("maxItems" = 3))]
    pub few: Vec<u8>,
    #[schemars(extend("format" = "ip"))]
    pub address: String,
    pub choice: Choice,
}

/// A part of a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Percent(#[schemars(extend("maximum" = 100))] pub u8);

/// Number of a sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample(pub u32);

/// A form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Shape {
    Dot,
    Circle(f64),
    Line(f64, f64),
    Box {
        width: f64,
        height: Option<f64>,
    },
}

/// A position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
pub enum Place {
    Home,
    At {
        x: f64,
        y: f64,
    },
}

fn default_caused_error_times() -> u8 {
    0
}

/// Failures with causes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[derive(thiserror::Error, RemoteError)]
pub enum CausedError {
    #[error("unclear")]
    Source(#[source] LensError),
    #[error("{what} does not answer")]
    Call {
        what: String,
        #[source]
        cause: hypha_rpc::Error,
    },
    #[error("blurred: {source}")]
    Named {
        source: LensError,
    },
    #[error("later")]
    Renamed {
        #[source]
        reason: LensError,
        step: u8,
    },
    #[error("step {0} of {2}")]
    Item(u8, #[source] Option<LensError>, u8),
    #[error(transparent)]
    Rpc(#[from] hypha_rpc::Error),
    #[error(transparent)]
    Lens(#[from] LensError),
    #[error("of {0}")]
    Made(#[from] NumberError),
    #[error(transparent)]
    Again {
        #[from]
        again: Box<CausedError>,
    },
    #[error("without {0}")]
    Without(LensError),
    #[error("{0:>3} {1:*<4}|{2:+} {2:#06x} {2:e} {3:.1} {3:?} {{}}")]
    Format(u8, String, i32, f32),
    #[error("{maybe:?} {times:02}")]
    Optional {
        maybe: Option<u8>,
        #[serde(default = "default_caused_error_times")]
        times: u8,
    },
}

/// Failure whose fields have no names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[derive(thiserror::Error, RemoteError)]
#[error("pair {0} {1}")]
#[remote_error(class = "PairError")]
pub struct PairError(pub u8, #[schemars(extend("maxLength" = 3))] pub String);

/// Failure without fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[derive(thiserror::Error, RemoteError)]
#[error("nothing")]
pub struct UnitError;

/// Failure with one field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[derive(thiserror::Error, RemoteError)]
#[error("number {0}")]
pub struct NumberError(#[schemars(extend("maximum" = 9))] pub u8);

/// Failure that is written as its field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[derive(thiserror::Error, RemoteError)]
#[error("at {{step}} {0:03}")]
#[remote_error(name = "Step")]
pub struct StepError(pub u16);

/// Failure that another failure causes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[derive(thiserror::Error, RemoteError)]
#[error(transparent)]
pub struct OuterError(#[from] pub LensError);

/// Failure with a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[derive(thiserror::Error, RemoteError)]
#[error("{0:?}")]
pub struct ListError(pub Option<Vec<Colour>>);

/// Failure that is written as a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[derive(thiserror::Error, RemoteError)]
#[error("a text")]
pub struct TextError(pub String);

/// Content that callers send in more forms than they receive.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Bundle {
    pub files: Vec<RemoteFile>,
    pub report: Callback<f64, u8>,
    pub image: hypha_rpc::Array<u8, 2>,
    pub images: RemoteStream<hypha_rpc::Array<u8, 1>>,
    pub tags: Vec<String>,
    pub pair: (u8, String),
    pub part: Option<Box<Bundle>>,
}

/// Content that callers only send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Order {
    pub weights: Vec<f64>,
    pub by_name: std::collections::BTreeMap<String, f64>,
    pub place: (f64, f64),
}

/// Two numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Range(pub u8, #[schemars(extend("maximum" = 9))] pub Option<u8>);

/// Content with a format and keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Choice {
    Id(#[schemars(extend("format" = "uuid"))] String),
    Keys(u8, #[schemars(with = "hypha_rpc::schema::Keyed<std::collections::BTreeMap<i8, u8>>")] std::collections::BTreeMap<i8, u8>),
}

/// Failures of a lens, which cause others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[derive(thiserror::Error, RemoteError)]
pub enum LensError {
    #[error("lens {0} is dirty")]
    Dirty(u8),
    #[error("no lens")]
    Missing,
}
