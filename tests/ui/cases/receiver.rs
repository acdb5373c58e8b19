//! Methods that do not take `&self`.

use hypha_rpc::hypha_service;
use hypha_rpc::service::IntoService;

#[hypha_service]
trait Lab {
    async fn change(&mut self);
    async fn consume(self);
    async fn create(size: u32);
    async fn count(&self) -> u32;
}

struct Desk;
impl Lab for Desk {
    async fn change(&mut self) {}
    async fn consume(self) {}
    async fn create(_size: u32) {}
    async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _service = LabService::new(Desk).into_service();
    let _call = |proxy: LabProxy| (proxy.change(), proxy.count());
}
