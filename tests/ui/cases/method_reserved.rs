//! A method with a name that is reserved in every service.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn id(&self) -> String;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.id();
}
