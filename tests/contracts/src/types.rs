//! Types of arguments and results: every serde representation of enums, and serde attributes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A plate, with fields of all kinds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plate {
    /// Name of the plate.
    pub plate_name: String,
    /// Wells, by name.
    pub wells: BTreeMap<String, Well>,
    /// Search terms.
    pub tags: Vec<String>,
    /// Location of the plate.
    #[serde(flatten)]
    pub place: Place,
    /// Material of the plate.
    #[serde(rename = "madeOf")]
    pub material: Material,
    /// Corners, as two points.
    pub corners: [(f64, f64); 2],
    /// Optional note.
    #[serde(default)]
    pub note: Option<String>,
    /// Number of uses.
    #[serde(default = "once")]
    #[schemars(range(min = 1))]
    pub uses: u8,
    /// Not sent.
    #[serde(skip)]
    pub hidden: u8,
}

/// Default of `uses`.
const fn once() -> u8 {
    1
}

/// A well.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Well {
    /// Volume in microlitres.
    pub volume: f64,
    /// Content of the well.
    pub content: Option<Content>,
}

/// A location, which is flattened into the struct that contains it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// Room.
    pub room: String,
    /// Shelf.
    pub shelf: u16,
}

/// Externally tagged: encoded as its name, or as a map with one entry.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Content {
    /// Empty.
    Empty,
    /// Water.
    Water,
    /// Salt water, with the share of salt.
    Salt(f64),
    /// Two contents.
    Mix {
        /// Share of the first.
        first: f64,
        /// Share of the second.
        second: f64,
    },
}

/// Internally tagged: encoded as a map with a key that names the variant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Material {
    /// Glass.
    Glass {
        /// Thickness in millimetres.
        thickness: f64,
    },
    /// Plastic.
    Plastic,
}

/// Adjacently tagged: encoded as a map with two keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "order", content = "with")]
pub enum Order {
    /// Heat to a temperature.
    Heat(f64),
    /// Move to a place.
    Move(Place),
}

/// Untagged: encoded as its content.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Size {
    /// A number.
    Number(f64),
    /// Width and height.
    Sides {
        /// Width.
        width: f64,
        /// Height.
        height: f64,
    },
}

/// A newtype of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Id(pub u32);

/// A recursive type: its schema cannot be inlined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tree {
    /// Id of this node.
    pub id: Id,
    /// Nodes below this node.
    pub children: Vec<Self>,
}

/// Errors of the laboratory.
#[derive(
    Clone, Copy, Debug, PartialEq, thiserror::Error, Serialize, Deserialize, hypha_rpc::RemoteError,
)]
pub enum LabError {
    /// Another caller is using the laboratory.
    #[error("somebody else is at it")]
    Busy,
    /// The requested amount is larger than the available amount.
    #[error("{amount} is more than {limit}")]
    TooMuch {
        /// Requested amount.
        amount: f64,
        /// Available amount.
        limit: f64,
    },
}

/// The result of most methods.
pub type Outcome<T> = Result<T, LabError>;
