// Generated; see `generated.rs`.

use hypha_rpc::prelude::*;

/// Echoes values.
#[hypha_service(id = "shapes")]
#[allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
pub trait Shapes {
    async fn external_rest(
        &self,
        it: ExternalRest,
    ) -> ExternalRest;

    async fn adjacent_rest(
        &self,
        it: AdjacentRest,
    ) -> AdjacentRest;

    async fn both(
        &self,
        it: Both,
    ) -> Both;

    async fn maybe_mode(
        &self,
        it: MaybeMode,
    ) -> MaybeMode;

    async fn flat_untagged(
        &self,
        it: FlatUntagged,
    ) -> FlatUntagged;

    async fn tree(
        &self,
        it: Tree,
    ) -> Tree;

    async fn tagged(
        &self,
        it: Tagged,
    ) -> Tagged;

    async fn many_tagged(
        &self,
        it: std::collections::BTreeMap<String, Tagged>,
    ) -> std::collections::BTreeMap<String, Tagged>;

    async fn roi(
        &self,
        it: Roi,
    ) -> Roi;

    async fn rois(
        &self,
        it: Vec<Roi>,
    ) -> Vec<Roi>;

    async fn place(
        &self,
        it: Place,
    ) -> Place;

    async fn loose(
        &self,
        it: Loose,
    ) -> Loose;

    async fn loosely(
        &self,
        it: Vec<Option<Loose>>,
    ) -> Vec<Option<Loose>>;

    async fn strict(
        &self,
        it: Strict,
    ) -> Strict;

    async fn lists(
        &self,
        it: Lists,
    ) -> Lists;

    async fn fields(
        &self,
        it: Fields,
    ) -> Fields;

    /// The order of the two types differs from that in the arguments.
    async fn same(
        &self,
        first: Same,
        second: Same2,
    ) -> (Same2, Same);

    async fn defaults(
        &self,
        #[hypha(default = Tree { name: "a".to_owned(), variant: TreeVariant::Leaf })]
        tree: Tree,
        #[hypha(default = Tagged::Nested(Mode::Idle))]
        nested: Tagged,
        #[hypha(default = Roi::Variant1 { x: 1.0, y: 2.0 })]
        corner: Roi,
        #[hypha(default = Roi::List(vec![0.5]))]
        list: Roi,
        #[hypha(default = Lists::None([]))]
        lists: Lists,
        #[hypha(default = Err("no".to_owned()))]
        outcome: Result<u8, String>,
    ) -> String;
}

/// External tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExternalRest {
    #[serde(flatten)]
    pub variant: ExternalRestVariant,
    /// Everything else.
    #[serde(flatten)]
    pub others: std::collections::BTreeMap<String, Vec<u8>>,
}

/// Adjacent tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "t")]
pub enum AdjacentRest {
    Unit {
        n: u8,
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<String, Value>,
    },
    Maybe {
        n: u8,
        c: Option<u8>,
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<String, Value>,
    },
    Pair {
        n: u8,
        c: (u8, std::time::Duration),
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<String, Value>,
    },
    Fields {
        n: u8,
        c: AdjacentRestFieldsC,
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<String, Value>,
    },
}

/// Two flattened enums.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Both {
    pub n: u8,
    #[serde(flatten)]
    pub variant: BothVariant,
    #[serde(flatten)]
    pub variant2: BothVariant2,
}

/// An internal tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MaybeMode {
    pub n: u8,
    #[serde(flatten)]
    pub variant: Option<MaybeModeVariant>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlatUntagged {
    pub n: u8,
    #[serde(flatten)]
    pub variant: FlatUntaggedVariant,
}

/// A tree with a flattened enum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tree {
    pub name: String,
    #[serde(flatten)]
    pub variant: TreeVariant,
}

