//! Two arguments with the same name. If the method has a body, rustc itself reports this mistake.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn weigh(&self, sample: u32, sample: u32) -> u32;
    async fn mix(&self, first: u32, first: u32) -> u32 {
        2 * first
    }
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| (proxy.weigh(1, 2), proxy.count());
}
