//! A boxed error that is not `Send`.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self) -> Result<u32, Box<dyn std::error::Error>>;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
