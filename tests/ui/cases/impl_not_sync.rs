//! A type with a block that can neither be shared between threads nor sent to another.

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
