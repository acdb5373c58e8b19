//! Two blocks with the attribute for one type: rustc says of every generated item that it is there twice. No
//! block knows of the other, and rustc goes on after names and implementations that are there twice.

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
