//! A stream whose items are references.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn names(&self) -> impl Stream<Item = &str>;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.names();
}
