//! A boxed contract. The message suggests a proxy in an `Object`.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Counter {
    async fn increment(&self, by: i64) -> i64;
}

#[hypha_service]
trait Lab {
    async fn count(&self, counter: Box<dyn Counter>) -> i64;
    async fn make(&self) -> Result<Box<dyn Counter>, String>;
    async fn size(&self) -> u32;
}

fn main() {
    let _call = |lab: LabProxy| lab.size();
}
