//! Error types that cannot be sent because another derive is missing.

use hypha_rpc::{RemoteError, hypha_service};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, RemoteError)]
enum NoText {
    Broken,
}

#[derive(Debug, thiserror::Error, RemoteError)]
#[error("broken")]
struct NoData;

#[derive(Debug, thiserror::Error, Serialize, Deserialize, RemoteError)]
enum NoMessage {
    #[error("{0}")]
    #[remote_error(other)]
    Number(u32),
}

#[hypha_service]
trait Lab {
    async fn text(&self) -> Result<u32, NoText>;
    async fn data(&self) -> Result<u32, NoData>;
    async fn message(&self) -> Result<u32, NoMessage>;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.message();
}
