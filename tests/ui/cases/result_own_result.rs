//! A user's type with the name `Result`.

use hypha_rpc::prelude::*;

mod mine {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Result<T, E>(T, E);
}

#[hypha_service]
trait Lab {
    async fn load(&self) -> mine::Result<u32, String>;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
