//! Only strings and bytes can be borrowed in arguments.

use hypha_rpc::hypha_service;

#[hypha_service]
trait Lab {
    async fn heat(&self, degrees: &f64);
    async fn cool(&self, degrees: f64);
}

fn main() {
    let _call = |proxy: LabProxy| proxy.cool(1.0);
}
