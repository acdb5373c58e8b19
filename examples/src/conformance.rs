//! The contract of the conformance service: the methods that every Hypha client is checked with.

use hypha_rpc::prelude::*;

/// Somebody to be described.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// What to call them.
    pub name: String,
    /// In years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<i64>,
    /// What they are known for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
}

/// Who called.
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
        /// How many.
        n: u32,
    ) -> Bytes;

    /// Count bytes.
    async fn length(
        &self,
        /// The bytes to count.
        data: &[u8],
    ) -> usize;

    /// Panic. The caller gets an error, and the service lives on.
    async fn panic_now(&self);
}
