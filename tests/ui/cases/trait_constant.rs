//! A constant in a contract.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    const LIMIT: u32;
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
