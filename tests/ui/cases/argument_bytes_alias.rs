//! `bytes::Bytes` behind an alias and inside another type. Such a type has no schema.

use hypha_rpc::prelude::*;

type Data = bytes::Bytes;

#[hypha_service]
trait Lab {
    async fn load(&self, file: Data);
    async fn load_all(&self, files: Vec<bytes::Bytes>);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
