//! A stream inside another type.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn wells(&self) -> Vec<impl Stream<Item = u32>>;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.wells();
}
