//! Two `#[hypha_service]` attributes on one trait.

use hypha_rpc::prelude::*;

#[hypha_service]
#[hypha_service(id = "lab")]
trait Lab {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
