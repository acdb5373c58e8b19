//! An incomplete signature. Only one error, and the other methods exist.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(&self, plate: ) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
