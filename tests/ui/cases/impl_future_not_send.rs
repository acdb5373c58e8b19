//! A method that holds a value that is not `Send` across an await.

use hypha_rpc::prelude::*;

struct Desk;

#[hypha_service]
impl Desk {
    pub async fn wait(&self) -> u32 {
        let count = std::rc::Rc::new(1);
        std::future::ready(()).await;
        *count
    }
    pub async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _service = hypha_rpc::service::IntoService::into_service(Desk);
    let _call = |proxy: DeskProxy| proxy.wait();
}
