//! Defines the contract of [`shared`](crate::shared) in the form of an `impl` block.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::{StreamExt, stream};
use hypha_rpc::Object;
use hypha_rpc::prelude::*;

use crate::shared::{Counter, CounterProxy, CounterService};
use crate::types::{Content, Id, LabError, Material, Order, Outcome, Plate, Size, Tree};

/// A laboratory, whose contract is its `impl` block.
#[derive(Debug)]
pub struct Alone {
    /// Title of the laboratory.
    title: String,
}

impl Alone {
    /// Creates a laboratory with this title.
    #[must_use]
    pub const fn new(title: String) -> Self {
        Self { title }
    }
}

/// Counter object.
#[derive(Debug)]
struct Count(AtomicI64);

impl Counter for Count {
    async fn add(&self, by: i64) -> i64 {
        self.0.fetch_add(by, Ordering::Relaxed) + by
    }
}

/// Yields once, so that the arguments are held across an `await`.
async fn pause() {
    let mut steps = pin!(stream::iter(0..2));
    while steps.next().await.is_some() {}
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
impl Alone {
    /// Return borrowed strings and bytes after an await.
    pub async fn borrowed(&self, text: &str, data: &[u8]) -> Binary {
        pause().await;
        [text.as_bytes(), data].concat().into()
    }

    /// Return owned bytes.
    pub async fn owned_bytes(&self, data: Binary) -> Binary {
        data
    }

    /// Scale an array.
    pub async fn image(&self, image: NdArray, #[hypha(default = 1.0)] scale: f32) -> NdArray {
        if scale > 0.0 {
            image
        } else {
            NdArray::from(vec![scale])
        }
    }

    /// Return optional arguments.
    pub async fn optional(
        &self,
        /// Optional number.
        first: Option<u32>,
        #[hypha(default = Some(7))] second: Option<u32>,
        #[hypha(default = "none", name = "lastWord")] third: &str,
    ) -> (Option<u32>, Option<u32>, String) {
        (first, second, third.to_owned())
    }

    /// Return a struct that uses every attribute of serde.
    pub async fn plate(&self, plate: Plate) -> Outcome<Plate> {
        if plate.uses > 9 {
            return Err(LabError::TooMuch {
                amount: plate.uses.into(),
                limit: 9.0,
            });
        }
        Ok(plate)
    }

    /// Return enums of every serde representation.
    pub async fn enums(
        &self,
        content: Content,
        material: Material,
        orders: Vec<Order>,
        size: Size,
    ) -> (Content, Material, Vec<Order>, Size) {
        (content, material, orders, size)
    }

    /// Return nested maps, tuples and lists.
    pub async fn nested(
        &self,
        groups: BTreeMap<String, Vec<(Id, Option<Size>)>>,
        pair: (u8, String),
        fixed: [f64; 3],
    ) -> HashMap<String, usize> {
        let more = [
            (pair.1, usize::from(pair.0)),
            ("fixed".to_owned(), fixed.len()),
        ];
        let lengths = groups.into_iter().map(|(name, group)| (name, group.len()));
        lengths.chain(more).collect()
    }

    /// Return a recursive type.
    pub async fn tree(&self, tree: Tree) -> Tree {
        tree
    }

    /// Return any value.
    pub async fn anything(&self, value: Value) -> Value {
        value
    }

    /// Return the caller, with a borrowed context.
    pub async fn caller(&self, ctx: &Context) -> String {
        pause().await;
        ctx.from().to_owned()
    }

    /// Return the caller's workspace, with an owned context as last argument.
    pub async fn calling_workspace(&self, word: &str, who: Context) -> String {
        format!("{word} {}", who.workspace())
    }

    /// Fail with a typed error.
    pub async fn typed_error(&self, amount: f64) -> Result<f64, LabError> {
        if amount > 100.0 {
            return Err(LabError::TooMuch {
                amount,
                limit: 100.0,
            });
        }
        Ok(amount)
    }

    /// Fail with an untyped error.
    pub async fn untyped_error(&self, fail: bool) -> anyhow::Result<u32> {
        anyhow::ensure!(!fail, "asked to");
        Ok(1)
    }

    /// Return nothing.
    pub async fn nothing(&self) {}

    /// Stream numbers.
    pub async fn count(&self, to: u32) -> impl Stream<Item = u32> {
        stream::iter(0..to)
    }

    /// Stream words borrowed from an argument.
    pub async fn words(
        &self,
        text: &str,
    ) -> Outcome<impl Stream<Item = Result<String, LabError>> + Send> {
        if text.is_empty() {
            return Err(LabError::Busy);
        }
        Ok(stream::iter(text.split(' ').map(|word| match word {
            "busy" => Err(LabError::Busy),
            other => Ok(other.to_owned()),
        })))
    }

    /// Add up a stream.
    pub async fn sum(&self, mut numbers: RemoteStream<f64>) -> Result<f64, Error> {
        let mut sum = 0.0;
        while let Some(number) = numbers.try_next().await? {
            sum += number;
        }
        Ok(sum)
    }

    /// Call back for every epoch.
    pub async fn train(
        &self,
        epochs: u32,
        on_loss: Callback<(u32, f64), bool>,
    ) -> Result<u32, Error> {
        for epoch in 0..epochs {
            if !on_loss.call((epoch, 1.0 / f64::from(epoch + 1))).await? {
                return Ok(epoch);
            }
        }
        Ok(epochs)
    }

    /// Return a counter object.
    pub async fn counter(&self, from: i64) -> Object<CounterProxy> {
        Object::new(CounterService::new(Count(AtomicI64::new(from))))
    }

    /// Call a counter object of the caller.
    pub async fn count_with(&self, counter: Object<CounterProxy>) -> Result<i64, Error> {
        counter.proxy().add(2).await.map_err(Error::untyped)
    }

    /// Block a thread.
    #[hypha(blocking)]
    pub fn block(
        &self,
        ctx: &Context,
        text: &str,
        #[hypha(default = 2)] times: usize,
    ) -> Outcome<String> {
        if text.is_empty() {
            return Err(LabError::Busy);
        }
        Ok(format!("{} {}", ctx.from(), text.repeat(times)))
    }

    /// A method with a nested name.
    #[hypha(name = "stage.moveTo")]
    pub async fn move_stage(&self, x: f64, y: f64) -> (f64, f64) {
        (x, y)
    }

    /// A method whose name is a keyword.
    pub async fn r#match(&self, r#type: &str) -> String {
        r#type.to_owned()
    }

    /// Return a string borrowed from the service.
    pub async fn title(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.title)
    }

    /// A deprecated method.
    #[deprecated = "use `nothing`"]
    pub async fn former(&self) -> bool {
        true
    }

    /// A method that is not compiled.
    #[cfg(any())]
    pub async fn gone(&self, missing: Missing) -> Missing {
        missing
    }

    /// A method with a body.
    pub async fn body(&self, number: u32) -> Result<u32, String> {
        number
            .checked_mul(2)
            .ok_or_else(|| format!("{number} is too large"))
    }
}
