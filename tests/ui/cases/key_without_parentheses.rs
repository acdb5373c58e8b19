//! `#[hypha]` and `#[hypha = ..]`.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    #[hypha]
    async fn size(&self) -> u32;
    #[hypha = "n"]
    async fn n(&self) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
