//! Results and errors that contain references.

use hypha_rpc::hypha_service;
use hypha_rpc::service::IntoService;

#[hypha_service]
trait Lab {
    async fn title(&self) -> &str;
    async fn find(&self) -> Result<u32, &'static str>;
    async fn count(&self) -> u32;
}

struct Desk;
impl Lab for Desk {
    async fn title(&self) -> &str {
        "desk"
    }
    async fn find(&self) -> Result<u32, &'static str> {
        Err("nothing here")
    }
    async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _service = LabService::new(Desk).into_service();
    let _call = |proxy: LabProxy| proxy.count();
}
