//! A proxy as a value. The message suggests an `Object`.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Counter {
    async fn increment(&self, by: i64) -> i64;
}

#[hypha_service]
trait Lab {
    async fn count(&self, counter: CounterProxy) -> i64;
    async fn make(&self) -> CounterProxy;
    async fn size(&self) -> u32;
}

fn main() {
    let _call = |lab: LabProxy| lab.size();
}
