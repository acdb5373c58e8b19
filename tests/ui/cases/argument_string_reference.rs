//! `&String`, where `&str` is meant.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, name: &String);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
