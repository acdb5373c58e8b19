//! The attribute on other items than a trait; they stay as they are.

use hypha_rpc::hypha_service;

#[hypha_service]
struct Desk;

#[hypha_service]
fn count() -> u32 {
    2
}

#[hypha_service]
impl Desk {
    async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _number: u32 = count();
    let _future = Desk.count();
}
