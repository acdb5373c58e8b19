//! A user's type with the name of the proxy. rustc reports the name, and each member it lacks.

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
