//! A contract with a `where` clause.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab where Self: Sized {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
