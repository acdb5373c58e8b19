//! An `unsafe` and an `extern` method.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async unsafe fn fire(&self);
    async extern "C" fn link(&self);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| (proxy.fire(), proxy.link());
}
