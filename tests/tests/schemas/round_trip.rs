//! Tests that a contract that was generated from a schema has lost nothing: its proxy calls the
//! original service with every type, and its schema is the same as the original schema.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use half::f16;
use hypha_rpc::prelude::*;
use hypha_rpc::service::IntoService;
use hypha_rpc::{Array, Function, OrderedMap, Set, Timestamp, args};
use hypha_rpc_tests::cases::run;
use hypha_rpc_tests::servers::{Kind, Server};
use hypha_schema::Description;
use num_complex::Complex;
use tokio::io::AsyncReadExt as _;

use crate::everything::{Desk, EverythingService};
use crate::generated::assert_matches_compiled_file;
use crate::generated::everything as made;
use made::{
    Choice, Code, Colour, EverythingProxy, Frame, Limits, Percent, Place, Sample, ScopeError, Shape,
};

/// Implementation of the generated contract, for its schema.
struct Again;

impl made::Everything for Again {
    async fn snap(&self, _: Duration, _: Option<Timestamp>) -> Result<NdArray, ScopeError> {
        Err(ScopeError::Dark)
    }

    async fn arrays(
        &self,
        _: Array<u16, 2>,
        _: Array<Complex<f32>, 1>,
        _: Option<Array<f16, 1>>,
        _: NdArray,
    ) -> Result<Array<f32, 1>, Code> {
        Ok(vec![].into())
    }

    async fn watch(
        &self,
        _: Callback<(u32, u32)>,
        _: Callback<f64, String>,
        _: Callback<()>,
        _: Callback<Colour, u8, ScopeError>,
        _: Callback<((u8, u8),), (u8, Colour)>,
        _: Option<Callback<Frame>>,
        _: Callback<Binary, Binary>,
        _: Function,
    ) -> Result<String, ScopeError> {
        Err(ScopeError::Dark)
    }

    async fn stage(&self) -> Object<made::StageProxy> {
        Object::new(made::StageService::new(Axis))
    }

    async fn drive(&self, _: Object<made::StageProxy>, x: f64) -> f64 {
        x
    }

    async fn frames(&self, _: u8) -> impl Stream<Item = Result<Frame, ScopeError>> + Send {
        stream::empty()
    }

    async fn open(&self, _: u8) -> Result<impl Stream<Item = u8> + Send, Code> {
        Ok(stream::empty())
    }

    async fn sum(
        &self,
        _: RemoteStream<f64>,
        _: RemoteStream<u8, ScopeError>,
        _: RemoteStream<Binary>,
    ) -> f64 {
        0.0
    }

    async fn streams(&self) -> Vec<RemoteStream<(u8, Colour)>> {
        Vec::new()
    }

    async fn file(&self, file: RemoteFile) -> RemoteFile {
        file
    }

    async fn maps(
        &self,
        _: BTreeMap<u32, Colour>,
        _: BTreeMap<i32, Vec<u8>>,
        _: BTreeMap<String, Option<f64>>,
        _: BTreeSet<u8>,
        _: Set<Vec<u8>>,
        _: OrderedMap<Value, bool>,
    ) -> BTreeMap<i64, String> {
        BTreeMap::new()
    }

    async fn exact(
        &self,
        _: Limits,
        _: Percent,
        _: u8,
        _: String,
        _: BTreeMap<u16, f32>,
        _: Option<Vec<BTreeMap<bool, u8>>>,
        _: OrderedMap<i16, Colour>,
        _: Callback<BTreeMap<u8, f32>, BTreeMap<bool, u8>>,
        _: RemoteStream<BTreeMap<i8, f32>>,
    ) -> (String, BTreeMap<bool, BTreeMap<u8, f32>>) {
        (String::new(), BTreeMap::new())
    }

    async fn values(
        &self,
        bytes: Binary,
        _: Option<Binary>,
        _: (u8, Option<String>),
        _: [f64; 3],
        letter: char,
        sample: Sample,
        _: Value,
    ) -> (Sample, char, [u8; 2], Binary) {
        (sample, letter, [0, 0], bytes)
    }

    async fn defaults(
        &self,
        _: Colour,
        _: Shape,
        _: Shape,
        _: Shape,
        _: Place,
        _: Place,
        _: Duration,
        _: f32,
        _: BTreeMap<i64, f64>,
        _: char,
        _: [u8; 2],
        _: Sample,
    ) -> String {
        String::new()
    }

    async fn fail(&self, _: u8) -> Result<(), ScopeError> {
        Ok(())
    }

    async fn text(&self) -> Result<u8, String> {
        Ok(1)
    }

