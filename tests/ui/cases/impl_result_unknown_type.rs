//! A result type of a block's method that does not exist; rustc says so once.

use hypha_rpc::prelude::*;

struct Desk;

#[hypha_service]
impl Desk {
    pub async fn load(&self) -> Result<Plte, String> {
        Err("empty".to_owned())
    }
    pub async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _call = |proxy: DeskProxy| proxy.count();
}
