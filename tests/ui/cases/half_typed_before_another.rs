//! A missing semicolon before another method. One error must appear, and that method must exist.

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
