//! Calls a Python or JavaScript service through a typed proxy. The guide shows that service.
//!
//! `HYPHA_SERVER_URL=.. cargo run -p hypha-rpc-examples --example segmenter -- SERVICE_ID`

use hypha_rpc::prelude::*;

/// Errors of the service.
#[derive(Debug, thiserror::Error, Serialize, Deserialize, RemoteError)]
enum SegmentError {
    #[error("{0}")]
    #[remote_error(class = ["ValueError", "RangeError"])]
    BadInput(String),
    #[error("{0}")]
    #[remote_error(other)]
    Other(String),
}

/// Contract of the service. Only its proxy is used.
#[hypha_service]
trait Segmenter {
    /// Find the pixels that are brighter than the threshold.
    async fn segment(&self, image: Vec<f64>, threshold: f64) -> Result<Vec<bool>, SegmentError>;

    /// Stream the indices of the brighter pixels.
    async fn bright(&self, image: Vec<f64>) -> Result<RemoteStream<u32>, SegmentError>;
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let service = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "segmenter".into());
    let connect = hypha_rpc::client::ConnectOptions::from_env()?;
    let hypha = connect.retry_on_initial_connect(true).await?;
    let segmenter: SegmenterProxy = hypha.proxy(service).await?;

    let mask = segmenter.segment(vec![0.1, 0.9, 0.5], 0.4).await?;
    println!("mask: {mask:?}");
    match segmenter.segment(vec![], 0.4).await {
        Err(Error::Service(SegmentError::BadInput(message))) => println!("refused: {message}"),
        other => println!("not refused: {other:?}"),
    }
    let mut bright = segmenter.bright(vec![0.1, 0.9, 0.7]).await?;
    while let Some(number) = bright.try_next().await? {
        println!("bright: {number}");
    }
    Ok(())
}
