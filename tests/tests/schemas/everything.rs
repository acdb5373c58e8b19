//! Contract with every type that a schema can describe, to be generated again from its schema.
#![allow(
    clippy::too_many_arguments,
    reason = "one method has an argument of each kind"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use half::f16;
use hypha_rpc::prelude::*;
use hypha_rpc::schema::Keyed;
use hypha_rpc::{Array, OrderedMap, Set};
use num_complex::Complex;
use tokio::io::AsyncReadExt as _;

/// A colour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Colour {
    Red,
    /// As grass.
    Green,
}

/// Number of a sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Sample(pub(crate) u32);

/// One image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Frame {
    /// From 0.
    pub(crate) index: u64,
    pub(crate) pixels: Array<u8, 2>,
    pub(crate) exposure: Duration,
    #[schemars(with = "Keyed<BTreeMap<u16, Colour>>")]
    pub(crate) colours: BTreeMap<u16, Colour>,
}

/// A part of a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Percent(#[schemars(range(min = 0, max = 100))] pub(crate) u8);

/// Numbers, maps and texts whose schemas have more than their JSON type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Limits {
    /// Gain.
    ///
    /// Unit: dB
    /// Example: 1.5
    #[schemars(range(min = -0.5, max = 20))]
    pub(crate) gain: f32,
    #[schemars(range(min = 1, max = 5_000_000_000_u64))]
    pub(crate) count: u64,
    #[schemars(range(min = 1))]
    pub(crate) level: Option<i16>,
    pub(crate) singles: Vec<f32>,
    pub(crate) widest: (u128, i128),
    pub(crate) index: usize,
    pub(crate) shift: isize,
    #[schemars(with = "Option<Keyed<BTreeMap<bool, f32>>>")]
    pub(crate) sides: Option<BTreeMap<bool, f32>>,
    #[schemars(length(min = 1, max = 8), regex(pattern = "^[a-z]+$"))]
    pub(crate) name: String,
    #[schemars(length(max = 3))]
    pub(crate) few: Vec<u8>,
    pub(crate) address: IpAddr,
    pub(crate) choice: Choice,
}

/// Content with a format and keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Choice {
    Id(#[schemars(extend("format" = "uuid"))] String),
    Keys(
        u8,
        #[schemars(with = "Keyed<BTreeMap<i8, u8>>")] BTreeMap<i8, u8>,
    ),
}

/// A form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Shape {
    Dot,
    Circle(f64),
    Line(f64, f64),
    Box { width: f64, height: Option<f64> },
}

/// A position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
pub(crate) enum Place {
    Home,
    At { x: f64, y: f64 },
}

/// Failures of the microscope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error, RemoteError)]
pub(crate) enum ScopeError {
    /// The lamp is off.
    #[error("no light")]
    Dark,
    #[error("{0} is out of range")]
    #[remote_error(class = "ValueError")]
    Range(f64),
    #[error("stuck at {x:.2}, {y} in {colour:?}")]
    #[remote_error(class = ["OSError", "IOError"], name = "Stuck")]
    Jammed { x: f64, y: i64, colour: Colour },
    #[error("between {0} and {1}")]
    Between(u8, u8),
    #[error("at {}", .0.index)]
    Bad(Frame),
    #[error("{0}")]
    #[remote_error(other)]
    Other(String),
}

/// Failure with a single form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error, RemoteError)]
#[error("{code} means {text}")]
#[remote_error(class = "RuntimeError")]
pub(crate) struct Code {
    pub(crate) code: i32,
    /// In words.
    pub(crate) text: String,
}

/// Failures of a lens, which cause others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error, RemoteError)]
pub(crate) enum LensError {
    #[error("lens {0} is dirty")]
    Dirty(u8),
    #[error("no lens")]
    Missing,
}

