//! A callback and a stream of a type without a schema.

use hypha_rpc::prelude::*;

#[derive(Serialize, Deserialize)]
struct Plate {
    rows: u8,
}

#[hypha_service]
trait Lab {
    async fn train(&self, on_plate: Callback<Plate>) -> u32;
    async fn sort(&self, plates: RemoteStream<Plate>) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy, plates| proxy.sort(plates);
}
