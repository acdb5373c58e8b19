//! `#[hypha(..)]` on the trait. The message suggests `#[hypha_service(..)]`.

use hypha_rpc::prelude::*;

#[hypha_service]
#[hypha(id = "lab")]
trait Lab {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
