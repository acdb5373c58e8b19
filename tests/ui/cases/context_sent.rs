//! A caller that passes a context.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, ctx: &Context, plate: u32);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy, ctx: Context| proxy.load(&ctx, 1);
}
