//! A mutable reference to the context.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(&self, context: &mut Context) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| (proxy.size(), proxy.count());
}
