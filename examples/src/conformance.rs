//! The contract of the conformance service: the methods that every Hypha client is checked with.

use std::collections::BTreeMap;

use hypha_rpc::prelude::*;

/// Somebody to be described.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// The name.
    pub name: String,
    /// In years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<i64>,
    /// The reason of their fame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
}

/// The caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Caller {
    /// The user the caller is connected as.
    pub user_id: String,
    /// The caller's workspace.
    pub workspace: String,
    /// The caller's address, `workspace/client`.
    pub from: String,
    /// Whether it came without a token.
    pub is_anonymous: bool,
}

/// Shape and type of an array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ArrayInfo {
    /// The name of the type of its elements, as numpy has it.
    pub dtype: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// All elements added up.
    pub sum: f64,
}

/// Why a number cannot be divided.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize, RemoteError)]
pub enum DivisionError {
    /// The number to divide by is zero.
    #[error("division by zero")]
    #[remote_error(class = "ZeroDivisionError")]
    DivisionByZero,
    /// The result is not a finite number.
    #[error("{0}")]
    #[remote_error(class = "OverflowError")]
    TooLarge(String),
}

/// The methods that every Hypha client is checked with.
#[hypha_service(id = "conformance", name = "Conformance")]
pub trait Conformance {
    /// Answer the value.
    async fn echo(
        &self,
        /// Anything.
        value: Value,
    ) -> Value;

    /// Add two numbers.
    async fn add(
        &self,
        /// The first number.
        a: f64,
        /// The second number.
        #[hypha(default = 1.0)]
        b: f64,
    ) -> f64;

    /// Divide one number by another.
    async fn divide(
        &self,
        /// The number to divide.
        a: f64,
        /// The number to divide by; zero is an error.
        b: f64,
    ) -> anyhow::Result<f64>;

    /// Say in a sentence who a person is.
    async fn describe(
        &self,
        /// The person.
        person: Person,
    ) -> String;

    /// Say who is calling.
    async fn whoami(&self, ctx: &Context) -> Caller;

    /// Sleep, and answer for how long.
    async fn sleep(
        &self,
        /// For how long, in seconds.
        seconds: f64,
    ) -> anyhow::Result<f64>;

    /// Make bytes.
    async fn make_bytes(
        &self,
        /// The count.
        n: u32,
    ) -> Binary;

    /// Count bytes.
    async fn length(
        &self,
        /// The bytes to count.
        data: &[u8],
    ) -> usize;

    /// Panic. The caller gets an error, and the service lives on.
    async fn panic_now(&self);

    /// Multiply every element of an array; the type of the elements stays.
    async fn scale(
        &self,
        /// The array.
        image: NdArray,
        /// The factor.
        factor: f64,
    ) -> anyhow::Result<NdArray>;

    /// Describe an array.
    async fn array_info(
        &self,
        /// The array.
        array: NdArray,
    ) -> anyhow::Result<ArrayInfo>;

    /// Divide one number by another, with an error that callers can match on.
    async fn checked_divide(
        &self,
        /// The number to divide.
        a: f64,
        /// The number to divide by.
        b: f64,
    ) -> Result<f64, DivisionError>;

    /// Call a function so many times, with 0, 1, 2 and so on, and answer what it answered.
    async fn call_back(
        &self,
        /// The function.
        callback: Callback<u32, Value>,
        /// The number of repetitions.
        times: u32,
    ) -> Result<Vec<Value>, Error>;

    /// Tell a function of every step, from 0 on, without waiting for what it answers; how many
    /// steps.
    async fn progress(
        &self,
        /// The function.
        callback: Callback<u32, Value>,
        /// The number of steps.
        steps: u32,
    ) -> Result<u32, Error>;

    /// Call functions that stand in lists in a map, each with its key; what they answered, in their
    /// places.
    async fn call_nested(
        &self,
        /// The functions.
        functions: BTreeMap<String, Vec<Callback<String, Value>>>,
    ) -> Result<BTreeMap<String, Vec<Value>>, Error>;

    /// Count from 0 to `n - 1`.
    async fn count(
        &self,
        /// The count of numbers.
        n: u32,
        /// Pause before each, in seconds.
        #[hypha(default = 0.0)]
        delay: f64,
    ) -> anyhow::Result<impl Stream<Item = u32> + Send>;

    /// Returns the number of streams of `count` that are being read.
    async fn open_streams(&self) -> usize;

    /// Count from 0, and fail instead of the number `n`.
    async fn fail_after(
        &self,
        /// The count of numbers before it.
        n: u32,
    ) -> impl Stream<Item = anyhow::Result<u32>> + Send;

    /// Add up a stream of numbers.
    async fn sum(
        &self,
        /// The numbers.
        numbers: RemoteStream<f64>,
        /// The count to read. Default: all.
        limit: Option<usize>,
    ) -> Result<f64, Error>;

    /// Make blocks of bytes.
    async fn blocks(
        &self,
        /// The count.
        n: u32,
        /// The bytes in each.
        size: u32,
    ) -> impl Stream<Item = Binary> + Send;

    /// Count the bytes in every block of a stream.
    async fn lengths(
        &self,
        /// The blocks.
        blocks: RemoteStream<Binary>,
    ) -> Result<Vec<usize>, Error>;

    /// Make a counter that starts at 0.
    async fn make_counter(&self) -> Object<CounterProxy>;

    /// Keep an object for later; it has a function `getItem(key)`.
    async fn store(
        &self,
        /// The object.
        interface: Object<ItemsProxy>,
    );

    /// Ask the kept object for an item.
    async fn use_stored(
        &self,
        /// Which.
        key: Value,
    ) -> anyhow::Result<Value>;

    /// Tell the owner of the kept object that it is not needed any more; it stays kept.
    async fn dispose_stored(&self) -> anyhow::Result<()>;

    /// Read a file to its end.
    async fn read_all(
        &self,
        /// The file.
        file: RemoteFile,
    ) -> anyhow::Result<Binary>;
}

/// The result of `make_counter`.
#[hypha_service]
pub trait Counter {
    /// Add to the counter; what it is then.
    async fn increment(
        &self,
        /// The amount.
        #[hypha(default = 1)]
        by: i64,
    ) -> i64;

    /// The value of the counter.
    async fn value(&self) -> i64;
}

/// The argument of `store`.
#[hypha_service(rename_all = "camelCase")]
pub trait Items {
    /// The item of a key.
    async fn get_item(
        &self,
        /// The key.
        key: Value,
    ) -> anyhow::Result<Value>;
}
