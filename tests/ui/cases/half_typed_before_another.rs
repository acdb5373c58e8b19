//! A method without its semicolon before another: one error, and the other is there.

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
