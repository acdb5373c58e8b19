// Generated; see `generated.rs`.

use hypha_rpc::prelude::*;

#[hypha_service(id = "plain")]
#[allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
pub trait Plain {
    /// Add two values of any type.
    async fn add(
        &self,
        a: Value,
        b: Option<Value>,
    ) -> Value;

    async fn typed(
        &self,
        n: i64,
        names: Vec<Value>,
        text: Option<Value>,
    ) -> Value;

    /// Add two values of any type.
    #[hypha(name = "nested.class")]
    async fn nested_class(
        &self,
        a: Value,
        b: Option<Value>,
    ) -> Value;

    async fn numbers(
        &self,
        // The arguments are unknown.
        arg1: Option<Value>,
        arg2: Option<Value>,
        arg3: Option<Value>,
        arg4: Option<Value>,
    ) -> Value;

    async fn list(
        &self,
        // The arguments are unknown.
        arg1: Option<Value>,
        arg2: Option<Value>,
        arg3: Option<Value>,
        arg4: Option<Value>,
    ) -> Value;
}
