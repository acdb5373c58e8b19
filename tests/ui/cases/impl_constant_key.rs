//! A key on an associated constant. A constant is not a method.

use hypha_rpc::prelude::*;

struct Desk;

#[hypha_service]
impl Desk {
    #[hypha(name = "limit")]
    pub const LIMIT: u32 = 1;
    pub async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _service = hypha_rpc::service::IntoService::into_service(Desk);
    let _call = |proxy: DeskProxy| proxy.count();
}
