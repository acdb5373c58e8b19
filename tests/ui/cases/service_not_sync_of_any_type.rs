//! An implementation for every type, without the bounds that a service needs. rustc reports each
//! missing bound once.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

struct Desk<T>(T);

impl<T> Lab for Desk<T> {
    async fn size(&self) -> u32 {
        1
    }
    async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
