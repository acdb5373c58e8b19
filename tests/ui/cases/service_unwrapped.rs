//! An implementation that is registered without its generated service type.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

struct Desk;

impl Lab for Desk {
    async fn size(&self) -> u32 {
        1
    }
    async fn count(&self) -> u32 {
        2
    }
}

async fn register(client: &Client) {
    let _ = client.register_service(Desk).await;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
