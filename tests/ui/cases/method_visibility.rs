//! `pub` on a method of a trait.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    pub async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
