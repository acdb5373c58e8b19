//! A macro invocation among the methods.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    methods!();
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