/// Failures with causes.
#[derive(Debug, Serialize, Deserialize, thiserror::Error, RemoteError)]
pub(crate) enum CausedError {
    #[error("unclear")]
    Source(#[source] LensError),
    #[error("{what} does not answer")]
    Call {
        what: String,
        #[source]
        cause: Error,
    },
    #[error("blurred: {source}")]
    Named { source: LensError },
    #[error("later")]
    Renamed {
        #[serde(rename = "reason")]
        #[source]
        cause: Box<LensError>,
        step: u8,
    },
    #[error("step {0} of {2}")]
    Item(u8, #[source] Option<LensError>, u8),
    #[error(transparent)]
    Rpc(#[from] Error),
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
        #[serde(default)]
        times: u8,
    },
}

/// Failure whose fields have no names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error, RemoteError)]
#[error("pair {0} {1}")]
#[remote_error(class = "PairError")]
pub(crate) struct PairError(
    pub(crate) u8,
    #[schemars(length(max = 3))] pub(crate) String,
);

/// Failure without fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error, RemoteError)]
#[error("nothing")]
pub(crate) struct UnitError;

/// Failure with one field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error, RemoteError)]
#[error("number {0}")]
pub(crate) struct NumberError(#[schemars(range(max = 9))] pub(crate) u8);

/// Failure that is written as its field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error, RemoteError)]
#[error("at {{step}} {step:03}")]
#[remote_error(name = "Step")]
#[serde(transparent)]
pub(crate) struct StepError {
    pub(crate) step: u16,
}

/// Failure that another failure causes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error, RemoteError)]
#[error(transparent)]
pub(crate) struct OuterError(#[from] pub(crate) LensError);

/// Failure with a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error, RemoteError)]
#[error("{0:?}")]
pub(crate) struct ListError(pub(crate) Option<Vec<Colour>>);

/// Failure that is written as a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error, RemoteError)]
#[error("a text")]
#[serde(into = "String", from = "String")]
pub(crate) struct TextError {
    pub(crate) text: String,
}

impl From<TextError> for String {
    fn from(error: TextError) -> String {
        error.text
    }
}

impl From<String> for TextError {
    fn from(text: String) -> TextError {
        TextError { text }
    }
}

/// Content that callers send in more forms than they receive.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Bundle {
    pub(crate) files: Vec<RemoteFile>,
    pub(crate) report: Callback<f64, u8>,
    pub(crate) image: Array<u8, 2>,
    pub(crate) images: RemoteStream<Array<u8, 1>>,
    pub(crate) tags: Vec<String>,
    pub(crate) pair: (u8, String),
    pub(crate) part: Option<Box<Bundle>>,
}

/// Content that callers only send.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Order {
    pub(crate) weights: Vec<f64>,
    pub(crate) by_name: BTreeMap<String, f64>,
    pub(crate) place: (f64, f64),
}

/// Two numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Range(
    pub(crate) u8,
    #[schemars(range(max = 9))] pub(crate) Option<u8>,
);

/// Moves the sample.
#[hypha_service(id = "stage")]
pub(crate) trait Stage {
    /// Go to a position.
    async fn go(
        &self,
        /// Target.
        ///
        /// Unit: µm
        /// Example: 12.5
        x: f64,
        #[hypha(default = Colour::Red)] colour: Colour,
    ) -> Result<f64, ScopeError>;

    /// The same stage.
    #[hypha(name = "other.twin")]
    async fn twin(&self) -> Object<StageProxy>;

    /// Listen to its moves.
    async fn listen(&self, on_move: Callback<(f64, Colour), bool>) -> bool;
}

/// Uses everything.
#[hypha_service(id = "everything")]
pub(crate) trait Everything {
    /// Take an image.
    async fn snap(&self, exposure: Duration, at: Option<SystemTime>)
    -> Result<NdArray, ScopeError>;

    /// Send typed arrays.
    async fn arrays(
        &self,
        image: Array<u16, 2>,
        waves: Array<Complex<f32>, 1>,
        halves: Option<Array<f16, 1>>,
        any: NdArray,
    ) -> Result<Array<f32, 1>, Code>;

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
        bytes: Callback<Bytes, Binary>,
        any: Function,
    ) -> Result<String, ScopeError>;

