//! A missing semicolon after a method. One error must appear, and the other methods must exist.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn count(&self) -> u32;
    async fn size(&self)
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
