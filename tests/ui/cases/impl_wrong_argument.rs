//! An argument that cannot be sent, in an `impl` block.

use hypha_rpc::prelude::*;

struct Plate;

struct Desk;

#[hypha_service]
impl Desk {
    pub async fn load(&self, plate: Plate) -> u32 {
        let _ = plate;
        1
    }
    pub async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _service = hypha_rpc::service::IntoService::into_service(Desk);
    let _call = |proxy: DeskProxy| proxy.count();
}
