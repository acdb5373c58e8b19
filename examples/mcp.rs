//! Provides a stage with a camera to language models. The guide shows this program.
//!
//! `HYPHA_SERVER_URL=.. cargo run -p hypha-rpc-examples --example mcp`

use std::sync::Mutex;

use futures_util::stream;
use hypha_rpc::prelude::*;

/// A position on the stage, in millimetres.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Position {
    x: f64,
    y: f64,
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize, RemoteError)]
enum StageError {
    #[error("x is outside of the stage, which goes from 0 to 100")]
    #[remote_error(class = "ValueError")]
    Outside,
}

struct Stage(Mutex<Position>);

/// A stage that carries a sample below a camera.
#[hypha_service(id = "stage", visibility = "public")]
impl Stage {
    /// Move the sample and return its new position.
    pub async fn move_to(
        &self,
        /// Distance from the left, in millimetres.
        x: f64,
        /// Distance from the front, in millimetres.
        #[hypha(default = 0.0)]
        y: f64,
    ) -> Result<Position, StageError> {
        if !(0.0..=100.0).contains(&x) {
            return Err(StageError::Outside);
        }
        let mut position = self.0.lock().unwrap_or_else(|lock| lock.into_inner());
        *position = Position { x, y };
        Ok(*position)
    }

    /// Take a picture of the sample.
    pub async fn snap(&self) -> Result<NdArray, String> {
        let pixels = (0..=255).collect::<Vec<u8>>();
        NdArray::from_vec([16, 16], pixels).map_err(|error| error.to_string())
    }

    /// Measure the brightness at several places in turn.
    pub async fn survey(&self, places: u16) -> impl Stream<Item = f64> {
        stream::iter((1..=places).map(|place| 1.0 / f64::from(place)))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let hypha = hypha_rpc::client::ConnectOptions::from_env()?.await?;
    let stage = Stage(Mutex::new(Position { x: 0.0, y: 0.0 }));
    hypha.register_service(stage).await?;
    println!("/{}/mcp/stage", hypha.workspace());
    hypha.run_until_ctrl_c().await?;
    Ok(())
}
