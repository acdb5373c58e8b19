//! Values with a type that the key does not accept.

use hypha_rpc::prelude::*;

#[hypha_service(id = 5, visibility = public, singleton = "yes", description = concat!("a", "b"))]
trait Lab {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
