//! An `impl Stream` as an argument. The message suggests a `RemoteStream`.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn sum(&self, numbers: impl Stream<Item = f64>) -> f64;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
