//! An argument of an unknown type. rustc reports the unknown type once.

use hypha_rpc::prelude::*;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Plate;

#[hypha_service]
trait Lab {
    async fn load(&self, plate: Plte) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
