//! Wire names that addresses cannot contain.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    #[hypha(name = "a:b")]
    async fn first(&self);
    #[hypha(name = "")]
    async fn second(&self);
    #[hypha(name = "a..b")]
    async fn third(&self);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.first();
}