    async fn caused(&self, _: u8) -> Result<(), made::CausedError> {
        Ok(())
    }

    async fn pair(&self) -> Result<(), made::PairError> {
        Ok(())
    }

    async fn unit(&self) -> Result<(), made::UnitError> {
        Ok(())
    }

    async fn number(&self) -> Result<(), made::NumberError> {
        Ok(())
    }

    async fn step(&self) -> Result<(), made::StepError> {
        Ok(())
    }

    async fn outer(&self) -> Result<(), made::OuterError> {
        Ok(())
    }

    async fn list(&self) -> Result<(), made::ListError> {
        Ok(())
    }

    async fn text_error(&self) -> Result<(), made::TextError> {
        Ok(())
    }

    async fn bundle(&self, bundle: made::Bundle) -> made::Bundle {
        bundle
    }

    async fn order(&self, _: made::Order, _: Vec<f64>, _: BTreeMap<String, Vec<f64>>) -> u64 {
        0
    }

    async fn range(&self, range: made::Range) -> made::Range {
        range
    }
}

/// A stage of the caller.
struct Axis;

impl made::Stage for Axis {
    async fn go(&self, x: f64, colour: Colour) -> Result<f64, ScopeError> {
        match colour {
            Colour::Red => Ok(x),
            Colour::Green => Err(ScopeError::Range(2.0 * x)),
        }
    }

    async fn other_twin(&self) -> Object<made::StageProxy> {
        Object::new(made::StageService::new(Axis))
    }

    async fn listen(&self, _: Callback<(f64, Colour), bool>) -> bool {
        false
    }
}

#[test]
fn the_contract_generated_from_a_generated_contract_is_the_same() {
    let original = Description::of(EverythingService::new(Desk));
    assert_matches_compiled_file("everything", &original.rust()).expect("the same");
    let schema = |service: hypha_rpc::Service| service.schema().to_json();
    let ours = schema(EverythingService::new(Desk).into_service());
    let again = schema(made::EverythingService::new(Again).into_service());
    for (name, member) in ours.as_object().expect("members") {
        assert_eq!(again[name], *member, "{name}");
    }
    let again = Description::of(made::EverythingService::new(Again));
    assert_eq!(again.rust(), original.rust());
}

/// Generates a contract from the schema that the server has, and calls the original service with
/// the generated proxy.
async fn every_value_arrives(server: &Server) -> Result<()> {
    let owner = hypha_rpc::connect(&server.url).await?;
    let info = owner.register_service(EverythingService::new(Desk)).await?;
    let token = owner.manager().await?.generate_token(None).await?;
    let client = hypha_rpc::connect(&server.url);
    let client = client.workspace(owner.workspace()).token(token).await?;
    let live = Description::fetch(&client, &info.id).await?;
    assert_matches_compiled_file("everything", &live.rust())?;
    let proxy: EverythingProxy = client.proxy(info.id).await?;
    values(&proxy).await?;
    errors(&proxy).await?;
    causes(&proxy).await?;
    errors_without_names(&proxy).await?;
    exact(&proxy).await?;
    functions_and_objects(&proxy).await?;
    streams_and_files(&proxy).await?;
    client.disconnect().await;
    owner.disconnect().await;
    Ok(())
}

