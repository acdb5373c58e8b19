//! Contract of the conformance service, which is used to check Hypha clients. The services in
//! `tests/interop` implement the same methods in Python and JavaScript.

use std::collections::BTreeMap;

use hypha_rpc::prelude::*;

/// A person to describe.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// The name.
    pub name: String,
    /// Age, in years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<i64>,
    /// Keywords about the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
}

/// The caller of a method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Caller {
    /// Id of the caller's user.
    pub user_id: String,
    /// The caller's workspace.
    pub workspace: String,
    /// The caller's address, `workspace/client`.
    pub from: String,
    /// Whether the caller connected without a token.
    pub is_anonymous: bool,
}

/// Shape and type of an array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ArrayInfo {
    /// Type of the elements in the notation of numpy.
    pub dtype: String,
    /// Lengths of the dimensions.
    pub shape: Vec<usize>,
    /// Sum of all elements.
    pub sum: f64,
}

/// Error of a division.
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

/// The methods with which every Hypha client is checked.
#[hypha_service(id = "conformance", name = "Conformance")]
pub trait Conformance {
    /// Return the value.
    async fn echo(
        &self,
        /// Value to return.
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
        /// The number to divide by. Zero is an error.
        b: f64,
    ) -> anyhow::Result<f64>;

    /// Describe a person in a sentence.
    async fn describe(
        &self,
        /// The person.
        person: Person,
    ) -> String;

    /// Describe the caller.
    async fn whoami(&self, ctx: &Context) -> Caller;

    /// Sleep, and return the time.
    async fn sleep(
        &self,
        /// Time to sleep, in seconds.
        seconds: f64,
    ) -> anyhow::Result<f64>;

    /// Make bytes.
    async fn make_bytes(
        &self,
        /// Number of bytes.
        n: u32,
    ) -> Binary;

    /// Count bytes.
    async fn length(
        &self,
        /// The bytes to count.
        data: &[u8],
    ) -> usize;

    /// Panic. The caller gets an error, and the service continues.
    async fn panic_now(&self);

    /// Multiply every element of an array, keeping the element type.
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

    /// Call a function repeatedly, with 0, 1, 2 and so on, and return its results.
    async fn call_back(
        &self,
        /// Function to call.
        callback: Callback<u32, Value>,
        /// Number of calls.
        times: u32,
    ) -> Result<Vec<Value>, Error>;

    /// Call a function once for each step, with the number of the step, starting at 0. Do not wait
    /// for the results. Return the number of steps.
    async fn progress(
        &self,
        /// Function to call.
        callback: Callback<u32, Value>,
        /// Number of steps.
        steps: u32,
    ) -> Result<u32, Error>;

    /// Call each function with the key of its list in the map. Return the results in the same
    /// structure, a map of lists.
    async fn call_nested(
        &self,
        /// Functions to call.
        functions: BTreeMap<String, Vec<Callback<String, Value>>>,
    ) -> Result<BTreeMap<String, Vec<Value>>, Error>;

    /// Count from 0 to `n - 1`.
    async fn count(
        &self,
        /// Number of items.
        n: u32,
        /// Pause before each item, in seconds.
        #[hypha(default = 0.0)]
        delay: f64,
    ) -> anyhow::Result<impl Stream<Item = u32> + Send>;

    /// Return the number of streams of `count` that are being read.
    async fn open_streams(&self) -> usize;

    /// Count from 0, and fail instead of the number `n`.
    async fn fail_after(
        &self,
        /// Number of items before the failure.
        n: u32,
    ) -> impl Stream<Item = anyhow::Result<u32>> + Send;

    /// Add up a stream of numbers.
    async fn sum(
        &self,
        /// The numbers.
        numbers: RemoteStream<f64>,
        /// Maximum number of items to read. Default: all.
        limit: Option<usize>,
    ) -> Result<f64, Error>;

    /// Make blocks of bytes.
    async fn blocks(
        &self,
        /// Number of blocks.
        n: u32,
        /// Bytes per block.
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

    /// Store an object with a function `getItem(key)`.
    async fn store(
        &self,
        /// The object.
        interface: Object<ItemsProxy>,
    );

    /// Get an item of the stored object.
    async fn use_stored(
        &self,
        /// Key of the item.
        key: Value,
    ) -> anyhow::Result<Value>;

    /// Dispose of the stored object at the client that owns it. Keep the reference to the object.
    async fn dispose_stored(&self) -> anyhow::Result<()>;

    /// Read a file to its end.
    async fn read_all(
        &self,
        /// The file.
        file: RemoteFile,
    ) -> anyhow::Result<Binary>;
}

/// Object that `make_counter` returns.
#[hypha_service]
pub trait Counter {
    /// Add to the counter and return its value.
    async fn increment(
        &self,
        /// Amount to add.
        #[hypha(default = 1)]
        by: i64,
    ) -> i64;

    /// Return the value of the counter.
    async fn value(&self) -> i64;
}

/// Object that `store` accepts.
#[hypha_service(rename_all = "camelCase")]
pub trait Items {
    /// Return the item with a key.
    async fn get_item(
        &self,
        /// The key.
        key: Value,
    ) -> anyhow::Result<Value>;
}
