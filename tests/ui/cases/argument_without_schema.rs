//! An argument that can be sent and received, but has no schema.

use hypha_rpc::prelude::*;

#[derive(Serialize, Deserialize)]
struct Plate;

#[hypha_service]
trait Lab {
    async fn load(&self, plate: Plate);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
