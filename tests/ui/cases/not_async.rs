//! A method that is not `async`, beside methods that are `async`.

use hypha_rpc::hypha_service;
use hypha_rpc::service::IntoService;

#[hypha_service]
trait Lab {
    fn count(&self) -> u32;
    async fn size(&self) -> u32;
}

struct Desk;
impl Lab for Desk {
    fn count(&self) -> u32 {
        2
    }
    async fn size(&self) -> u32 {
        3
    }
}

fn main() {
    let _service = LabService::new(Desk).into_service();
    let _call = |proxy: LabProxy| proxy.count();
}
