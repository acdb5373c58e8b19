//! A default with another type than its argument.

use hypha_rpc::hypha_service;

#[hypha_service]
trait Lab {
    async fn count(&self, #[hypha(default = "many")] limit: u32) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count(1);
}