    /// Hand out the stage.
    async fn stage(&self) -> Object<StageProxy>;

    /// Drive a stage of the caller.
    async fn drive(&self, stage: Object<StageProxy>, x: f64) -> f64;

    /// Send what happens.
    async fn frames(&self, count: u8) -> impl Stream<Item = Result<Frame, ScopeError>> + Send;

    /// Open a stream, or fail.
    async fn open(&self, count: u8) -> Result<impl Stream<Item = u8> + Send, Code>;

    /// Add up streams.
    async fn sum(
        &self,
        numbers: RemoteStream<f64>,
        failing: RemoteStream<u8, ScopeError>,
        parts: RemoteStream<Bytes>,
    ) -> f64;

    /// Make a stream inside of something.
    async fn streams(&self) -> Vec<RemoteStream<(u8, Colour)>>;

    /// Read a file, and send another.
    async fn file(&self, file: RemoteFile) -> RemoteFile;

    /// Send maps and sets.
    async fn maps(
        &self,
        by_number: BTreeMap<u32, Colour>,
        signed: BTreeMap<i32, Vec<u8>>,
        named: BTreeMap<String, Option<f64>>,
        unique: BTreeSet<u8>,
        set: Set<Vec<u8>>,
        ordered: OrderedMap<Value, bool>,
    ) -> BTreeMap<i64, String>;

    /// Send values whose exact types JSON does not have.
    async fn exact(
        &self,
        limits: Limits,
        percent: Percent,
        #[hypha(default = 3)]
        #[schemars(range(max = 10))]
        level: u8,
        /// Name of the measurement.
        #[schemars(extend("format" = "uuid"))]
        id: String,
        by_channel: BTreeMap<u16, f32>,
        by_side: Option<Vec<BTreeMap<bool, u8>>>,
        ordered: OrderedMap<i16, Colour>,
        on_table: Callback<BTreeMap<u8, f32>, BTreeMap<bool, u8>>,
        tables: RemoteStream<BTreeMap<i8, f32>>,
    ) -> (String, BTreeMap<bool, BTreeMap<u8, f32>>);

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
        #[hypha(default = Colour::Green)] colour: Colour,
        #[hypha(default = Shape::Box { width: 1.5, height: None })] shape: Shape,
        #[hypha(default = Shape::Line(1.0, 2.0))] line: Shape,
        #[hypha(default = Shape::Dot)] dot: Shape,
        #[hypha(default = Place::At { x: 1.0, y: -2.0 })] place: Place,
        #[hypha(default = Place::Home)] home: Place,
        #[hypha(default = Duration::from_millis(20))] pause: Duration,
        #[hypha(default = 0.1)] share: f32,
        #[hypha(default = BTreeMap::from([(7, 0.5)]))] weights: BTreeMap<i64, f64>,
        #[hypha(default = 'ů')] letter: char,
        #[hypha(default = [1, 2])] fixed: [u8; 2],
        #[hypha(default = Sample(3))] sample: Sample,
    ) -> String;

    /// Fail in one of the ways.
    async fn fail(&self, way: u8) -> Result<(), ScopeError>;

    /// Fail with a text.
    async fn text(&self) -> anyhow::Result<u8>;

    /// Fail with a cause.
    async fn caused(&self, way: u8) -> Result<(), CausedError>;

    /// Fail with a struct that has no names.
    async fn pair(&self) -> Result<(), PairError>;
    async fn unit(&self) -> Result<(), UnitError>;
    async fn number(&self) -> Result<(), NumberError>;
    async fn step(&self) -> Result<(), StepError>;
    async fn outer(&self) -> Result<(), OuterError>;
    async fn list(&self) -> Result<(), ListError>;
    async fn text_error(&self) -> Result<(), TextError>;

    /// Send content that is also received.
    async fn bundle(&self, bundle: Bundle) -> Bundle;

    /// Send content that is not received.
    async fn order(
        &self,
        order: Order,
        weights: Vec<f64>,
        by_name: BTreeMap<String, Vec<f64>>,
    ) -> u64;

    /// Send fields without names.
    async fn range(&self, #[hypha(default = Range(1, Some(2)))] range: Range) -> Range;
}

