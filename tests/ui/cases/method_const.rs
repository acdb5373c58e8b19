//! A `const` method.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    const fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
