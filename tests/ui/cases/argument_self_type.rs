//! An argument of type `Self`. Callers do not know this type.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab: Sized {
    async fn merge(&self, others: Vec<Self>);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
