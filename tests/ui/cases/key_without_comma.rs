//! A missing comma between keys.

use hypha_rpc::prelude::*;

#[hypha_service(id = "lab" name = "Lab")]
trait Lab {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
