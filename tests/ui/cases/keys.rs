//! Unknown keys, repeated keys and invalid values, on traits, methods and arguments.

use hypha_rpc::hypha_service;

#[hypha_service(id = "lab", ids = "lab", id = "lab2", visibility = "secret")]
trait Lab {
    #[hypha(rename = "n")]
    async fn count(
        &self,
        #[hypha(defualt = 1)] from: u32,
        #[hypha(name = 5)] to: u32,
    ) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count(1, 2);
}
