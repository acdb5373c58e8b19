//! An argument of type `_`, which rustc would have to infer.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, plate: _) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
