//! Missing and wrong separators in signatures. Each causes one error. The other methods must exist.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(&self, plate: u32 well: u32) -> u32;
    async fn weight(&self): f64;
    async fn height(&self,, plate: u32) -> f64;
    async fn count(&self) -> u32;
}

struct Desk;

#[hypha_service]
impl Desk {
    pub async fn size(&self plate: u32) -> u32 {
        1
    }
    pub async fn count(&self) -> u32 {
        1
    }
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
    let _call = |proxy: DeskProxy| proxy.count();
}
