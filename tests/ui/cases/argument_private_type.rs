//! A private type in a public contract. Only rustc's own warning must appear.

use hypha_rpc::prelude::*;

#[hypha_service]
#[deny(private_interfaces)]
pub trait Lab {
    async fn load(&self, plate: Plate) -> u32;
    async fn count(&self) -> u32;
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Plate;

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
