//! A trait with a type parameter, and a trait with an associated type.

use hypha_rpc::hypha_service;

#[hypha_service]
trait Lab<T> {
    async fn count(&self) -> u32;
}

#[hypha_service]
trait Shop {
    type Item;
    async fn price(&self) -> f64;
}

fn main() {
    let _call = |lab: LabProxy, shop: ShopProxy| (lab.count(), shop.price());
}
