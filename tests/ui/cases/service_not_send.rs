//! An implementation that can neither be shared between threads nor sent to another: rustc says so
//! of each bound. One bound for both would be one error, but without what stands in the way.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

struct Desk(std::rc::Rc<u32>);

impl Lab for Desk {
    async fn size(&self) -> u32 {
        *self.0
    }
    async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
