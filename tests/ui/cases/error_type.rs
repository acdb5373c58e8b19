//! An error that cannot be sent.

use hypha_rpc::hypha_service;

#[derive(Debug)]
struct Broken;

#[hypha_service]
trait Lab {
    async fn take(&self) -> Result<u32, Broken>;
    async fn count(&self) -> Result<u32, String>;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
