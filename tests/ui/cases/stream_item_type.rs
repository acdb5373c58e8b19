//! A stream with an item type that cannot be sent.

use hypha_rpc::prelude::*;

struct Plate;

#[hypha_service]
trait Lab {
    async fn plates(&self) -> impl Stream<Item = Plate>;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
