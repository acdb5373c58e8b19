//! An unknown result type in an `impl` block. rustc reports the unknown type once.

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
