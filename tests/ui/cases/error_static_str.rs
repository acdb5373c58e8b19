//! `&'static str` as an error type. Callers cannot decode it.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self) -> Result<u32, &'static str>;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.load();
}
