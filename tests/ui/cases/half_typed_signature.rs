//! An incomplete signature. One error must appear, and the other methods must exist.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(&self, plate: ) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
