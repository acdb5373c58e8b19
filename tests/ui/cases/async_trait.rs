//! `#[async_trait]` on a contract. A contract does not need this attribute.

use hypha_rpc::prelude::*;

#[hypha_service]
#[async_trait::async_trait]
trait Lab {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
