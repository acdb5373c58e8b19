//! An argument that borrows for longer than its call.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, name: &'static str);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.load("a");
}
