// Generated; see `generated.rs`.

use hypha_rpc::prelude::*;

/// Echoes variants.
#[hypha_service(id = "variants")]
#[allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
pub trait Variants {
    async fn adjacent(
        &self,
        it: Adjacent,
    ) -> Adjacent;

    async fn strict(
        &self,
        it: Strict,
    ) -> Strict;

    async fn internal(
        &self,
        it: Internal,
    ) -> Internal;

    async fn closed(
        &self,
        it: Closed,
    ) -> Closed;

    async fn external(
        &self,
        it: External,
    ) -> External;

    async fn closed_external(
        &self,
        it: ClosedExternal,
    ) -> ClosedExternal;

    async fn untagged(
        &self,
        it: Untagged,
    ) -> Untagged;

    async fn skipped_external(
        &self,
        it: SkippedExternal,
    ) -> SkippedExternal;

    async fn skipped_adjacent(
        &self,
        it: SkippedAdjacent,
    ) -> SkippedAdjacent;

    async fn skipped_internal(
        &self,
        it: SkippedInternal,
    ) -> SkippedInternal;

    async fn skipped_untagged(
        &self,
        it: SkippedUntagged,
    ) -> (SkippedUntagged, String);

    async fn single(
        &self,
        external: OneExternal,
        internal: OneInternal,
        adjacent: OneAdjacent,
        unit: OneUnit,
    ) -> (OneExternal, OneInternal, OneAdjacent, OneUnit);

    async fn defaults(
        &self,
        #[hypha(default = Adjacent::Timed(1, std::time::Duration::from_secs_f64(1.5)))]
        tuple: Adjacent,
        #[hypha(default = Adjacent::Unit)]
        unit: Adjacent,
        #[hypha(default = Adjacent::Fields { first: std::time::Duration::from_secs_f64(2.0), second: None })]
        fields: Adjacent,
        #[hypha(default = Strict::TwoFields { a: 1, b: 2 })]
        strict: Strict,
        #[hypha(default = OneExternal::Only(1, std::time::Duration::from_secs_f64(3.0)))]
        one: OneExternal,
    ) -> String;

    async fn pages(
        &self,
        points: Page,
        measured: Page2,
        pairs: Measured2,
    ) -> Page3;

    async fn table(
        &self,
        table: Table,
    ) -> Table;

    async fn fail(
        &self,
        way: u8,
    ) -> Result<u8, Failure>;
}

/// Adjacent tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "value")]
pub enum Adjacent {
    /// Nothing.
    Unit,
    Newtype(Point),
    Timed(u8, std::time::Duration),
    Maybe(Option<u8>),
    /// Fields.
    Fields {
        /// First.
        first: std::time::Duration,
        second: Option<String>,
    },
}

/// Adjacent tags with one form of content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "t", content = "c", deny_unknown_fields)]
pub enum Strict {
    #[serde(rename = "only-unit")]
    OnlyUnit,
    #[serde(rename = "two-fields")]
    TwoFields {
        a: u8,
        b: u8,
    },
}

/// Internal tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
pub enum Internal {
    #[serde(rename = "unit")]
    Unit,
    #[serde(rename = "struct")]
    Struct(Point),
    #[serde(rename = "fields")]
    Fields {
        volume: f64,
        pause: std::time::Duration,
    },
}

/// Internal tags without other members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", deny_unknown_fields)]
pub enum Closed {
    Unit,
    Fields {
        volume: f64,
        label: Option<String>,
    },
    Point(Point),
}

/// External tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum External {
    Unit,
    /// With a text.
    Documented,
    Newtype(Point),
    Inner(Internal),
    Tuple(u8, std::time::Duration),
    List(Vec<Adjacent>),
    Fields {
        a: Option<u8>,
        b: std::time::Duration,
    },
}

/// External tags without other members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum ClosedExternal {
    Unit,
    Fields {
        a: u8,
    },
}

/// No tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Untagged {
    Integer(i64),
    Text(String),
    Tuple(u8, u8),
    Point(Point),
    Variant5 {
        left: u8,
        right: std::time::Duration,
    },
}

/// External tags, and fields that are not sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum SkippedExternal {
    Unit,
    File,
    /// With a text.
    Point,
    Part((u8,)),
    Fields {
        a: u8,
    },
}

/// Adjacent tags, and fields that are not sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "t", content = "c")]
pub enum SkippedAdjacent {
    Unit,
    File,
    Part((u8,)),
    Fields {
        a: u8,
    },
}

/// Internal tags, and fields that are not sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
pub enum SkippedInternal {
    Unit,
    File,
    Point,
    Fields {
        a: u8,
        b: u8,
    },
}

/// No tags, and fields that are not sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SkippedUntagged {
    Tuple((u8,)),
    A {
        a: u8,
    },
    Nothing,
}

/// One variant with an external tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum OneExternal {
    /// The only variant.
    Only(u8, std::time::Duration),
}

/// One variant with an internal tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
pub enum OneInternal {
    Only {
        a: u8,
        b: u8,
    },
}

/// One variant with an adjacent tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "t", content = "c")]
pub enum OneAdjacent {
    Only(u8, std::time::Duration),
}

/// One variant without content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum OneUnit {
    /// The only variant.
    Only,
}

/// A page of items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page3 {
    pub items: Vec<Page22>,
    pub next: Option<Box<Page3>>,
    pub by_name: std::collections::BTreeMap<String, Page22>,
}

/// A page of items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page {
    pub items: Vec<Point>,
    pub next: Option<Box<Page>>,
    pub by_name: std::collections::BTreeMap<String, Point>,
}

/// A page of items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page2 {
    pub items: Vec<Measured>,
    pub next: Option<Box<Page2>>,
    pub by_name: std::collections::BTreeMap<String, Measured>,
}

/// A value with its unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured2 {
    pub value: (u8, std::time::Duration),
    pub unit: Measured3,
}

/// A number of its rows, and the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Table {
    pub unit: String,
    /// Everything else.
    #[serde(flatten)]
    pub others: std::collections::BTreeMap<u64, f64>,
}

/// Failures whose fields are not all sent.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[derive(thiserror::Error, RemoteError)]
pub enum Failure {
    #[error("at step {step}")]
    Step {
        step: u8,
    },
    #[error("no file")]
    File,
    #[error("a part")]
    Part((u8,)),
    #[error(transparent)]
    Connection(#[from] hypha_rpc::Error),
}

/// A position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    pub x: f64,
    pub label: Option<String>,
}

/// A page of items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page22 {
    pub items: Vec<Measured4>,
    pub next: Option<Box<Page22>>,
    pub by_name: std::collections::BTreeMap<String, Measured4>,
}

/// A value with its unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    pub value: Option<Internal>,
    pub unit: String,
}

/// A value with its unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured3 {
    pub value: u8,
    pub unit: u8,
}

/// A value with its unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured4 {
    pub value: u8,
    pub unit: String,
}
