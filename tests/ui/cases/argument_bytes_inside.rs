//! Borrowed bytes inside another type, which would be sent as a list of numbers.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, files: Vec<&[u8]>, first: Option<&[u8]>);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| (proxy.load(vec![b"a"], None), proxy.count());
}
