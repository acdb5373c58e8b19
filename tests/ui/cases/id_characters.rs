//! Service ids with characters that are reserved in addresses.

use hypha_rpc::prelude::*;

#[hypha_service(id = "lab:one")]
trait One {
    async fn count(&self) -> u32;
}

#[hypha_service(id = "lab two")]
trait Two {
    async fn count(&self) -> u32;
}

#[hypha_service(id = "")]
trait Three {
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |one: OneProxy, two: TwoProxy, three: ThreeProxy| (one.count(), two.count(), three.count());
}
