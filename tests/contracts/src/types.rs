//! Types of arguments and results: every serde representation of enums, and serde attributes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A plate with everything in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plate {
    /// The name.
    pub plate_name: String,
    /// The wells by name.
    pub wells: BTreeMap<String, Well>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// The material.
    #[serde(rename = "madeOf")]
    pub material: Material,
    /// Corners, as two points.
    pub corners: [(f64, f64); 2],
    /// Further properties.
    #[serde(default)]
    pub note: Option<String>,
    /// The number of uses.
    #[serde(default = "once")]
    #[schemars(range(min = 1))]
    pub uses: u8,
    /// Not sent.
    #[serde(skip)]
    pub hidden: u8,
}

/// The uses of a plate that does not say.
const fn once() -> u8 {
    1
}

/// A well.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Well {
    /// Microlitres.
    pub volume: f64,
    /// The content.
    pub content: Option<Content>,
}

/// Where something is; part of what holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// The room.
    pub room: String,
    /// The shelf.
    pub shelf: u16,
}

/// Written as its name, or as a map of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Content {
    /// Nothing.
    Empty,
    /// Water.
    Water,
    /// A share of salt.
    Salt(f64),
    /// Two at once.
    Mix {
        /// The first part.
        first: f64,
        /// The second part.
        second: f64,
    },
}

/// Written as a map with a key that says which.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Material {
    /// Glass.
    Glass {
        /// In millimetres.
        thickness: f64,
    },
    /// Plastic.
    Plastic,
}

/// Written as a map with two keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "order", content = "with")]
pub enum Order {
    /// Heat to a temperature.
    Heat(f64),
    /// Move to a place.
    Move(Place),
}

/// Written as what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Size {
    /// A number.
    Number(f64),
    /// Both sides.
    Sides {
        /// One.
        width: f64,
        /// The other.
        height: f64,
    },
}

/// A number of its own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Id(pub u32);

/// A recursive type: its schema cannot be inlined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tree {
    /// Here.
    pub id: Id,
    /// Below.
    pub children: Vec<Self>,
}

/// The errors.
#[derive(
    Clone, Copy, Debug, PartialEq, thiserror::Error, Serialize, Deserialize, hypha_rpc::RemoteError,
)]
pub enum LabError {
    /// Somebody else is at it.
    #[error("somebody else is at it")]
    Busy,
    /// More than there is room for.
    #[error("{amount} is more than {limit}")]
    TooMuch {
        /// The requested amount.
        amount: f64,
        /// The available amount.
        limit: f64,
    },
}

/// The result of most methods.
pub type Outcome<T> = Result<T, LabError>;
