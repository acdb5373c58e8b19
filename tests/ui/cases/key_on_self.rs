//! `#[hypha(..)]` on `&self`.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(#[hypha(name = "lab")] &self) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
