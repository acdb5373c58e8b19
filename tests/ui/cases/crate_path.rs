//! A path to the crate that does not exist.

use hypha_rpc::prelude::*;

#[hypha_service(crate = lost::hypha)]
trait Lab {
    async fn size(&self, n: u32) -> Result<u32, String>;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size(1);
}
