//! A constructor in the block of a service. A constructor has no `&self`.

use hypha_rpc::prelude::*;

struct Desk;

#[hypha_service]
impl Desk {
    pub fn new() -> Self {
        Desk
    }
    pub async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _service = hypha_rpc::service::IntoService::into_service(Desk);
    let _call = |proxy: DeskProxy| proxy.count();
}
