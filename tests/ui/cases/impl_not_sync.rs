//! An `impl` block for a type that is neither `Sync` nor `Send`.

use hypha_rpc::prelude::*;

struct Desk(std::rc::Rc<u32>);

#[hypha_service]
impl Desk {
    pub async fn size(&self) -> u32 {
        *self.0
    }
    pub async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _call = |proxy: DeskProxy| proxy.count();
}
