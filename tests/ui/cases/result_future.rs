//! A method that returns `impl Future`. The message suggests `async fn`.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    fn size(&self) -> impl Future<Output = u32> + Send;
    async fn count(&self) -> u32;
}

struct Desk;

#[hypha_service]
impl Desk {
    pub async fn size(&self) -> impl Future<Output = u32> {
        std::future::ready(1)
    }
    pub async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _call = |lab: LabProxy, desk: DeskProxy| (lab.count(), lab.size(), desk.count());
}
