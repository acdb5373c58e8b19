//! An unknown result type. rustc reports it once, although the trait and the proxy contain it.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self) -> Result<Plte, String>;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