/// The stage of the service.
pub(crate) struct Axis;

impl Stage for Axis {
    async fn go(&self, x: f64, colour: Colour) -> Result<f64, ScopeError> {
        match (x > 100.0, colour) {
            (true, _) => Err(ScopeError::Range(x)),
            (false, Colour::Red) => Ok(x),
            (false, Colour::Green) => Ok(-x),
        }
    }

    async fn twin(&self) -> Object<StageProxy> {
        Object::new(StageService::new(Axis))
    }

    async fn listen(&self, on_move: Callback<(f64, Colour), bool>) -> bool {
        on_move.call((0.5, Colour::Green)).await.unwrap_or(false)
    }
}

pub(crate) fn frame(index: u64) -> Frame {
    Frame {
        index,
        pixels: Array::from_vec([1, 2], vec![1, 2]).expect("fits"),
        exposure: Duration::from_millis(250),
        colours: BTreeMap::from([(7, Colour::Green)]),
    }
}

/// Implementation that shows what arrives.
pub(crate) struct Desk;

impl Everything for Desk {
    async fn snap(
        &self,
        exposure: Duration,
        at: Option<SystemTime>,
    ) -> Result<NdArray, ScopeError> {
        let at = at.map_or(0, |at| {
            let since = at.duration_since(SystemTime::UNIX_EPOCH);
            since.map_or(0, |since| since.as_secs())
        });
        match exposure.is_zero() {
            true => Err(ScopeError::Dark),
            false => Ok(vec![exposure.as_secs_f64(), at as f64].into()),
        }
    }

    async fn arrays(
        &self,
        image: Array<u16, 2>,
        waves: Array<Complex<f32>, 1>,
        halves: Option<Array<f16, 1>>,
        any: NdArray,
    ) -> Result<Array<f32, 1>, Code> {
        if any.shape() != [0] {
            let text = format!("{:?}", any.shape());
            return Err(Code { code: -7, text });
        }
        let mut all: Vec<f32> = image.as_slice().iter().map(|n| f32::from(*n)).collect();
        all.extend(waves.as_slice().iter().map(|wave| wave.im));
        all.extend(
            halves
                .iter()
                .flat_map(|halves| halves.as_slice())
                .map(|half| half.to_f32()),
        );
        Ok(all.into())
    }

    async fn watch(
        &self,
        on_pair: Callback<(u32, u32)>,
        on_one: Callback<f64, String>,
        on_none: Callback<()>,
        may_fail: Callback<Colour, u8, ScopeError>,
        on_tuple: Callback<((u8, u8),), (u8, Colour)>,
        maybe: Option<Callback<Frame>>,
        bytes: Callback<Bytes, Binary>,
        any: Function,
    ) -> Result<String, ScopeError> {
        let other = |e: Error| ScopeError::Other(e.to_string());
        on_pair.call((1, 2)).await.map_err(other)?;
        let one = on_one.call(0.5).await.map_err(other)?;
        on_none.call(()).await.map_err(other)?;
        let failed = match may_fail.call(Colour::Green).await {
            Err(Error::Service(error)) => error.to_string(),
            other => format!("{other:?}"),
        };
        let tuple = on_tuple.call(((3, 4),)).await.map_err(other)?;
        if let Some(maybe) = maybe {
            maybe.call(frame(1)).await.map_err(other)?;
        }
        let bytes = bytes.call(Bytes::from_static(b"ab")).await.map_err(other)?;
        let any: i64 = any.call(hypha_rpc::args!(1)).await.map_err(other)?;
        Ok(format!("{one} {failed} {tuple:?} {:?} {any}", &bytes[..]))
    }

