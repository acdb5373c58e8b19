//! A block for a generic type.

use hypha_rpc::prelude::*;

struct Desk<T>(T);

#[hypha_service]
impl<T: Send + Sync + 'static> Desk<T> {
    pub async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _future = Desk(1).count();
}
