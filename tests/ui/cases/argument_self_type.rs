//! An argument of type `Self`, a type that callers do not know.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab: Sized {
    async fn merge(&self, others: Vec<Self>);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
