//! Contract with every serde representation of enums, with generic types, and with the errors whose
//! fields are not all sent. Tests that the generated contract has the same schema, and that its
//! proxy calls the original service with every variant.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use hypha_rpc::args;
use hypha_rpc::prelude::*;
use hypha_rpc::service::IntoService;
use hypha_rpc_tests::cases::run;
use hypha_rpc_tests::conformance::Language;
use hypha_rpc_tests::servers::{Kind, Server};
use hypha_schema::Description;

use crate::generated::{assert_matches_compiled_file, check, variants as made};

/// A position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) label: Option<String>,
}

/// Adjacent tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "value")]
pub(crate) enum Adjacent {
    /// Nothing.
    Unit,
    Newtype(Point),
    Timed(u8, Duration),
    Maybe(Option<u8>),
    /// Fields.
    Fields {
        /// First.
        first: Duration,
        second: Option<String>,
    },
}

/// Adjacent tags with one form of content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "t",
    content = "c",
    deny_unknown_fields,
    rename_all = "kebab-case"
)]
pub(crate) enum Strict {
    OnlyUnit,
    TwoFields { a: u8, b: u8 },
}

/// Internal tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Internal {
    Unit,
    Struct(Point),
    Fields { volume: f64, pause: Duration },
}

/// Internal tags without other members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", deny_unknown_fields)]
pub(crate) enum Closed {
    Unit,
    Fields { volume: f64, label: Option<String> },
    Point(Point),
}

/// External tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum External {
    Unit,
    /// With a text.
    Documented,
    Newtype(Point),
    Inner(Internal),
    Tuple(u8, Duration),
    List(Vec<Adjacent>),
    Fields {
        a: Option<u8>,
        b: Duration,
    },
}

/// External tags without other members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) enum ClosedExternal {
    Unit,
    Fields { a: u8 },
}

/// No tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Untagged {
    Number(i64),
    Text(String),
    Point(Point),
    Pair(u8, u8),
    Fields { left: u8, right: Duration },
}

/// One variant with an external tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum OneExternal {
    /// The only variant.
    Only(u8, Duration),
}

/// One variant with an internal tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
pub(crate) enum OneInternal {
    Only { a: u8, b: u8 },
}

/// One variant with an adjacent tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "t", content = "c")]
pub(crate) enum OneAdjacent {
    Only(u8, Duration),
}

/// One variant without content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum OneUnit {
    /// The only variant.
    Only,
}

/// A page of items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<Box<Page<T>>>,
    pub(crate) by_name: BTreeMap<String, T>,
}

/// A value with its unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Measured<T, U = String> {
    pub(crate) value: T,
    pub(crate) unit: U,
}

/// A number of its rows, and the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Table {
    pub(crate) unit: String,
    #[serde(flatten)]
    pub(crate) rows: BTreeMap<u64, f64>,
}

