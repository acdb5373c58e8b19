//! A type without serde traits and schema as an argument, by itself and inside another type.

use hypha_rpc::hypha_service;
use hypha_rpc::service::IntoService;

struct Plate;

#[hypha_service]
trait Lab {
    async fn load(&self, plate: Plate) -> u32;
    async fn load_all(&self, plates: Vec<Plate>);
    async fn count(&self) -> u32;
}

struct Desk;
impl Lab for Desk {
    async fn load(&self, _plate: Plate) -> u32 {
        1
    }
    async fn load_all(&self, _plates: Vec<Plate>) {}
    async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _service = LabService::new(Desk).into_service();
    let _call = |proxy: LabProxy| (proxy.load(Plate), proxy.count());
}
