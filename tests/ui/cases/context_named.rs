//! A wire name for the context. The context is not sent.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, #[hypha(name = "who")] ctx: &Context);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.load();
}
