// Generated; see `generated.rs`.

use hypha_rpc::prelude::*;

#[hypha_service(id = "plain")]
#[allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
pub trait Plain {
    async fn add(
        &self,
        // Nothing is known of its arguments.
        arg1: Option<Value>,
        arg2: Option<Value>,
        arg3: Option<Value>,
        arg4: Option<Value>,
    ) -> Value;

    #[hypha(name = "fooBar")]
    async fn foo_bar(
        &self,
        // Nothing is known of its arguments.
        arg1: Option<Value>,
        arg2: Option<Value>,
        arg3: Option<Value>,
        arg4: Option<Value>,
    ) -> Value;

    async fn class(
        &self,
        // Nothing is known of its arguments.
        arg1: Option<Value>,
        arg2: Option<Value>,
        arg3: Option<Value>,
        arg4: Option<Value>,
    ) -> Value;

    #[hypha(name = "with-dash")]
    async fn with_dash(
        &self,
        // Nothing is known of its arguments.
        arg1: Option<Value>,
        arg2: Option<Value>,
        arg3: Option<Value>,
        arg4: Option<Value>,
    ) -> Value;

    // `with"quote` */` is no name that a contract can have.

    #[hypha(name = "nested.add")]
    async fn nested_add(
        &self,
        // Nothing is known of its arguments.
        arg1: Option<Value>,
        arg2: Option<Value>,
        arg3: Option<Value>,
        arg4: Option<Value>,
    ) -> Value;
}
