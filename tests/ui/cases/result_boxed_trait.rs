//! A result that is a trait object.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn plate(&self) -> Box<dyn std::fmt::Debug>;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
