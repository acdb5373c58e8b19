//! A result of type `impl Trait` that is not a stream.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn wells(&self) -> impl Iterator<Item = u32>;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.wells();
}
