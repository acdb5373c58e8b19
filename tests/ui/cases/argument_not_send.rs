//! An argument that is not `Send`.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, name: std::rc::Rc<str>);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
