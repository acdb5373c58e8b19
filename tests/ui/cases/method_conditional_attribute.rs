//! An attribute inside `cfg_attr`. Macros cannot see such an attribute.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    #[cfg_attr(unix, hypha(name = "unixCount"))]
    async fn count_all(&self) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count_all();
}
