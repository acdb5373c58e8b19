//! A stream whose items have an error type that cannot be sent.

use hypha_rpc::prelude::*;

struct Broken;

#[hypha_service]
trait Lab {
    async fn plates(&self) -> impl Stream<Item = Result<u32, Broken>>;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
