//! A key on a private method. A private method is not part of the service.

use hypha_rpc::prelude::*;

struct Desk;

#[hypha_service]
impl Desk {
    #[hypha(name = "all")]
    async fn count_all(&self, #[hypha(default = 1)] n: u32) -> u32 {
        n
    }
    pub async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _service = hypha_rpc::service::IntoService::into_service(Desk);
    let _call = |proxy: DeskProxy| proxy.count();
}
