//! A default that depends on another argument.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, first: u32, #[hypha(default = first)] last: u32);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.load(1, 2);
}
