//! A stream inside a user's type other than `Result`.

use hypha_rpc::prelude::*;

struct Named<T>(T);

#[hypha_service]
trait Lab {
    async fn plates(&self) -> Named<impl Stream<Item = u32>>;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
