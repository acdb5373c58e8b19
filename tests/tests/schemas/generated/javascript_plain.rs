// Generated; see `generated.rs`.

use hypha_rpc::prelude::*;

#[hypha_service(id = "plain")]
#[allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
pub trait Plain {
    async fn add(
        &self,
        // The arguments are unknown.
        arg1: Option<Value>,
        arg2: Option<Value>,
        arg3: Option<Value>,
        arg4: Option<Value>,
    ) -> Value;

    #[hypha(name = "fooBar")]
    async fn foo_bar(
        &self,
        // The arguments are unknown.
        arg1: Option<Value>,
        arg2: Option<Value>,
        arg3: Option<Value>,
        arg4: Option<Value>,
    ) -> Value;

    async fn class(
        &self,
        // The arguments are unknown.
        arg1: Option<Value>,
        arg2: Option<Value>,
        arg3: Option<Value>,
        arg4: Option<Value>,
    ) -> Value;

    #[hypha(name = "with-dash")]
    async fn with_dash(
        &self,
        // The arguments are unknown.
        arg1: Option<Value>,
        arg2: Option<Value>,
        arg3: Option<Value>,
        arg4: Option<Value>,
    ) -> Value;

    // `with"quote` */` is not a valid name in a contract.

    #[hypha(name = "nested.add")]
    async fn nested_add(
        &self,
        // The arguments are unknown.
        arg1: Option<Value>,
        arg2: Option<Value>,
        arg3: Option<Value>,
        arg4: Option<Value>,
    ) -> Value;
}