async fn values(proxy: &EverythingProxy) -> Result<()> {
    let at = Timestamp::from(std::time::UNIX_EPOCH + Duration::from_secs(7));
    let image = proxy.snap(Duration::from_millis(1500), Some(at)).await?;
    ensure!(image == NdArray::from(vec![1.5, 7.0]), "{image:?}");

    let none = || NdArray::from(Vec::<f64>::new());
    let image = Array::from_vec([1, 2], vec![1u16, 2])?;
    let waves: Array<Complex<f32>, 1> = vec![Complex::new(0.5, 3.0)].into();
    let halves: Array<f16, 1> = vec![f16::from_f32(4.5)].into();
    let all = proxy.arrays(image.clone(), waves.clone(), Some(halves), none());
    let all = all.await?;
    ensure!(all.as_slice() == [1.0, 2.0, 3.0, 4.5], "{all:?}");
    let lists = args!(vec![vec![1u8]], &waves, vec![0.5], none());
    let all: Array<f32, 1> = Proxy::service(proxy).call("arrays", lists).await?;
    ensure!(all.as_slice() == [1.0, 3.0, 0.5], "{all:?}");
    let wrong = proxy.arrays(image, waves, None, vec![1.0].into()).await;
    let code = Code {
        code: -7,
        text: "[1]".into(),
    };
    ensure!(
        matches!(&wrong, Err(Error::Service(error)) if *error == code),
        "{wrong:?}"
    );

    let maps = proxy.maps(
        BTreeMap::from([(7, Colour::Green)]),
        BTreeMap::from([(-1, vec![1, 2])]),
        BTreeMap::from([("a".into(), None), ("b".into(), Some(0.5))]),
        BTreeSet::from([3, 4]),
        Set(vec![5]),
        OrderedMap(vec![(Value::from(true), false), (Value::from(2i64), true)]),
    );
    let maps = maps.await?;
    let wanted = [
        "{7: Green}",
        "{-1: [1, 2]}",
        "{\"a\": None, \"b\": Some(0.5)}",
        "{3, 4}",
        "[5]",
        "2",
    ];
    let wanted: BTreeMap<i64, String> = (-1..).zip(wanted.map(str::to_owned)).collect();
    ensure!(maps == wanted, "{maps:?}");

    let some = Binary::from(vec![9]);
    let values = proxy.values(
        vec![1, 2].into(),
        Some(some.clone()),
        (1, None),
        [1.0, 2.0, 3.0],
        'ů',
        Sample(4),
        "x".into(),
    );
    let (sample, letter, pair, text) = values.await?;
    ensure!((sample, letter, pair) == (Sample(4), 'ů', [1, 2]));
    let wanted = format!("[1, 2] {:?} (1, None) [1.0, 2.0, 3.0] \"x\"", Some(some));
    ensure!(text.as_ref() == wanted.as_bytes(), "{text:?}");

    let defaults = proxy.defaults(
        Colour::Red,
        Shape::Box {
            width: 1.0,
            height: Some(2.0),
        },
        Shape::Line(3.0, 4.0),
        Shape::Circle(5.0),
        Place::At { x: 6.0, y: 7.0 },
        Place::Home,
        Duration::from_nanos(1_500_000_000),
        0.25,
        BTreeMap::from([(-8, 0.5)]),
        'x',
        [1, 9],
        Sample(10),
    );
    let wanted = "Red Box { width: 1.0, height: Some(2.0) } Line(3.0, 4.0) Circle(5.0) \
        At { x: 6.0, y: 7.0 } Home 1.5s 0.25 {-8: 0.5} x [1, 9] Sample(10)";
    ensure!(defaults.await? == wanted);
    let omitted: String = Proxy::service(proxy).call("defaults", args!()).await?;
    let wanted = "Green Box { width: 1.5, height: None } Line(1.0, 2.0) Dot \
        At { x: 1.0, y: -2.0 } Home 20ms 0.1 {7: 0.5} ů [1, 2] Sample(3)";
    ensure!(omitted == wanted, "{omitted}");
    Ok(())
}

async fn exact(proxy: &EverythingProxy) -> Result<()> {
    let limits = Limits {
        gain: 1.5,
        count: 5_000_000_000,
        level: Some(2),
        singles: vec![0.1],
        widest: (u64::MAX.into(), i64::MIN.into()),
        index: 7,
        shift: -7,
        sides: Some(BTreeMap::from([(true, 0.1)])),
        name: "abc".into(),
        few: vec![1],
        address: "::1".into(),
        choice: Choice::Keys(1, BTreeMap::from([(-128, 2)])),
    };
    let id = "00000000-0000-4000-8000-000000000000".to_owned();
    let table = BTreeMap::from([(-2, 0.25f32)]);
    let found = proxy.exact(
        limits,
        Percent(100),
        10,
        id,
        BTreeMap::from([(65_535, 0.5)]),
        Some(vec![BTreeMap::from([(false, 1)])]),
        OrderedMap(vec![(-1, Colour::Red)]),
        Callback::new(|table: BTreeMap<u8, f32>| async move {
            BTreeMap::from([(table == BTreeMap::from([(255, 0.5)]), 1)])
        }),
        RemoteStream::new(stream::iter([table])),
    );
    let (text, tables) = found.await?;
    let wanted = BTreeMap::from([(true, BTreeMap::from([(2, 0.25)]))]);
    ensure!(tables == wanted, "{tables:?}");
    let wanted = "Limits { gain: 1.5, count: 5000000000, level: Some(2), singles: [0.1], \
        widest: (18446744073709551615, -9223372036854775808), index: 7, shift: -7, \
        sides: Some({true: 0.1}), name: \"abc\", few: [1], address: ::1, \
        choice: Keys(1, {-128: 2}) } Percent(100) 10 00000000-0000-4000-8000-000000000000 \
        {65535: 0.5} Some([{false: 1}]) [(-1, Red)]";
    ensure!(text == wanted, "{text}");
    Ok(())
}

