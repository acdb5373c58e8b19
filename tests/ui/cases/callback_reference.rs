//! A callback whose argument is a reference.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn train(&self, on_text: Callback<(u32, &str)>);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
