//! Results without serde traits, by themselves and inside a `Result`.

use hypha_rpc::hypha_service;
use hypha_rpc::service::IntoService;

struct Plate;

#[hypha_service]
trait Lab {
    async fn take(&self) -> Plate;
    async fn find(&self) -> Result<Plate, String>;
    async fn count(&self) -> u32;
}

struct Desk;
impl Lab for Desk {
    async fn take(&self) -> Plate {
        Plate
    }
    async fn find(&self) -> Result<Plate, String> {
        Ok(Plate)
    }
    async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _service = LabService::new(Desk).into_service();
    let _call = |proxy: LabProxy| proxy.count();
}
