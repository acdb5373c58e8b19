//! Two blocks of one type, both with the attribute. Neither macro call sees the other block. rustc
//! reports every generated item as a duplicate, because it continues after each duplicate.

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
