//! An implementation that holds a value that is not `Send` across an await.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

struct Desk;

impl Lab for Desk {
    async fn size(&self) -> u32 {
        let size = std::rc::Rc::new(1);
        std::future::ready(()).await;
        *size
    }
    async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
