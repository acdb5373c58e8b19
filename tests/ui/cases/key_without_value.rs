//! Keys whose required value is missing.

use hypha_rpc::prelude::*;

#[hypha_service(id, visibility, rename_all, crate)]
trait Lab {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
