//! The implementation in a place where the proxy is expected.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

struct Desk;

fn find(client: &Client) {
    let _ = client.proxy::<Desk>("lab");
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
