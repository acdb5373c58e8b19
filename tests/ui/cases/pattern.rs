//! Parameters that are patterns instead of names.

use hypha_rpc::hypha_service;
use hypha_rpc::service::IntoService;

#[hypha_service]
trait Lab {
    async fn place(&self, (x, y): (f64, f64));
    async fn skip(&self, _: u32);
    async fn count(&self) -> u32;
}

struct Desk;
impl Lab for Desk {
    async fn place(&self, (_x, _y): (f64, f64)) {}
    async fn skip(&self, _: u32) {}
    async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _service = LabService::new(Desk).into_service();
    let _call = |proxy: LabProxy| proxy.count();
}
