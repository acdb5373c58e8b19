//! A `cfg` on an argument. It would change the contract.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, #[cfg(unix)] plate: u32);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
