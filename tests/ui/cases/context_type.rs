//! An ordinary type named `Context`, and another type marked as the context.

use hypha_rpc::hypha_service;

#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
struct Context;

#[hypha_service]
trait Lab {
    async fn wrong(&self, context: Context);
    async fn marked(&self, #[hypha(context)] number: u32);
    async fn right(&self, #[hypha(context = false)] context: Context, caller: &hypha_rpc::Context);
}

fn main() {
    let _call = |proxy: LabProxy| (proxy.wrong(), proxy.marked(), proxy.right(Context));
}
