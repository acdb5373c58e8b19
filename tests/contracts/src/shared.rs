//! A contract that other crates implement and call.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use hypha_rpc::Object;
use hypha_rpc::prelude::*;

use crate::types::{Content, Id, LabError, Material, Order, Outcome, Plate, Size, Tree};

/// Counts; handed over as a value.
#[hypha_service]
pub trait Counter {
    /// Add to the count, and say what it is.
    async fn add(&self, by: i64) -> i64;
}

/// A laboratory with everything in it.
///
/// This is for readers of the code.
#[hypha_service(
    id = "everything",
    name = "Everything",
    service_type = "lab",
    visibility = "protected",
    authorized_workspaces = ["ws-other"],
    flags = ["fast"],
    docs = "https://example.org/lab",
    singleton,
    rename_all = "camelCase"
)]
pub trait Everything {
    /// Borrowed texts and bytes, across a pause.
    async fn borrowed(&self, text: &str, data: &[u8]) -> Binary;

    /// Binary.
    async fn owned_bytes(&self, data: Binary) -> Binary;

    /// An array.
    async fn image(&self, image: NdArray, #[hypha(default = 1.0)] scale: f32) -> NdArray;

    /// Arguments that may be left out.
    async fn optional(
        &self,
        /// May be left out.
        first: Option<u32>,
        #[hypha(default = Some(7))] second: Option<u32>,
        #[hypha(default = "none", name = "lastWord")] third: &str,
    ) -> (Option<u32>, Option<u32>, String);

    /// Everything that serde does.
    async fn plate(&self, plate: Plate) -> Outcome<Plate>;

    /// Enums of every representation.
    async fn enums(
        &self,
        content: Content,
        material: Material,
        orders: Vec<Order>,
        size: Size,
    ) -> (Content, Material, Vec<Order>, Size);

    /// Maps, tuples and lists of each other.
    async fn nested(
        &self,
        groups: BTreeMap<String, Vec<(Id, Option<Size>)>>,
        pair: (u8, String),
        fixed: [f64; 3],
    ) -> HashMap<String, usize>;

    /// A type that holds itself.
    async fn tree(&self, tree: Tree) -> Tree;

    /// Anything.
    async fn anything(&self, value: Value) -> Value;

    /// The caller, by reference.
    async fn caller(&self, ctx: &Context) -> String;

    /// The caller, owned and last.
    async fn calling_workspace(&self, word: &str, who: Context) -> String;

    /// An error with a type.
    async fn typed_error(&self, amount: f64) -> Result<f64, LabError>;

    /// An error without a type.
    async fn untyped_error(&self, fail: bool) -> anyhow::Result<u32>;

    /// Nothing.
    async fn nothing(&self);

    /// Numbers.
    async fn count(&self, to: u32) -> impl Stream<Item = u32>;

    /// Words of a text that belongs to the call.
    async fn words(
        &self,
        text: &str,
    ) -> Outcome<impl Stream<Item = Result<String, LabError>> + Send>;

    /// Add up what comes.
    async fn sum(&self, numbers: RemoteStream<f64>) -> Result<f64, Error>;

    /// Call back for every epoch.
    async fn train(&self, epochs: u32, on_loss: Callback<(u32, f64), bool>) -> Result<u32, Error>;

    /// Make something that can be called.
    async fn counter(&self, from: i64) -> Object<CounterProxy>;

    /// Call something that was passed.
    async fn count_with(&self, counter: Object<CounterProxy>) -> Result<i64, Error>;

    /// Block a thread.
    #[hypha(blocking)]
    fn block(
        &self,
        ctx: &Context,
        text: &str,
        #[hypha(default = 2)] times: usize,
    ) -> Outcome<String>;

    /// A name within a name.
    #[hypha(name = "stage.moveTo")]
    async fn move_stage(&self, x: f64, y: f64) -> (f64, f64);

    /// A word of the language.
    async fn r#match(&self, r#type: &str) -> String;

    /// A name of the service.
    async fn title(&self) -> Cow<'_, str>;

    /// Of former times.
    #[deprecated = "use `nothing`"]
    async fn former(&self) -> bool;

    /// Not here.
    #[cfg(any())]
    async fn gone(&self, missing: Missing) -> Missing;

    /// With a body.
    async fn body(&self, number: u32) -> Result<u32, String> {
        number
            .checked_mul(2)
            .ok_or_else(|| format!("{number} is too large"))
    }
}
