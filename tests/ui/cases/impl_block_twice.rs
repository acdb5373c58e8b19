//! Two blocks with the attribute for one type. rustc reports every generated item as a duplicate:
//! neither macro call sees the other block, and rustc continues after each duplicate.

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
