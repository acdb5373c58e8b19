//! A reference to a user's type. Only strings and bytes can be borrowed.

use hypha_rpc::prelude::*;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Plate;

#[hypha_service]
trait Lab {
    async fn load(&self, plate: &Plate);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
