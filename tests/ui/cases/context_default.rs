//! A default for the context. The context is never missing.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, #[hypha(default = None)] ctx: &Context);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.load();
}
