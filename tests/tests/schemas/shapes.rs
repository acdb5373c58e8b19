//! Contract with flattened and untagged types, empty types, and unusual names. Tests that the
//! generated contract has the same schema, and that every value is the same on the wire.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hypha_rpc::args;
use hypha_rpc::prelude::*;
use hypha_rpc::service::{IncomingCall, IntoService, Method, Service};
use hypha_rpc_tests::cases::run;
use hypha_rpc_tests::conformance::Language;
use hypha_rpc_tests::servers::{Kind, Server};
use hypha_schema::Description;
use serde_json::{Value as Json, json};

use crate::generated::{assert_matches_compiled_file, check, shapes as made, written};

/// A position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Point {
    pub(crate) x: f64,
    #[serde(default = "seven")]
    pub(crate) y: f64,
    #[serde(default)]
    pub(crate) label: Option<String>,
}

fn seven() -> f64 {
    7.0
}

/// An internal tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode")]
pub(crate) enum Mode {
    Timed { wait: Duration },
    Idle,
}

/// External tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Target {
    Nowhere,
    At(Point),
    Pair(u8, Option<String>),
    Area { width: u64, height: Option<u64> },
}

/// Adjacent tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "t", content = "c")]
pub(crate) enum Step {
    Unit,
    Maybe(Option<u8>),
    Pair(u8, Duration),
    Fields { a: Option<u8> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ExternalRest {
    #[serde(flatten)]
    pub(crate) target: Target,
    #[serde(flatten)]
    pub(crate) rest: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AdjacentRest {
    pub(crate) n: u8,
    #[serde(flatten)]
    pub(crate) step: Step,
    #[serde(flatten)]
    pub(crate) rest: BTreeMap<String, Value>,
}

/// Two flattened enums.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Both {
    pub(crate) n: u8,
    #[serde(flatten)]
    pub(crate) mode: Mode,
    #[serde(flatten)]
    pub(crate) target: Target,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MaybeMode {
    pub(crate) n: u8,
    #[serde(flatten)]
    pub(crate) mode: Option<Mode>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct FlatUntagged {
    pub(crate) n: u8,
    #[serde(flatten)]
    pub(crate) either: Either,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Either {
    Left { left: Duration },
    Right { right: BTreeMap<String, u8> },
}

/// A tree with a flattened enum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Tree {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) kind: Form,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Form {
    Leaf,
    Chain { next: Box<Tree> },
    Fork { children: Vec<Tree> },
}

/// Everything that an internal tag permits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(crate) enum Tagged {
    UnitOne,
    Fields {
        long_name: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, f64>,
    },
    Named(Point),
    Nested(Mode),
    Mixed {
        n: u8,
        #[serde(flatten)]
        mode: Mode,
    },
    Map(BTreeMap<String, Duration>),
    Numbered(BTreeMap<u64, u8>),
    Empty {},
}

/// A struct before a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Roi {
    Corner { x: f64, y: f64 },
    List(Vec<f64>),
    Pair(String, u8),
}

/// A struct with a name before a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Place {
    Number(f64),
    List(Vec<f64>),
    Point(Point),
    Target(Target),
}

/// Null is one of several forms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Loose {
    Number(i64),
    Text(String),
    Fields { a: Option<u8> },
    Nil,
}

/// Some variants without tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Strict {
    A { a: u8 },
    Both { a: u8, b: u8 },
    Empty {},
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Closed {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Lists {
    None(),
    One(u8),
    Many(Vec<Vec<u8>>),
    Unit(()),
}

/// Fields of all kinds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Fields {
    pub(crate) new_: u8,
    pub(crate) f64_: f64,
    pub(crate) _x: u8,
    pub(crate) r#type: u8,
    #[serde(rename = "self")]
    pub(crate) this: u8,
    #[serde(rename = "kůň \"'\\{}")]
    pub(crate) horse: u8,
    #[serde(rename = "fooBar")]
    pub(crate) foo: u8,
    #[serde(rename = "foo_bar")]
    pub(crate) bar: u8,
    pub(crate) others: u8,
    pub(crate) variant: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    #[serde(default)]
    pub(crate) count: u8,
    pub(crate) unit: Unit,
    pub(crate) closed: Closed,
    pub(crate) lists: Vec<Lists>,
    pub(crate) outcome: Result<u8, String>,
    pub(crate) deep: Vec<Option<Result<Option<Point>, Vec<u8>>>>,
    pub(crate) first: first::Same,
    pub(crate) second: second::Same,
    pub(crate) big: u64,
    pub(crate) small: i64,
    /// Null deletes, and a missing field changes nothing.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    #[schemars(extend("x-hypha-absent" = true))]
    #[allow(clippy::option_option, reason = "null differs from a missing field")]
    pub(crate) change: Option<Option<u8>>,
}

fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

pub(crate) mod first {
    use hypha_rpc::prelude::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub(crate) struct Same {
        pub(crate) x: u8,
    }
}

pub(crate) mod second {
    use hypha_rpc::prelude::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub(crate) struct Same {
        pub(crate) y: String,
    }
}

struct Desk;

/// Echoes values.
#[hypha_service(id = "shapes")]
impl Desk {
    pub async fn external_rest(&self, it: ExternalRest) -> ExternalRest {
        it
    }

    pub async fn adjacent_rest(&self, it: AdjacentRest) -> AdjacentRest {
        it
    }

    pub async fn both(&self, it: Both) -> Both {
        it
    }

    pub async fn maybe_mode(&self, it: MaybeMode) -> MaybeMode {
        it
    }

    pub async fn flat_untagged(&self, it: FlatUntagged) -> FlatUntagged {
        it
    }

    pub async fn tree(&self, it: Tree) -> Tree {
        it
    }

    pub async fn tagged(&self, it: Tagged) -> Tagged {
        it
    }

    pub async fn many_tagged(&self, it: BTreeMap<String, Tagged>) -> BTreeMap<String, Tagged> {
        it
    }

    pub async fn roi(&self, it: Roi) -> Roi {
        it
    }

    pub async fn rois(&self, it: Vec<Roi>) -> Vec<Roi> {
        it
    }

    pub async fn place(&self, it: Place) -> Place {
        it
    }

    pub async fn loose(&self, it: Loose) -> Loose {
        it
    }

    pub async fn loosely(&self, it: Vec<Option<Loose>>) -> Vec<Option<Loose>> {
        it
    }

    pub async fn strict(&self, it: Strict) -> Strict {
        it
    }

    pub async fn lists(&self, it: Lists) -> Lists {
        it
    }

    pub async fn fields(&self, it: Fields) -> Fields {
        it
    }

    /// The order of the two types differs from that in the arguments.
    pub async fn same(
        &self,
        first: first::Same,
        second: second::Same,
    ) -> (second::Same, first::Same) {
        (second, first)
    }

    pub async fn defaults(
        &self,
        #[hypha(default = Tree { name: "a".into(), kind: Form::Leaf })] tree: Tree,
        #[hypha(default = Tagged::Nested(Mode::Idle))] nested: Tagged,
        #[hypha(default = Roi::Corner { x: 1.0, y: 2.0 })] corner: Roi,
        #[hypha(default = Roi::List(vec![0.5]))] list: Roi,
        #[hypha(default = Lists::None())] lists: Lists,
        #[hypha(default = Err("no".to_owned()))] outcome: Outcome,
    ) -> String {
        format!("{tree:?} {nested:?} {corner:?} {list:?} {lists:?} {outcome:?}")
    }
}

type Outcome = std::result::Result<u8, String>;

/// Implementation of the generated contract, for its schema.
struct Again;

impl made::Shapes for Again {
    async fn external_rest(&self, it: made::ExternalRest) -> made::ExternalRest {
        it
    }

    async fn adjacent_rest(&self, it: made::AdjacentRest) -> made::AdjacentRest {
        it
    }

    async fn both(&self, it: made::Both) -> made::Both {
        it
    }

    async fn maybe_mode(&self, it: made::MaybeMode) -> made::MaybeMode {
        it
    }

    async fn flat_untagged(&self, it: made::FlatUntagged) -> made::FlatUntagged {
        it
    }

    async fn tree(&self, it: made::Tree) -> made::Tree {
        it
    }

    async fn tagged(&self, it: made::Tagged) -> made::Tagged {
        it
    }

    async fn many_tagged(
        &self,
        it: BTreeMap<String, made::Tagged>,
    ) -> BTreeMap<String, made::Tagged> {
        it
    }

    async fn roi(&self, it: made::Roi) -> made::Roi {
        it
    }

