//! An `Object` of the contract. The message suggests an `Object` of the proxy.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Counter {
    async fn increment(&self, by: i64) -> i64;
}

#[hypha_service]
trait Lab {
    async fn count(&self, counter: Object<dyn Counter>) -> i64;
    async fn make(&self) -> Object<dyn Counter>;
    async fn size(&self) -> u32;
}

struct Desk;

#[hypha_service]
impl Desk {
    pub async fn count(&self, counter: dyn Counter) -> i64 {
        counter.increment(1).await
    }
    pub async fn size(&self) -> u32 {
        2
    }
}

fn main() {
    let _call = |lab: LabProxy, desk: DeskProxy| (lab.size(), desk.size());
}
