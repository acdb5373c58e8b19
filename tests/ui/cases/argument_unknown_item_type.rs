//! An unknown type inside another type. rustc reports the unknown type once.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, plates: Vec<Plte>) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
