//! `&String` as an argument. The message suggests `&str`.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, name: &String);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
