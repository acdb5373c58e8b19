//! Two methods to which `rename_all` gives the same name.

use hypha_rpc::prelude::*;

#[hypha_service(rename_all = "camelCase")]
trait Lab {
    async fn take_plate(&self);
    async fn take__plate(&self);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.take_plate();
}
