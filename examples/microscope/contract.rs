//! The contract of the microscope, which its service and its caller share.

use hypha_rpc::Array;
use hypha_rpc::prelude::*;

/// Size of the sensor in each direction, in pixels.
pub const SENSOR: u16 = 2048;

/// Part of the sensor, in pixels.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Region {
    /// Columns.
    #[schemars(range(min = 1, max = SENSOR))]
    pub width: u16,
    /// Rows.
    #[schemars(range(min = 1, max = SENSOR))]
    pub height: u16,
}

/// Place on the stage, in millimetres.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// From the left end, 0 to 100.
    pub x: f64,
    /// From the front end, 0 to 100.
    pub y: f64,
}

/// Progress of an acquisition.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// Images taken.
    pub done: u32,
    /// Images to take.
    pub total: u32,
}

/// Error of the microscope. Python and JavaScript callers see the class, the text and the fields.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize, RemoteError)]
pub enum ScopeError {
    /// An argument that the hardware does not allow.
    #[error("the {quantity} must be from {from} to {to}")]
    #[remote_error(class = "ValueError")]
    OutOfRange {
        /// Name of the argument.
        quantity: String,
        /// Least value.
        from: f64,
        /// Greatest value.
        to: f64,
    },
    /// Only the operator may move the stage.
    #[error("{user} may not move the stage")]
    #[remote_error(class = "PermissionError")]
    NotYours {
        /// Id of the caller.
        user: String,
    },
    /// Only one acquisition runs at a time. `snap` and `live` also work during an acquisition.
    #[error("another acquisition is running")]
    Busy,
    /// Somebody has cancelled the acquisition.
    #[error("the acquisition was cancelled after {images} images")]
    Cancelled {
        /// Images taken before the cancellation.
        images: u32,
    },
    /// Any other failure.
    #[error("{0}")]
    Failed(String),
}

/// A microscope with a camera and a motorized stage.
#[hypha_service(id = "microscope")]
pub trait Microscope {
    /// Take an image.
    async fn snap(
        &self,
        /// Exposure time, in seconds.
        #[hypha(default = 0.1)]
        exposure: f64,
        region: Option<Region>,
    ) -> Result<Array<u16, 2>, ScopeError>;

    /// Take images until the caller closes the stream, but at most this many.
    async fn live(
        &self,
        ctx: &Context,
        images: Option<u32>,
    ) -> impl Stream<Item = Array<u16, 2>> + Send;

    /// Take several images, and return them as a file of 16-bit pixels.
    async fn acquire(
        &self,
        ctx: &Context,
        images: u32,
        /// Called after each image.
        on_progress: Option<Callback<Progress>>,
    ) -> Result<RemoteFile, ScopeError>;

    /// Cancel the acquisition. Returns whether an acquisition was running.
    async fn cancel(&self) -> bool;

    /// Subtract this image, a file of 16-bit pixels, from all other images. Returns its size in
    /// bytes.
    async fn set_background(&self, image: RemoteFile) -> Result<u64, ScopeError>;

    /// Return the stage.
    async fn stage(&self) -> Object<StageProxy>;
}

/// The stage under the objective.
#[hypha_service]
pub trait Stage {
    /// Return the position.
    async fn position(&self) -> Position;

    /// Move to a position. Only the operator may do this.
    async fn move_to(&self, ctx: &Context, to: Position) -> Result<Position, ScopeError>;
}