    async fn rois(&self, it: Vec<made::Roi>) -> Vec<made::Roi> {
        it
    }

    async fn place(&self, it: made::Place) -> made::Place {
        it
    }

    async fn loose(&self, it: made::Loose) -> made::Loose {
        it
    }

    async fn loosely(&self, it: Vec<Option<made::Loose>>) -> Vec<Option<made::Loose>> {
        it
    }

    async fn strict(&self, it: made::Strict) -> made::Strict {
        it
    }

    async fn lists(&self, it: made::Lists) -> made::Lists {
        it
    }

    async fn fields(&self, it: made::Fields) -> made::Fields {
        it
    }

    async fn same(&self, first: made::Same, second: made::Same2) -> (made::Same2, made::Same) {
        (second, first)
    }

    async fn defaults(
        &self,
        _: made::Tree,
        _: made::Tagged,
        _: made::Roi,
        _: made::Roi,
        _: made::Lists,
        _: Outcome,
    ) -> String {
        String::new()
    }
}

#[test]
fn the_contract_generated_from_shapes_has_the_same_schema() {
    let original = Description::of(Desk);
    assert_matches_compiled_file("shapes", &original.rust()).expect("the same");
    let ours = Desk.into_service().schema().to_json();
    let again = made::ShapesService::new(Again)
        .into_service()
        .schema()
        .to_json();
    for (name, member) in ours.as_object().expect("members") {
        // Each variant has the members of the struct, because serde would give the tag to the map
        // of the other members too. Two types with one name get numbers of their own.
        if name != "adjacent_rest" && name != "same" {
            assert_eq!(again[name], *member, "{name}");
        }
    }
    assert_eq!(
        Description::of(made::ShapesService::new(Again)).rust(),
        original.rust()
    );
}

/// Sends each value of the original type through the generated proxy. The value must be the same
/// on the wire, in both directions.
macro_rules! pass {
    ($call:expr, $($value:expr),+ $(,)?) => {$({
        let value = $value;
        let sent = Value::encode_from(&value)?;
        let read = sent.decode_as();
        let found = $call(read.with_context(|| format!("{value:?}"))?).await;
        let found = Value::encode_from(&found.with_context(|| format!("{value:?}"))?)?;
        ensure!(found == sent, "{value:?}\n{sent}\n{found}");
    })+};
}

fn point(x: f64) -> Point {
    Point {
        x,
        y: -0.0,
        label: None,
    }
}

fn modes() -> [Mode; 2] {
    [
        Mode::Timed {
            wait: Duration::from_nanos(1),
        },
        Mode::Idle,
    ]
}

fn targets() -> [Target; 4] {
    [
        Target::Nowhere,
        Target::At(point(f64::INFINITY)),
        Target::Pair(0, None),
        Target::Area {
            width: u64::MAX,
            height: None,
        },
    ]
}

fn rest<T>(value: T) -> BTreeMap<String, T> {
    BTreeMap::from([("kůň".to_owned(), value)])
}

async fn flattened(proxy: &made::ShapesProxy) -> Result<()> {
    for mode in modes() {
        for target in targets() {
            let it = Both {
                n: 1,
                mode: mode.clone(),
                target,
            };
            pass!(|it| proxy.both(it), it);
        }
        pass!(
            |it| proxy.maybe_mode(it),
            MaybeMode {
                n: 1,
                mode: Some(mode)
            },
            MaybeMode { n: 1, mode: None },
        );
    }
    for target in targets() {
        let rest = rest(vec![]);
        pass!(|it| proxy.external_rest(it), ExternalRest { target, rest });
    }
    let steps = [
        Step::Unit,
        Step::Maybe(None),
        Step::Maybe(Some(1)),
        Step::Pair(1, Duration::MAX.min(Duration::from_secs(1 << 20))),
        Step::Fields { a: None },
    ];
    for step in steps {
        let rest = rest(Value::Null);
        pass!(
            |it| proxy.adjacent_rest(it),
            AdjacentRest { n: 1, step, rest }
        );
    }
    let either = [
        Either::Left {
            left: Duration::ZERO,
        },
        Either::Right { right: rest(1) },
    ];
    for either in either {
        pass!(|it| proxy.flat_untagged(it), FlatUntagged { n: 1, either });
    }
    let leaf = || Tree {
        name: String::new(),
        kind: Form::Leaf,
    };
    let chain = Form::Chain {
        next: Box::new(leaf()),
    };
    for kind in [
        Form::Fork { children: vec![] },
        chain,
        Form::Fork {
            children: vec![leaf(), leaf()],
        },
    ] {
        let name = "\0\u{202e}😀".to_owned();
        pass!(|it| proxy.tree(it), Tree { name, kind });
    }
    Ok(())
}

