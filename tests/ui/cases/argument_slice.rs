//! A slice of numbers: only bytes can be borrowed.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, numbers: &[f64]);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
