//! A type that has the name of the proxy. rustc says so first; what is generated for the proxy does not fit that type either.

use hypha_rpc::prelude::*;

struct LabProxy;

#[hypha_service]
trait Lab {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