async fn enums(proxy: &made::ShapesProxy) -> Result<()> {
    let [timed, idle] = modes();
    let tagged = [
        Tagged::UnitOne,
        Tagged::Fields {
            long_name: 1,
            rest: rest(-0.0),
        },
        Tagged::Named(point(1.0)),
        Tagged::Nested(timed.clone()),
        Tagged::Nested(idle),
        Tagged::Mixed { n: 1, mode: timed },
        Tagged::Map(rest(Duration::from_millis(1))),
        Tagged::Map(BTreeMap::new()),
        Tagged::Numbered(BTreeMap::from([(u64::MAX, 1)])),
        Tagged::Empty {},
    ];
    for it in tagged.clone() {
        pass!(|it| proxy.tagged(it), it);
    }
    let named = (0..).map(|number: u8| number.to_string()).zip(tagged);
    pass!(
        |it| proxy.many_tagged(it),
        named.collect::<BTreeMap<_, _>>()
    );
    let rois = [
        Roi::Corner { x: 1.0, y: 2.0 },
        Roi::List(vec![1.0, 2.0]),
        Roi::List(vec![]),
        Roi::Pair("a".into(), 1),
    ];
    for it in rois.clone() {
        pass!(|it| proxy.roi(it), it);
    }
    pass!(|it| proxy.rois(it), rois.to_vec(), Vec::<Roi>::new());
    pass!(
        |it| proxy.place(it),
        Place::Number(f64::NEG_INFINITY),
        Place::List(vec![1.0, 2.0, 3.0]),
        Place::Point(point(1.0)),
    );
    for target in targets() {
        pass!(|it| proxy.place(it), Place::Target(target));
    }
    let loose = [
        Loose::Nil,
        Loose::Number(i64::MIN),
        Loose::Text(String::new()),
        Loose::Fields { a: None },
    ];
    for it in loose.clone() {
        pass!(|it| proxy.loose(it), it);
    }
    pass!(
        |it| proxy.loosely(it),
        vec![None, Some(Loose::Number(1))],
        Vec::<Option<Loose>>::new()
    );
    pass!(
        |it| proxy.strict(it),
        Strict::A { a: 1 },
        Strict::Both { a: 1, b: 2 },
        Strict::Empty {},
    );
    pass!(
        |it| proxy.lists(it),
        Lists::None(),
        Lists::One(1),
        Lists::Many(vec![vec![]]),
        Lists::Unit(()),
    );
    Ok(())
}

async fn fields(proxy: &made::ShapesProxy) -> Result<()> {
    let it = |tags: &[&str], change| Fields {
        change,
        new_: 1,
        f64_: 5e-324,
        _x: 2,
        r#type: 3,
        this: 4,
        horse: 5,
        foo: 6,
        bar: 7,
        others: 8,
        variant: 9,
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        count: 0,
        unit: Unit,
        closed: Closed {},
        lists: vec![Lists::None(), Lists::Unit(())],
        outcome: Err("no".into()),
        deep: vec![
            None,
            Some(Ok(None)),
            Some(Err(vec![])),
            Some(Ok(Some(point(0.5)))),
        ],
        first: first::Same { x: 1 },
        second: second::Same { y: "a".into() },
        big: u64::MAX,
        small: i64::MIN,
    };
    pass!(
        |it| proxy.fields(it),
        it(&["a"], None),
        it(&[], Some(None)),
        it(&[], Some(Some(1)))
    );
    let same = proxy
        .same(made::Same { x: 1 }, made::Same2 { y: "a".into() })
        .await?;
    ensure!(same == (made::Same2 { y: "a".into() }, made::Same { x: 1 }));
    let defaults: String = Proxy::service(proxy).call("defaults", args!()).await?;
    let wanted = "Tree { name: \"a\", kind: Leaf } \
        Nested(Idle) Corner { x: 1.0, y: 2.0 } List([0.5]) None Err(\"no\")";
    ensure!(defaults == wanted, "{defaults}");
    Ok(())
}

