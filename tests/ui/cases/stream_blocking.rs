//! A blocking method that returns a stream.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    #[hypha(blocking)]
    fn plates(&self) -> impl Stream<Item = u32>;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.plates();
}
