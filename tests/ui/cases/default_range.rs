//! A default that is too large for its type.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, #[hypha(default = 300)] plate: u8);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.load(1);
}