/// Failures whose fields are not all sent.
#[derive(Debug, Serialize, Deserialize, thiserror::Error, RemoteError)]
pub(crate) enum Failure {
    #[error("at step {step}")]
    Step {
        step: u8,
        #[serde(skip)]
        #[allow(dead_code, reason = "only the service sees it")]
        hidden: Option<String>,
    },
    #[error("no file")]
    File(
        #[serde(skip)]
        #[allow(dead_code, reason = "only the service sees it")]
        Option<String>,
    ),
    #[error("a part")]
    Part(
        u8,
        #[serde(skip)]
        #[allow(dead_code, reason = "only the service sees it")]
        Option<String>,
    ),
    #[error(transparent)]
    Connection(#[from] Error),
}

/// External tags, and fields that are not sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum SkippedExternal {
    Unit,
    File(#[serde(skip)] Option<String>),
    /// With a text.
    Point(#[serde(skip)] Option<u8>),
    Part(u8, #[serde(skip)] Option<String>),
    Fields {
        a: u8,
        #[serde(skip)]
        hidden: Option<String>,
    },
}

/// Adjacent tags, and fields that are not sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "t", content = "c")]
pub(crate) enum SkippedAdjacent {
    Unit,
    File(#[serde(skip)] Option<String>),
    Part(u8, #[serde(skip)] Option<String>),
    Fields {
        a: u8,
        #[serde(skip)]
        hidden: Option<String>,
    },
}

/// Internal tags, and fields that are not sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
pub(crate) enum SkippedInternal {
    Unit,
    File(#[serde(skip)] Option<String>),
    Point(#[serde(skip)] Option<u8>),
    Fields {
        a: u8,
        b: u8,
        #[serde(skip)]
        hidden: Option<String>,
    },
}

/// No tags, and fields that are not sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum SkippedUntagged {
    Part(u8, #[serde(skip)] Option<String>),
    Fields {
        a: u8,
        #[serde(skip)]
        hidden: Option<String>,
    },
    File(#[serde(skip)] Option<String>),
}

/// Echoes variants.
#[hypha_service(id = "variants")]
pub(crate) trait Variants {
    async fn adjacent(&self, it: Adjacent) -> Adjacent;
    async fn strict(&self, it: Strict) -> Strict;
    async fn internal(&self, it: Internal) -> Internal;
    async fn closed(&self, it: Closed) -> Closed;
    async fn external(&self, it: External) -> External;
    async fn closed_external(&self, it: ClosedExternal) -> ClosedExternal;
    async fn untagged(&self, it: Untagged) -> Untagged;
    async fn skipped_external(&self, it: SkippedExternal) -> SkippedExternal;
    async fn skipped_adjacent(&self, it: SkippedAdjacent) -> SkippedAdjacent;
    async fn skipped_internal(&self, it: SkippedInternal) -> SkippedInternal;
    async fn skipped_untagged(&self, it: SkippedUntagged) -> (SkippedUntagged, String);
    async fn single(
        &self,
        external: OneExternal,
        internal: OneInternal,
        adjacent: OneAdjacent,
        unit: OneUnit,
    ) -> (OneExternal, OneInternal, OneAdjacent, OneUnit);
    async fn defaults(
        &self,
        #[hypha(default = Adjacent::Timed(1, Duration::from_millis(1500)))] tuple: Adjacent,
        #[hypha(default = Adjacent::Unit)] unit: Adjacent,
        #[hypha(default = Adjacent::Fields { first: Duration::from_secs(2), second: None })]
        fields: Adjacent,
        #[hypha(default = Strict::TwoFields { a: 1, b: 2 })] strict: Strict,
        #[hypha(default = OneExternal::Only(1, Duration::from_secs(3)))] one: OneExternal,
    ) -> String;
    async fn pages(
        &self,
        points: Page<Point>,
        measured: Page<Measured<Option<Internal>>>,
        pairs: Measured<(u8, Duration), Measured<u8, u8>>,
    ) -> Page<Page<Measured<u8>>>;
    async fn table(&self, table: Table) -> Table;
    async fn fail(&self, way: u8) -> Result<u8, Failure>;
}

struct Desk;

impl Variants for Desk {
    async fn adjacent(&self, it: Adjacent) -> Adjacent {
        it
    }

    async fn strict(&self, it: Strict) -> Strict {
        it
    }

    async fn internal(&self, it: Internal) -> Internal {
        it
    }

    async fn closed(&self, it: Closed) -> Closed {
        it
    }

    async fn external(&self, it: External) -> External {
        it
    }

    async fn closed_external(&self, it: ClosedExternal) -> ClosedExternal {
        it
    }

    async fn untagged(&self, it: Untagged) -> Untagged {
        it
    }

    async fn skipped_external(&self, it: SkippedExternal) -> SkippedExternal {
        it
    }

    async fn skipped_adjacent(&self, it: SkippedAdjacent) -> SkippedAdjacent {
        it
    }

    async fn skipped_internal(&self, it: SkippedInternal) -> SkippedInternal {
        it
    }

    async fn skipped_untagged(&self, it: SkippedUntagged) -> (SkippedUntagged, String) {
        let text = format!("{it:?}");
        (it, text)
    }

    async fn single(
        &self,
        external: OneExternal,
        internal: OneInternal,
        adjacent: OneAdjacent,
        unit: OneUnit,
    ) -> (OneExternal, OneInternal, OneAdjacent, OneUnit) {
        (external, internal, adjacent, unit)
    }

    async fn defaults(
        &self,
        tuple: Adjacent,
        unit: Adjacent,
        fields: Adjacent,
        strict: Strict,
        one: OneExternal,
    ) -> String {
        format!("{tuple:?} {unit:?} {fields:?} {strict:?} {one:?}")
    }

    async fn pages(
        &self,
        points: Page<Point>,
        measured: Page<Measured<Option<Internal>>>,
        pairs: Measured<(u8, Duration), Measured<u8, u8>>,
    ) -> Page<Page<Measured<u8>>> {
        let unit = format!("{points:?} {measured:?} {pairs:?}");
        let measured = Measured { value: 1, unit };
        let page = Page {
            items: vec![measured],
            next: None,
            by_name: BTreeMap::new(),
        };
        Page {
            items: vec![],
            next: None,
            by_name: BTreeMap::from([("page".to_owned(), page)]),
        }
    }

    async fn table(&self, table: Table) -> Table {
        table
    }

    async fn fail(&self, way: u8) -> Result<u8, Failure> {
        Err(match way {
            0 => Failure::Step {
                step: 3,
                hidden: Some("secret".into()),
            },
            1 => Failure::File(Some("secret".into())),
            2 => Failure::Part(4, Some("secret".into())),
            _ => Failure::Connection(Error::Invalid("no network".into())),
        })
    }
}

#[test]
fn the_generated_contract_has_the_same_representations() {
    let original = Description::of(VariantsService::new(Desk));
    assert_matches_compiled_file("variants", &original.rust()).expect("the same");
    let schema = |service: hypha_rpc::Service| service.schema().to_json();
    let ours = schema(VariantsService::new(Desk).into_service());
    let again = schema(made::VariantsService::new(Again).into_service());
    for (name, member) in ours.as_object().expect("members") {
        // The generated contract has names for types that had no unique name, and a list comes
        // before a struct.
        if name != "pages" && name != "untagged" {
            assert_eq!(again[name], *member, "{name}");
        }
    }
}

/// Implementation of the generated contract, for its schema.
struct Again;

impl made::Variants for Again {
    async fn adjacent(&self, it: made::Adjacent) -> made::Adjacent {
        it
    }

    async fn strict(&self, it: made::Strict) -> made::Strict {
        it
    }

    async fn internal(&self, it: made::Internal) -> made::Internal {
        it
    }

    async fn closed(&self, it: made::Closed) -> made::Closed {
        it
    }

    async fn external(&self, it: made::External) -> made::External {
        it
    }

    async fn closed_external(&self, it: made::ClosedExternal) -> made::ClosedExternal {
        it
    }

    async fn untagged(&self, it: made::Untagged) -> made::Untagged {
        it
    }

    async fn skipped_external(&self, it: made::SkippedExternal) -> made::SkippedExternal {
        it
    }

    async fn skipped_adjacent(&self, it: made::SkippedAdjacent) -> made::SkippedAdjacent {
        it
    }

    async fn skipped_internal(&self, it: made::SkippedInternal) -> made::SkippedInternal {
        it
    }

    async fn skipped_untagged(&self, it: made::SkippedUntagged) -> (made::SkippedUntagged, String) {
        (it, String::new())
    }

    async fn single(
        &self,
        external: made::OneExternal,
        internal: made::OneInternal,
        adjacent: made::OneAdjacent,
        unit: made::OneUnit,
    ) -> (
        made::OneExternal,
        made::OneInternal,
        made::OneAdjacent,
        made::OneUnit,
    ) {
        (external, internal, adjacent, unit)
    }

    async fn defaults(
        &self,
        _: made::Adjacent,
        _: made::Adjacent,
        _: made::Adjacent,
        _: made::Strict,
        _: made::OneExternal,
    ) -> String {
        String::new()
    }

    async fn pages(&self, _: made::Page, _: made::Page2, _: made::Measured2) -> made::Page3 {
        made::Page3 {
            items: vec![],
            next: None,
            by_name: BTreeMap::new(),
        }
    }

    async fn table(&self, table: made::Table) -> made::Table {
        table
    }

    async fn fail(&self, _: u8) -> Result<u8, made::Failure> {
        Ok(1)
    }
}

/// Calls the original service with the generated proxy.
async fn every_variant_arrives(server: &Server) -> Result<()> {
    let client = hypha_rpc::connect(&server.url).await?;
    let info = client.register_service(VariantsService::new(Desk)).await?;
    let live = Description::fetch(&client, &info.id).await?;
    assert_matches_compiled_file("variants", &live.rust())?;
    let proxy: made::VariantsProxy = client.proxy(info.id).await?;
    tagged(&proxy).await?;
    others(&proxy).await?;
    skipped(&proxy).await?;
    failures(&proxy).await?;
    client.disconnect().await;
    Ok(())
}

const PAUSE: Duration = Duration::from_millis(1500);

fn point() -> made::Point {
    made::Point {
        x: 1.5,
        label: Some("a".into()),
    }
}

async fn tagged(proxy: &made::VariantsProxy) -> Result<()> {
    let adjacent = [
        made::Adjacent::Unit,
        made::Adjacent::Newtype(point()),
        made::Adjacent::Timed(1, PAUSE),
        made::Adjacent::Maybe(None),
        made::Adjacent::Maybe(Some(2)),
        made::Adjacent::Fields {
            first: PAUSE,
            second: None,
        },
    ];
    for it in &adjacent {
        let found = proxy.adjacent(it.clone()).await?;
        ensure!(found == *it, "{found:?}");
    }
    for it in [
        made::Strict::OnlyUnit,
        made::Strict::TwoFields { a: 1, b: 2 },
    ] {
        ensure!(proxy.strict(it.clone()).await? == it, "{it:?}");
    }
    let internal = [
        made::Internal::Unit,
        made::Internal::Struct(point()),
        made::Internal::Fields {
            volume: 0.5,
            pause: PAUSE,
        },
    ];
    for it in internal {
        ensure!(proxy.internal(it.clone()).await? == it, "{it:?}");
        let inner = made::External::Inner(it);
        ensure!(proxy.external(inner.clone()).await? == inner, "{inner:?}");
    }
    for it in [
        made::Closed::Unit,
        made::Closed::Fields {
            volume: 0.5,
            label: None,
        },
        made::Closed::Point(point()),
    ] {
        ensure!(proxy.closed(it.clone()).await? == it, "{it:?}");
    }
    for it in [
        made::External::Unit,
        made::External::Documented,
        made::External::Newtype(point()),
        made::External::Tuple(1, PAUSE),
        made::External::List(adjacent.to_vec()),
        made::External::Fields { a: None, b: PAUSE },
    ] {
        ensure!(proxy.external(it.clone()).await? == it, "{it:?}");
    }
    Ok(())
}

async fn others(proxy: &made::VariantsProxy) -> Result<()> {
    for it in [
        made::ClosedExternal::Unit,
        made::ClosedExternal::Fields { a: 1 },
    ] {
        ensure!(proxy.closed_external(it.clone()).await? == it, "{it:?}");
    }
    for it in [
        made::Untagged::Integer(1),
        made::Untagged::Text("a".into()),
        made::Untagged::Point(point()),
        made::Untagged::Tuple(1, 2),
        made::Untagged::Variant5 {
            left: 1,
            right: PAUSE,
        },
    ] {
        ensure!(proxy.untagged(it.clone()).await? == it, "{it:?}");
    }
    let single = (
        made::OneExternal::Only(1, PAUSE),
        made::OneInternal::Only { a: 1, b: 2 },
        made::OneAdjacent::Only(1, PAUSE),
        made::OneUnit::Only,
    );
    let (external, internal, adjacent, unit) = single.clone();
    let found = proxy.single(external, internal, adjacent, unit).await?;
    ensure!(found == single, "{found:?}");
    let defaults: String = Proxy::service(proxy).call("defaults", args!()).await?;
    ensure!(
        defaults
            == "Timed(1, 1.5s) Unit Fields { first: 2s, second: None } TwoFields { a: 1, b: 2 } \
            Only(1, 3s)",
        "{defaults}"
    );
    let points = made::Page {
        items: vec![point()],
        next: None,
        by_name: BTreeMap::new(),
    };
    let measured = made::Page2 {
        items: vec![made::Measured {
            value: Some(made::Internal::Unit),
            unit: "mm".into(),
        }],
        next: None,
        by_name: BTreeMap::new(),
    };
    let pairs = made::Measured2 {
        value: (1, PAUSE),
        unit: made::Measured3 { value: 2, unit: 3 },
    };
    let pages = proxy.pages(points, measured, pairs).await?;
    let unit = &pages.by_name["page"].items[0].unit;
    ensure!(
        unit.contains("value: (1, 1.5s), unit: Measured { value: 2, unit: 3 }"),
        "{unit}"
    );
    let table = made::Table {
        unit: "mm".into(),
        others: BTreeMap::from([(7, 0.5)]),
    };
    ensure!(proxy.table(table.clone()).await? == table);
    Ok(())
}

/// Sends variants whose fields are not all sent. Compares the values with those of the original.
async fn skipped(proxy: &made::VariantsProxy) -> Result<()> {
    use made::{SkippedAdjacent, SkippedExternal, SkippedInternal};

    fn same(ours: impl Serialize, theirs: impl Serialize) -> Result<()> {
        let (ours, theirs) = (Value::encode_from(&ours)?, Value::encode_from(&theirs)?);
        ensure!(ours == theirs, "{ours} {theirs}");
        Ok(())
    }
    let hidden = || Some("secret".to_owned());
    for (it, original) in [
        (SkippedExternal::Unit, self::SkippedExternal::Unit),
        (SkippedExternal::File, self::SkippedExternal::File(hidden())),
        (
            SkippedExternal::Point,
            self::SkippedExternal::Point(Some(1)),
        ),
        (
            SkippedExternal::Part((7,)),
            self::SkippedExternal::Part(7, hidden()),
        ),
        (
            SkippedExternal::Fields { a: 8 },
            self::SkippedExternal::Fields {
                a: 8,
                hidden: hidden(),
            },
        ),
    ] {
        let found = proxy.skipped_external(it.clone()).await?;
        ensure!(found == it, "{found:?}");
        same(it, original)?;
    }
    for (it, original) in [
        (SkippedAdjacent::Unit, self::SkippedAdjacent::Unit),
        (SkippedAdjacent::File, self::SkippedAdjacent::File(hidden())),
        (
            SkippedAdjacent::Part((7,)),
            self::SkippedAdjacent::Part(7, hidden()),
        ),
        (
            SkippedAdjacent::Fields { a: 8 },
            self::SkippedAdjacent::Fields {
                a: 8,
                hidden: hidden(),
            },
        ),
    ] {
        let found = proxy.skipped_adjacent(it.clone()).await?;
        ensure!(found == it, "{found:?}");
        same(it, original)?;
    }
    for (it, original) in [
        (SkippedInternal::Unit, self::SkippedInternal::Unit),
        (SkippedInternal::File, self::SkippedInternal::File(hidden())),
        (
            SkippedInternal::Point,
            self::SkippedInternal::Point(Some(1)),
        ),
        (
            SkippedInternal::Fields { a: 8, b: 9 },
            self::SkippedInternal::Fields {
                a: 8,
                b: 9,
                hidden: hidden(),
            },
        ),
    ] {
        let found = proxy.skipped_internal(it.clone()).await?;
        ensure!(found == it, "{found:?}");
        same(it, original)?;
    }
    for original in [
        SkippedUntagged::File(hidden()),
        SkippedUntagged::Part(7, hidden()),
    ] {
        // The generated type reads and writes the values of the original.
        let it: made::SkippedUntagged = Value::encode_from(&original)?.decode_as()?;
        same(it, original)?;
    }
    let part = made::SkippedUntagged::Tuple((7,));
    let (found, text) = proxy.skipped_untagged(part.clone()).await?;
    ensure!(found == part && text == "Part(7, None)", "{found:?} {text}");
    Ok(())
}

async fn failures(proxy: &made::VariantsProxy) -> Result<()> {
    for way in 0..4 {
        let found = match proxy.fail(way).await {
            Err(Error::Service(found)) => found,
            other => anyhow::bail!("{way}: {other:?}"),
        };
        ensure!(
            match &found {
                made::Failure::Step { step } => way == 0 && *step == 3,
                made::Failure::File => way == 1,
                made::Failure::Part((part,)) => way == 2 && *part == 4,
                made::Failure::Connection(Error::Remote(error)) => {
                    way == 3 && error.message.contains("no network")
                }
                made::Failure::Connection(_) => false,
            },
            "{way}: {found:?}"
        );
        ensure!(
            way != 3 || found.to_string().contains("no network"),
            "{found}"
        );
    }
    Ok(())
}

#[test]
fn every_variant_arrives_through_a_generated_contract() {
    run(Kind::Ours, &[], every_variant_arrives);
}

#[test]
fn compilers_accept_declarations_of_variants() {
    let languages = [Language::Python, Language::JavaScript];
    run(Kind::Ours, &languages, async |_: &Server| {
        check(
            &Description::of(VariantsService::new(Desk)),
            "variants",
            &[],
        )
    });
}
