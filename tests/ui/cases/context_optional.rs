//! An optional context; it is always there.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, ctx: Option<Context>);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