/// Everything that an internal tag permits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum Tagged {
    #[serde(rename = "unitOne")]
    UnitOne,
    #[serde(rename = "fields")]
    Fields {
        long_name: u8,
        /// Everything else.
        #[serde(flatten)]
        others: std::collections::BTreeMap<String, f64>,
    },
    #[serde(rename = "named")]
    Named(Point),
    #[serde(rename = "nested")]
    Nested(Mode),
    /// An internal tag.
    #[serde(rename = "mixed")]
    Mixed {
        n: u8,
        #[serde(flatten)]
        variant: TaggedMixedVariant,
    },
    #[serde(rename = "map")]
    Map(std::collections::BTreeMap<String, std::time::Duration>),
    #[serde(rename = "numbered")]
    Numbered(std::collections::BTreeMap<u64, u8>),
    #[serde(rename = "empty")]
    Empty,
}

/// A struct before a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Roi {
    Variant1 {
        x: f64,
        y: f64,
    },
    List(Vec<f64>),
    Tuple(String, u8),
}

/// A struct with a name before a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Place {
    Number(f64),
    List(Vec<f64>),
    Point(Point),
    Target(Target),
}

/// Null is one of several forms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Loose {
    Integer(i64),
    Text(String),
    A {
        a: Option<u8>,
    },
    Nothing,
}

/// Some variants without tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum Strict {
    A {
        a: u8,
    },
    Variant2 {
        a: u8,
        b: u8,
    },
    Variant3 {
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Lists {
    None([Value; 0]),
    One(u8),
    Many(Vec<Vec<u8>>),
    Unit(()),
}

fn default_fields_count() -> u8 {
    0
}

/// Fields of all kinds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fields {
    pub new_: u8,
    pub f64_: f64,
    pub _x: u8,
    pub r#type: u8,
    #[serde(rename = "self")]
    pub self2: u8,
    #[serde(rename = "kůň \"'\\{}")]
    pub k: u8,
    #[serde(rename = "fooBar")]
    pub foo_bar2: u8,
    pub foo_bar: u8,
    pub others: u8,
    pub variant: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    pub tags: Option<Vec<String>>,
    #[serde(default = "default_fields_count")]
    pub count: u8,
    pub unit: Unit,
    pub closed: Closed,
    pub lists: Vec<Lists>,
    pub outcome: Result<u8, String>,
    pub deep: Vec<Option<Result<Option<Point>, Vec<u8>>>>,
    pub first: Same,
    pub second: Same2,
    pub big: u64,
    pub small: i64,
    /// Null deletes, and a missing field changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schemars(extend("x-hypha-absent" = true))]
    pub change: Option<Option<u8>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Same2 {
    pub y: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Same {
    pub x: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum ExternalRestVariant {
    At(Point),
    Pair(u8, Option<String>),
    Area {
        width: u64,
        height: Option<u64>,
    },
    Nowhere,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AdjacentRestFieldsC {
    pub a: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode")]
pub enum BothVariant {
    Timed {
        wait: std::time::Duration,
    },
    Idle,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum BothVariant2 {
    At(Point),
    Pair(u8, Option<String>),
    Area {
        width: u64,
        height: Option<u64>,
    },
    Nowhere,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode")]
pub enum MaybeModeVariant {
    Timed {
        wait: std::time::Duration,
    },
    Idle,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum FlatUntaggedVariant {
    Left {
        left: std::time::Duration,
    },
    Right {
        right: std::collections::BTreeMap<String, u8>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
pub enum TreeVariant {
    #[serde(rename = "leaf")]
    Leaf,
    #[serde(rename = "chain")]
    Chain {
        next: Box<Tree>,
    },
    #[serde(rename = "fork")]
    Fork {
        children: Vec<Tree>,
    },
}

fn default_point_y() -> f64 {
    7.0
}

/// A position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    pub x: f64,
    #[serde(default = "default_point_y")]
    pub y: f64,
    pub label: Option<String>,
}

/// An internal tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode")]
pub enum Mode {
    Timed {
        wait: std::time::Duration,
    },
    Idle,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode")]
pub enum TaggedMixedVariant {
    Timed {
        wait: std::time::Duration,
    },
    Idle,
}

/// External tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Target {
    Nowhere,
    At(Point),
    Pair(u8, Option<String>),
    Area {
        width: u64,
        height: Option<u64>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Closed {
}

/// Reads a field in which null differs from a missing field.
fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}
