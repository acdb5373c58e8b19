//! An implementation whose method has other parameter types.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(&self, plate: u32) -> u32;
    async fn count(&self) -> u32;
}

struct Desk;

impl Lab for Desk {
    async fn size(&self, plate: String) -> u32 {
        plate.len() as u32
    }
    async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size(1);
}
