//! A function without `&self`. Only this mistake must be reported.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab: Sized {
    fn new(size: u32) -> Self;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
