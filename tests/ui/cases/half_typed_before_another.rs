//! A missing semicolon before another method. Only one error, and the other method exists.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(&self)
    /// Count the plates.
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
