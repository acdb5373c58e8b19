//! A key that belongs to serde's attribute.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    #[hypha(rename = "size")]
    async fn count_all(&self) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count_all();
}