#[test]
fn every_shape_arrives_through_a_generated_contract() {
    run(Kind::Ours, &[], async |server: &Server| {
        let client = hypha_rpc::connect(&server.url).await?;
        let info = client.register_service(Desk).await?;
        let live = Description::fetch(&client, &info.id).await?;
        assert_matches_compiled_file("shapes", &live.rust())?;
        let proxy: made::ShapesProxy = client.proxy(info.id).await?;
        flattened(&proxy).await?;
        enums(&proxy).await?;
        fields(&proxy).await?;
        client.disconnect().await;
        Ok(())
    });
}

#[test]
fn compilers_accept_declarations_of_shapes() {
    let languages = [Language::Python, Language::JavaScript];
    run(Kind::Ours, &languages, async |_: &Server| {
        check(&Description::of(Desk), "shapes", &[])
    });
}

/// A service that echoes objects, with schemas that schemars does not write.
fn written_service() -> Service {
    let nullable = json!({"anyOf": [{"type": "integer"}, {"type": "null"}]});
    let states = json!({
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "level": nullable,
            "name": {"type": ["string", "null"]},
            "limit": {"type": "number"},
            "width": {"type": "number", "default": null},
            "any": {},
        },
        "required": ["id"],
    });
    let mode = json!([
        {"properties": {"mode": {"const": "timed"}, "wait": {"type": "number"}},
            "required": ["mode", "wait"]},
        {"properties": {"mode": {"const": "idle"}}, "required": ["mode"]},
    ]);
    let n = json!({"n": {"type": "integer"}});
    let rest = json!({"type": "object", "properties": n, "required": ["n"], "oneOf": mode,
        "unevaluatedProperties": {"type": "number"}});
    let numbered = json!({"type": "object", "properties": n, "oneOf": mode,
        "patternProperties": {"^-?\\d+$": {"type": "string"}}});
    let either = json!({"type": "object", "properties": n, "required": ["n"],
        "anyOf": [
            {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"b": {"type": "boolean"}}, "required": ["b"]},
        ],
        "additionalProperties": {"type": "string"}});
    let methods = [
        ("states", states),
        ("rest", rest),
        ("numbered", numbered),
        ("either", either),
    ];
    let echo = |name: &str, it: Json| {
        let parameters = json!({"type": "object", "properties": {"it": it}, "required": ["it"]});
        let schema = json!({"name": name, "parameters": parameters, "returns": it});
        let method = Method::new(name, async |call: IncomingCall| {
            let it: Value = call.args(&["it"])?.required(0)?;
            call.reply(&it)
        });
        method.schema(schema)
    };
    let methods = methods.into_iter().map(|(name, it)| echo(name, it));
    methods.fold(Service::new("written"), Service::method)
}

async fn written_objects(server: &Server) -> Result<()> {
    let client = hypha_rpc::connect(&server.url).await?;
    let info = client.register_service(written_service()).await?;
    let live = Description::fetch(&client, &info.id).await?;
    assert_matches_compiled_file("written", &live.rust())?;
    let proxy: written::WrittenProxy = client.proxy(info.id).await?;
    for it in [
        json!({"id": 1}),
        json!({"id": 1, "level": null, "name": null}),
        json!({"id": 1, "level": 2, "name": "", "limit": 0.5, "width": 1.5}),
        json!({"id": 1, "level": null, "any": null}),
        json!({"id": 1, "any": [null, {}]}),
    ] {
        pass!(|it| proxy.states(it), Value::from(it));
    }
    for it in [
        json!({"n": 1, "mode": "timed", "wait": 0.5, "x": 1.5, "kůň": -0.5}),
        json!({"n": 1, "mode": "idle"}),
    ] {
        pass!(|it| proxy.rest(it), Value::from(it));
    }
    for it in [
        json!({"n": 1, "mode": "timed", "wait": 0.5, "7": "x", "8": ""}),
        json!({"mode": "idle"}),
    ] {
        pass!(|it| proxy.numbered(it), Value::from(it));
    }
    for it in [
        json!({"n": 1, "a": 1, "x": "y"}),
        json!({"n": 1, "b": true, "x": "y"}),
    ] {
        pass!(|it| proxy.either(it), Value::from(it));
    }
    client.disconnect().await;
    Ok(())
}

#[test]
fn every_object_arrives_through_a_generated_contract() {
    run(Kind::Ours, &[], written_objects);
}