    async fn stage(&self) -> Object<StageProxy> {
        Object::new(StageService::new(Axis))
    }

    async fn drive(&self, stage: Object<StageProxy>, x: f64) -> f64 {
        match stage.proxy().go(x, Colour::Green).await {
            Ok(x) => x,
            Err(Error::Service(ScopeError::Range(x))) => x + 0.5,
            Err(_) => f64::NAN,
        }
    }

    async fn frames(&self, count: u8) -> impl Stream<Item = Result<Frame, ScopeError>> + Send {
        let frames = stream::iter(0..count).map(|index| Ok(frame(index.into())));
        frames.chain(stream::iter([Err(ScopeError::Between(1, count))]))
    }

    async fn open(&self, count: u8) -> Result<impl Stream<Item = u8> + Send, Code> {
        match count {
            0 => Err(Code {
                code: 0,
                text: "nothing".into(),
            }),
            count => Ok(stream::iter(0..count)),
        }
    }

    async fn sum(
        &self,
        mut numbers: RemoteStream<f64>,
        mut failing: RemoteStream<u8, ScopeError>,
        mut parts: RemoteStream<Bytes>,
    ) -> f64 {
        let mut sum = 0.0;
        while let Some(Ok(number)) = numbers.next().await {
            sum += number;
        }
        while let Some(item) = failing.next().await {
            sum += match item {
                Ok(number) => f64::from(number),
                Err(Error::Service(ScopeError::Range(number))) => number,
                Err(_) => f64::NAN,
            };
        }
        while let Some(Ok(part)) = parts.next().await {
            sum += part.len() as f64;
        }
        sum
    }

    async fn streams(&self) -> Vec<RemoteStream<(u8, Colour)>> {
        vec![RemoteStream::new(stream::iter([
            (1, Colour::Red),
            (2, Colour::Green),
        ]))]
    }

    async fn file(&self, mut file: RemoteFile) -> RemoteFile {
        let mut content = Vec::new();
        match file.read_to_end(&mut content).await {
            Ok(_) => RemoteFile::from_bytes(content),
            Err(error) => RemoteFile::from_bytes(error.to_string()),
        }
    }

    async fn maps(
        &self,
        by_number: BTreeMap<u32, Colour>,
        signed: BTreeMap<i32, Vec<u8>>,
        named: BTreeMap<String, Option<f64>>,
        unique: BTreeSet<u8>,
        set: Set<Vec<u8>>,
        ordered: OrderedMap<Value, bool>,
    ) -> BTreeMap<i64, String> {
        let texts = [
            format!("{by_number:?}"),
            format!("{signed:?}"),
            format!("{named:?}"),
            format!("{unique:?}"),
            format!("{:?}", set.0),
            format!("{}", ordered.0.len()),
        ];
        (-1..).zip(texts).collect()
    }

    async fn exact(
        &self,
        limits: Limits,
        percent: Percent,
        level: u8,
        id: String,
        by_channel: BTreeMap<u16, f32>,
        by_side: Option<Vec<BTreeMap<bool, u8>>>,
        ordered: OrderedMap<i16, Colour>,
        on_table: Callback<BTreeMap<u8, f32>, BTreeMap<bool, u8>>,
        mut tables: RemoteStream<BTreeMap<i8, f32>>,
    ) -> (String, BTreeMap<bool, BTreeMap<u8, f32>>) {
        let text = format!(
            "{limits:?} {percent:?} {level} {id} {by_channel:?} {by_side:?} {:?}",
            ordered.0
        );
        let said = on_table.call(BTreeMap::from([(255, 0.5)])).await;
        let said = said.unwrap_or_default();
        let mut all = BTreeMap::new();
        while let Some(Ok(table)) = tables.next().await {
            all.extend(
                table
                    .into_iter()
                    .map(|(key, value)| (key.unsigned_abs(), value)),
            );
        }
        (text, BTreeMap::from([(said.contains_key(&true), all)]))
    }

