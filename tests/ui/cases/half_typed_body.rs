//! A syntax error in the body of a method. One error must appear, and the other methods must exist.

use hypha_rpc::prelude::*;

struct Desk;

#[hypha_service]
impl Desk {
    pub async fn size(&self) -> u32 {
        let size = ;
        size
    }
    pub async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _service = hypha_rpc::service::IntoService::into_service(Desk);
    let _call = |proxy: DeskProxy| proxy.count();
}
