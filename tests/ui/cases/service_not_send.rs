//! An implementation that is neither `Send` nor `Sync`. rustc reports each bound separately. A
//! combined bound would cause only one error, and the error would not name the responsible type.

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
