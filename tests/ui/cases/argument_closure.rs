//! A closure as an argument. The message suggests a callback.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn train(&self, on_loss: impl Fn(f32) + Send);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.train(|_| ());
}
