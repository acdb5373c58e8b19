//! Methods with type parameters of every kind, and with a lifetime.

use hypha_rpc::hypha_service;

#[hypha_service]
trait Lab {
    async fn store<T: Send>(&self, item: T);
    async fn show(&self, item: impl std::fmt::Display + Send);
    async fn fill<const N: usize>(&self, items: [u8; N]);
    async fn title<'a>(&'a self, name: &'a str);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
