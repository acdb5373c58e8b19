//! Two blocks with the attribute for one type: rustc reports every generated item as a duplicate.
//! Neither block knows of the other, and rustc goes on after duplicate names and implementations.

use hypha_rpc::prelude::*;

struct Desk;

#[hypha_service]
impl Desk {
    pub async fn size(&self) -> u32 {
        1
    }
}

#[hypha_service]
impl Desk {
    pub async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _call = |proxy: DeskProxy| proxy.size();
}
