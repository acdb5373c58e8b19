//! Invalid uses of `#[derive(RemoteError)]`. The contract must not be reported.

use hypha_rpc::{RemoteError, hypha_service};
use serde::{Deserialize, Serialize};

#[derive(Debug, thiserror::Error, Serialize, Deserialize, RemoteError)]
enum Wrong {
    #[error("a")]
    #[remote_error(classes = "ValueError")]
    A,
    #[error("b")]
    #[remote_error(other)]
    B(u8, u8),
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize, RemoteError)]
#[error("generic")]
struct Generic<T>(T);

#[hypha_service]
trait Lab {
    async fn wrong(&self) -> Result<u32, Wrong>;
    async fn generic(&self) -> Result<u32, Generic<u8>>;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.wrong();
}
