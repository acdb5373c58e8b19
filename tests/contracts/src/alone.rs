//! The methods of `shared` as an `impl` block: a service without a trait.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::{StreamExt, stream};
use hypha_rpc::Object;
use hypha_rpc::prelude::*;

use crate::shared::{Counter, CounterProxy, CounterService};
use crate::types::{Content, Id, LabError, Material, Order, Outcome, Plate, Size, Tree};

/// The laboratory itself.
#[derive(Debug)]
pub struct Alone {
    /// Its own description.
    title: String,
}

impl Alone {
    /// A laboratory of this title.
    #[must_use]
    pub const fn new(title: String) -> Self {
        Self { title }
    }
}

/// A number that counts.
#[derive(Debug)]
struct Count(AtomicI64);

impl Counter for Count {
    async fn add(&self, by: i64) -> i64 {
        self.0.fetch_add(by, Ordering::Relaxed) + by
    }
}

/// Something to wait for.
async fn pause() {
    let mut steps = pin!(stream::iter(0..2));
    while steps.next().await.is_some() {}
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
impl Alone {
    /// Borrowed texts and bytes, across a pause.
    pub async fn borrowed(&self, text: &str, data: &[u8]) -> Binary {
        pause().await;
        [text.as_bytes(), data].concat().into()
    }

    /// Binary.
    pub async fn owned_bytes(&self, data: Binary) -> Binary {
        data
    }

    /// An array.
    pub async fn image(&self, image: NdArray, #[hypha(default = 1.0)] scale: f32) -> NdArray {
        if scale > 0.0 {
            image
        } else {
            NdArray::from(vec![scale])
        }
    }

    /// Arguments that may be left out.
    pub async fn optional(
        &self,
        /// May be left out.
        first: Option<u32>,
        #[hypha(default = Some(7))] second: Option<u32>,
        #[hypha(default = "none", name = "lastWord")] third: &str,
    ) -> (Option<u32>, Option<u32>, String) {
        (first, second, third.to_owned())
    }

    /// Everything that serde does.
    pub async fn plate(&self, plate: Plate) -> Outcome<Plate> {
        if plate.uses > 9 {
            return Err(LabError::TooMuch {
                amount: plate.uses.into(),
                limit: 9.0,
            });
        }
        Ok(plate)
    }

    /// Enums of every representation.
    pub async fn enums(
        &self,
        content: Content,
        material: Material,
        orders: Vec<Order>,
        size: Size,
    ) -> (Content, Material, Vec<Order>, Size) {
        (content, material, orders, size)
    }

    /// Maps, tuples and lists of each other.
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

    /// A type that holds itself.
    pub async fn tree(&self, tree: Tree) -> Tree {
        tree
    }

    /// Anything.
    pub async fn anything(&self, value: Value) -> Value {
        value
    }

    /// The caller, by reference.
    pub async fn caller(&self, ctx: &Context) -> String {
        pause().await;
        ctx.from().to_owned()
    }

    /// The caller, owned and last.
    pub async fn calling_workspace(&self, word: &str, who: Context) -> String {
        format!("{word} {}", who.workspace())
    }

    /// An error with a type.
    pub async fn typed_error(&self, amount: f64) -> Result<f64, LabError> {
        if amount > 100.0 {
            return Err(LabError::TooMuch {
                amount,
                limit: 100.0,
            });
        }
        Ok(amount)
    }

    /// An error without a type.
    pub async fn untyped_error(&self, fail: bool) -> anyhow::Result<u32> {
        anyhow::ensure!(!fail, "asked to");
        Ok(1)
    }

    /// Nothing.
    pub async fn nothing(&self) {}

    /// Numbers.
    pub async fn count(&self, to: u32) -> impl Stream<Item = u32> {
        stream::iter(0..to)
    }

    /// Words of a text that belongs to the call.
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

    /// Add up what comes.
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

    /// Make something that can be called.
    pub async fn counter(&self, from: i64) -> Object<CounterProxy> {
        Object::new(CounterService::new(Count(AtomicI64::new(from))))
    }

    /// Call something that was passed.
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

    /// A name within a name.
    #[hypha(name = "stage.moveTo")]
    pub async fn move_stage(&self, x: f64, y: f64) -> (f64, f64) {
        (x, y)
    }

    /// A word of the language.
    pub async fn r#match(&self, r#type: &str) -> String {
        r#type.to_owned()
    }

    /// A name of the service.
    pub async fn title(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.title)
    }

    /// Of former times.
    #[deprecated = "use `nothing`"]
    pub async fn former(&self) -> bool {
        true
    }

    /// Not here.
    #[cfg(any())]
    pub async fn gone(&self, missing: Missing) -> Missing {
        missing
    }

    /// With a body.
    pub async fn body(&self, number: u32) -> Result<u32, String> {
        number
            .checked_mul(2)
            .ok_or_else(|| format!("{number} is too large"))
    }
}
