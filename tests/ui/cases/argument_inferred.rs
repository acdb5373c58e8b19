//! An argument of type `_`. rustc would have to infer the type.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, plate: _) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
