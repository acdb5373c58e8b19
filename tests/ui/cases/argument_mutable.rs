//! A mutable reference as an argument. Arguments are copies.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn fill(&self, plate: &mut Vec<u8>);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.fill(&mut Vec::new());
}
