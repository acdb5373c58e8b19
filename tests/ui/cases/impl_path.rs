//! An `impl` block for a type that is not a plain name.

use hypha_rpc::prelude::*;

struct Desk;

#[hypha_service]
impl crate::Desk {
    pub async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _future = Desk.count();
}