async fn errors(proxy: &EverythingProxy) -> Result<()> {
    let wanted = [
        (ScopeError::Dark, "no light"),
        (ScopeError::Range(1.5), "1.5 is out of range"),
        (
            ScopeError::Jammed {
                x: 1.0,
                y: 2,
                colour: Colour::Red,
            },
            "stuck at 1.00, 2 in Red",
        ),
        (ScopeError::Between(1, 2), "between 1 and 2"),
        // The message contains only a part of a field. A schema cannot describe this.
        (ScopeError::Bad(frame(5)), "ScopeError.Bad"),
        (ScopeError::Other("odd".into()), "odd"),
    ];
    for (way, (error, text)) in (0..).zip(wanted) {
        match proxy.fail(way).await {
            Err(Error::Service(found)) => {
                ensure!(found == error, "{found:?}");
                ensure!(found.to_string() == text, "{found}");
            }
            other => anyhow::bail!("{way}: {other:?}"),
        }
    }
    proxy.fail(6).await?;
    let text = proxy.text().await;
    ensure!(
        matches!(&text, Err(e) if e.to_string().contains("only a text")),
        "{text:?}"
    );
    Ok(())
}

/// Returns the messages of an error and of its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect()
}

async fn causes(proxy: &EverythingProxy) -> Result<()> {
    use made::LensError;

    let dirty = |number: u8| format!("lens {number} is dirty");
    let none = || "no lens".to_owned();
    let wrong = || Error::<std::convert::Infallible>::Invalid("wrong".into()).to_string();
    let wanted: [Vec<String>; 13] = [
        vec!["unclear".into(), dirty(1)],
        vec!["lamp does not answer".into(), wrong()],
        vec!["blurred: no lens".into(), none()],
        vec!["later".into(), dirty(2)],
        vec!["step 1 of 3".into(), none()],
        vec!["step 1 of 3".into()],
        vec![wrong()],
        vec![dirty(3)],
        vec!["of number 4".into(), "number 4".into()],
        vec!["unclear".into(), none()],
        vec!["without no lens".into()],
        vec!["  7 a***|+255 0x00ff 2.55e2 0.2 0.25 {}".into()],
        vec!["Some(1) 02".into()],
    ];
    for (way, wanted) in (0..).zip(wanted) {
        match proxy.caused(way).await {
            Err(Error::Service(error)) => {
                let found = chain(&error);
                ensure!(found == wanted, "{way}: {found:?}");
            }
            other => anyhow::bail!("{way}: {other:?}"),
        }
    }
    // The conversions of the original exist.
    let _: made::CausedError = LensError::Missing.into();
    let _: made::CausedError = made::NumberError(1).into();
    let _: made::CausedError = Box::new(made::CausedError::Without(LensError::Missing)).into();
    let _: made::CausedError = Error::Invalid(String::new()).into();
    Ok(())
}

/// Returns the error of a service and its chain.
fn failure<E: std::error::Error + 'static>(
    result: Result<(), Error<E>>,
) -> Result<(E, Vec<String>)> {
    match result {
        Err(Error::Service(error)) => {
            let chain = chain(&error);
            Ok((error, chain))
        }
        other => anyhow::bail!("{other:?}"),
    }
}

async fn errors_without_names(proxy: &EverythingProxy) -> Result<()> {
    let found = failure(proxy.pair().await)?;
    let wanted = made::PairError(1, "a".into());
    ensure!(found == (wanted, vec!["pair 1 a".into()]), "{found:?}");
    let found = failure(proxy.unit().await)?;
    ensure!(
        found == (made::UnitError, vec!["nothing".into()]),
        "{found:?}"
    );
    let found = failure(proxy.number().await)?;
    ensure!(
        found == (made::NumberError(2), vec!["number 2".into()]),
        "{found:?}"
    );
    let found = failure(proxy.step().await)?;
    let wanted = vec!["at {step} 003".to_owned()];
    ensure!(found == (made::StepError(3), wanted), "{found:?}");
    let found = failure(proxy.outer().await)?;
    let wanted = made::OuterError(made::LensError::Dirty(4));
    ensure!(
        found == (wanted, vec!["lens 4 is dirty".into()]),
        "{found:?}"
    );
    let found = failure(proxy.list().await)?;
    let wanted = made::ListError(Some(vec![Colour::Red]));
    ensure!(found == (wanted, vec!["Some([Red])".into()]), "{found:?}");
    let found = failure(proxy.text_error().await)?;
    let wanted = made::TextError("written".into());
    ensure!(found == (wanted, vec!["a text".into()]), "{found:?}");
    let range = proxy.range(made::Range(3, None)).await?;
    ensure!(range == made::Range(3, None), "{range:?}");
    Ok(())
}

