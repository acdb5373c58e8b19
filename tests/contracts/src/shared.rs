//! Defines a contract in the form of a trait. Other crates implement and call the contract.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use hypha_rpc::Object;
use hypha_rpc::prelude::*;

use crate::types::{Content, Id, LabError, Material, Order, Outcome, Plate, Size, Tree};

/// A counter object.
#[hypha_service]
pub trait Counter {
    /// Add to the counter and return its value.
    async fn add(&self, by: i64) -> i64;
}

/// A laboratory that uses every feature.
///
/// Only the first paragraph is published.
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
    /// Return borrowed strings and bytes after an await.
    async fn borrowed(&self, text: &str, data: &[u8]) -> Binary;

    /// Return owned bytes.
    async fn owned_bytes(&self, data: Binary) -> Binary;

    /// Scale an array.
    async fn image(&self, image: NdArray, #[hypha(default = 1.0)] scale: f32) -> NdArray;

    /// Return optional arguments.
    async fn optional(
        &self,
        /// Optional number.
        first: Option<u32>,
        #[hypha(default = Some(7))] second: Option<u32>,
        #[hypha(default = "none", name = "lastWord")] third: &str,
    ) -> (Option<u32>, Option<u32>, String);

    /// Return a struct that uses every attribute of serde.
    async fn plate(&self, plate: Plate) -> Outcome<Plate>;

    /// Return enums of every serde representation.
    async fn enums(
        &self,
        content: Content,
        material: Material,
        orders: Vec<Order>,
        size: Size,
    ) -> (Content, Material, Vec<Order>, Size);

    /// Return nested maps, tuples and lists.
    async fn nested(
        &self,
        groups: BTreeMap<String, Vec<(Id, Option<Size>)>>,
        pair: (u8, String),
        fixed: [f64; 3],
    ) -> HashMap<String, usize>;

    /// Return a recursive type.
    async fn tree(&self, tree: Tree) -> Tree;

    /// Return any value.
    async fn anything(&self, value: Value) -> Value;

    /// Return the caller, with a borrowed context.
    async fn caller(&self, ctx: &Context) -> String;

    /// Return the caller's workspace, with an owned context as last argument.
    async fn calling_workspace(&self, word: &str, who: Context) -> String;

    /// Fail with a typed error.
    async fn typed_error(&self, amount: f64) -> Result<f64, LabError>;

    /// Fail with an untyped error.
    async fn untyped_error(&self, fail: bool) -> anyhow::Result<u32>;

    /// Return nothing.
    async fn nothing(&self);

    /// Stream numbers.
    async fn count(&self, to: u32) -> impl Stream<Item = u32>;

    /// Stream words borrowed from an argument.
    async fn words(
        &self,
        text: &str,
    ) -> Outcome<impl Stream<Item = Result<String, LabError>> + Send>;

    /// Add up a stream.
    async fn sum(&self, numbers: RemoteStream<f64>) -> Result<f64, Error>;

    /// Call back for every epoch.
    async fn train(&self, epochs: u32, on_loss: Callback<(u32, f64), bool>) -> Result<u32, Error>;

    /// Return a counter object.
    async fn counter(&self, from: i64) -> Object<CounterProxy>;

    /// Call a counter object of the caller.
    async fn count_with(&self, counter: Object<CounterProxy>) -> Result<i64, Error>;

    /// Block a thread.
    #[hypha(blocking)]
    fn block(
        &self,
        ctx: &Context,
        text: &str,
        #[hypha(default = 2)] times: usize,
    ) -> Outcome<String>;

    /// A method with a nested name.
    #[hypha(name = "stage.moveTo")]
    async fn move_stage(&self, x: f64, y: f64) -> (f64, f64);

    /// A method whose name is a keyword.
    async fn r#match(&self, r#type: &str) -> String;

    /// Return a string borrowed from the service.
    async fn title(&self) -> Cow<'_, str>;

    /// A deprecated method.
    #[deprecated = "use `nothing`"]
    async fn former(&self) -> bool;

    /// A method that is not compiled.
    #[cfg(any())]
    async fn gone(&self, missing: Missing) -> Missing;

    /// A method with a body.
    async fn body(&self, number: u32) -> Result<u32, String> {
        number
            .checked_mul(2)
            .ok_or_else(|| format!("{number} is too large"))
    }
}
