//! An argument that can be sent but not received.

use hypha_rpc::prelude::*;

#[derive(Serialize, JsonSchema)]
struct Plate;

#[hypha_service]
trait Lab {
    async fn load(&self, plate: Plate);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
