//! A service with a value that does not implement the contract.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

struct Desk;

async fn register(client: &Client) {
    let _ = client.register_service(LabService::new(Desk)).await;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
