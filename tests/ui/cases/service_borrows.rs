//! An implementation that borrows. rustc compares every method with the trait before it notices
//! that the implementation is not `'static`.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(&self) -> u32;
}

struct Desk<'a>(&'a u32);

impl Lab for Desk<'_> {
    async fn size(&self) -> u32 {
        *self.0
    }
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
