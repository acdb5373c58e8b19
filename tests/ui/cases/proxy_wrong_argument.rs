//! Calls with wrong and missing arguments.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(&self, plate: &str, scale: f64) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| (proxy.size(5, 1.0), proxy.size("a"));
}
