//! An implementation that is not `Sync`. rustc reports the implementation instead of every method.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

struct Desk(std::cell::Cell<u32>);

impl Lab for Desk {
    async fn size(&self) -> u32 {
        self.0.get()
    }
    async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
