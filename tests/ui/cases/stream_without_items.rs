//! A stream without an item type.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn plates(&self) -> impl Stream;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.plates();
}