    async fn values(
        &self,
        bytes: Binary,
        maybe: Option<Binary>,
        pair: (u8, Option<String>),
        fixed: [f64; 3],
        letter: char,
        sample: Sample,
        anything: Value,
    ) -> (Sample, char, [u8; 2], Binary) {
        let text = format!("{:?} {maybe:?} {pair:?} {fixed:?} {anything}", &bytes[..]);
        (sample, letter, [1, 2], Binary::from(text.into_bytes()))
    }

    async fn defaults(
        &self,
        colour: Colour,
        shape: Shape,
        line: Shape,
        dot: Shape,
        place: Place,
        home: Place,
        pause: Duration,
        share: f32,
        weights: BTreeMap<i64, f64>,
        letter: char,
        fixed: [u8; 2],
        sample: Sample,
    ) -> String {
        format!(
            "{colour:?} {shape:?} {line:?} {dot:?} {place:?} {home:?} {pause:?} {share} \
             {weights:?} {letter} {fixed:?} {sample:?}"
        )
    }

    async fn fail(&self, way: u8) -> Result<(), ScopeError> {
        Err(match way {
            0 => ScopeError::Dark,
            1 => ScopeError::Range(1.5),
            2 => ScopeError::Jammed {
                x: 1.0,
                y: 2,
                colour: Colour::Red,
            },
            3 => ScopeError::Between(1, 2),
            4 => ScopeError::Bad(frame(5)),
            5 => ScopeError::Other("odd".into()),
            _ => return Ok(()),
        })
    }

    async fn text(&self) -> anyhow::Result<u8> {
        anyhow::bail!("only a text")
    }

    async fn caused(&self, way: u8) -> Result<(), CausedError> {
        let cause = || Error::Invalid("wrong".into());
        Err(match way {
            0 => CausedError::Source(LensError::Dirty(1)),
            1 => CausedError::Call {
                what: "lamp".into(),
                cause: cause(),
            },
            2 => CausedError::Named {
                source: LensError::Missing,
            },
            3 => CausedError::Renamed {
                cause: Box::new(LensError::Dirty(2)),
                step: 1,
            },
            4 => CausedError::Item(1, Some(LensError::Missing), 3),
            5 => CausedError::Item(1, None, 3),
            6 => cause().into(),
            7 => LensError::Dirty(3).into(),
            8 => NumberError(4).into(),
            9 => Box::new(CausedError::Source(LensError::Missing)).into(),
            10 => CausedError::Without(LensError::Missing),
            11 => CausedError::Format(7, "a".into(), 255, 0.25),
            12 => CausedError::Optional {
                maybe: Some(1),
                times: 2,
            },
            _ => return Ok(()),
        })
    }

    async fn pair(&self) -> Result<(), PairError> {
        Err(PairError(1, "a".into()))
    }

    async fn unit(&self) -> Result<(), UnitError> {
        Err(UnitError)
    }

    async fn number(&self) -> Result<(), NumberError> {
        Err(NumberError(2))
    }

    async fn step(&self) -> Result<(), StepError> {
        Err(StepError { step: 3 })
    }

    async fn outer(&self) -> Result<(), OuterError> {
        Err(LensError::Dirty(4).into())
    }

    async fn list(&self) -> Result<(), ListError> {
        Err(ListError(Some(vec![Colour::Red])))
    }

    async fn text_error(&self) -> Result<(), TextError> {
        Err("written".to_owned().into())
    }

    async fn bundle(&self, bundle: Bundle) -> Bundle {
        bundle
    }

    async fn order(
        &self,
        order: Order,
        weights: Vec<f64>,
        by_name: BTreeMap<String, Vec<f64>>,
    ) -> u64 {
        let Order {
            weights: own,
            by_name: other,
            place: (_, _),
        } = order;
        (own.len() + other.len() + weights.len() + by_name.len()) as u64
    }

    async fn range(&self, range: Range) -> Range {
        range
    }
}
