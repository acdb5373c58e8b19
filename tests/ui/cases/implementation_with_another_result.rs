//! An implementation whose method has another result type.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

struct Desk;

impl Lab for Desk {
    async fn size(&self) -> String {
        String::new()
    }
    async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