fn frame(index: u64) -> Frame {
    Frame {
        index,
        pixels: Array::from_vec([1, 2], vec![1, 2]).expect("fits"),
        exposure: Duration::from_millis(250),
        colours: BTreeMap::from([(7, Colour::Green)]),
    }
}

async fn functions_and_objects(proxy: &EverythingProxy) -> Result<()> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |seen: &Arc<Mutex<Vec<String>>>, text: String| {
        let seen = Arc::clone(seen);
        async move { seen.lock().map(|mut seen| seen.push(text)).unwrap_or(()) }
    };
    let (pairs, nones, frames) = (seen.clone(), seen.clone(), seen.clone());
    let said = proxy.watch(
        Callback::new(move |pair: (u32, u32)| note(&pairs, format!("{pair:?}"))),
        Callback::new(|share: f64| async move { format!("<{share}>") }),
        Callback::new(move |()| note(&nones, "none".into())),
        Callback::try_new(|colour| async move {
            match colour {
                Colour::Red => Ok(1),
                Colour::Green => Err(ScopeError::Range(2.5)),
            }
        }),
        Callback::new(|((a, b),): ((u8, u8),)| async move { (a + b, Colour::Red) }),
        Some(Callback::new(move |frame: Frame| {
            note(&frames, format!("{}", frame.index))
        })),
        Callback::new(|bytes: Binary| async move { bytes }),
        Function::new(|call| async move { call.reply(&41) }),
    );
    let said = said.await?;
    ensure!(
        said == "<0.5> 2.5 is out of range (7, Red) [97, 98] 41",
        "{said}"
    );
    let seen = seen.lock().map(|seen| seen.clone()).unwrap_or_default();
    ensure!(seen == ["(1, 2)", "none", "1"], "{seen:?}");

    let stage = proxy.stage().await?.proxy().other_twin().await?.proxy();
    ensure!(stage.go(5.0, Colour::Red).await? == 5.0);
    let far = stage.go(500.0, Colour::Red).await;
    ensure!(
        matches!(far, Err(Error::Service(ScopeError::Range(500.0)))),
        "{far:?}"
    );
    let listener = Callback::new(|(x, colour)| async move { (x, colour) == (0.5, Colour::Green) });
    ensure!(stage.listen(listener).await?);
    let own = Object::new(made::StageService::new(Axis));
    let driven = proxy.drive(own, 3.0).await?;
    ensure!(driven == 6.5, "{driven}");
    Ok(())
}

async fn streams_and_files(proxy: &EverythingProxy) -> Result<()> {
    let mut frames = proxy.frames(2).await?;
    for index in 0..2 {
        let next = frames.try_next().await?;
        ensure!(next == Some(frame(index)), "{next:?}");
    }
    let end = frames.try_next().await;
    ensure!(
        matches!(end, Err(Error::Service(ScopeError::Between(1, 2)))),
        "{end:?}"
    );
    let opened: Vec<u8> = proxy.open(3).await?.try_collect().await?;
    ensure!(opened == [0, 1, 2]);
    let nothing = proxy.open(0).await.err();
    ensure!(
        matches!(&nothing, Some(Error::Service(code)) if code.text == "nothing"),
        "{nothing:?}"
    );
    let failing = stream::iter([Ok(1), Err(ScopeError::Range(0.5))]);
    let sum = proxy.sum(
        RemoteStream::new(stream::iter([1.0, 2.0])),
        RemoteStream::try_new(failing),
        RemoteStream::new(stream::iter([Binary::from(vec![0; 10])])),
    );
    let sum = sum.await?;
    ensure!(sum == 14.5, "{sum}");
    let mut streams = proxy.streams().await?;
    ensure!(streams.len() == 1);
    let items: Vec<_> = streams.remove(0).map(|item| item.ok()).collect().await;
    ensure!(items == [Some((1, Colour::Red)), Some((2, Colour::Green))]);

    let file = RemoteFile::from_bytes("content");
    let mut file = proxy.file(file).await?;
    let mut text = String::new();
    file.read_to_string(&mut text).await?;
    ensure!(text == "content", "{text}");
    Ok(())
}

#[test]
fn every_value_arrives_through_a_generated_contract() {
    run(Kind::Ours, &[], every_value_arrives);
}

#[test]
fn every_value_arrives_through_a_generated_contract_on_the_python_server() {
    run(Kind::Python, &[], every_value_arrives);
}
