//! A default with an unknown name.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, #[hypha(default = LIMIT)] plate: u32);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.load(1);
}
