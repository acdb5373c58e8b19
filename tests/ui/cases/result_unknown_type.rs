//! A result type that does not exist; rustc says so once, although trait and proxy have it.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self) -> Result<Plte, String>;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
