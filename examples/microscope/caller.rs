//! Uses the microscope from Rust.
//!
//! `HYPHA_SERVER_URL=.. cargo run -p hypha-rpc-examples --example microscope_caller -- SERVICE_ID`

use anyhow::Context as _;
use hypha_rpc::client::ConnectOptions;
use hypha_rpc::prelude::*;
use hypha_rpc_examples::microscope::{MicroscopeProxy, Position, Progress, Region, ScopeError};
use tokio::io::AsyncReadExt;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let id = std::env::args().nth(1).context("no id of a service")?;
    let connect = ConnectOptions::from_env()?;
    let hypha = connect.retry_on_initial_connect(true).await?;
    let microscope: MicroscopeProxy = hypha.proxy(id).await?;

    let region = Region {
        width: 3,
        height: 2,
    };
    let image = microscope.snap(0.5, Some(region)).await?;
    println!("image: {:?} {:?}", image.shape(), image.as_slice());
    match microscope.snap(60.0, None).await {
        Err(Error::Service(ScopeError::OutOfRange { quantity, to, .. })) => {
            println!("refused: {quantity} above {to}");
        }
        other => println!("not refused: {other:?}"),
    }

    // When the stream is dropped, the microscope stops sending images.
    let mut live = microscope.live(None).await?;
    for _ in 0..3 {
        let image = live.try_next().await?.context("the stream has ended")?;
        println!("live: {}", image.as_slice()[0]);
    }
    drop(live);

    let report = Callback::new(|Progress { done, total }| async move {
        println!("progress: {done} of {total}");
    });
    let file = microscope.acquire(3, Some(report)).await?;
    let mut file = file.on_progress(|progress| println!("received: {progress}"));
    let mut stack = Vec::new();
    file.read_to_end(&mut stack).await?;

    // The acquisition continues until a client cancels it, or until this program drops the call.
    let cancelling = microscope.clone();
    let report = Callback::new(move |progress: Progress| {
        let microscope = cancelling.clone();
        async move {
            if progress.done == 2 {
                let _ = microscope.cancel().await;
            }
        }
    });
    match microscope.acquire(1000, Some(report)).await {
        Err(Error::Service(error)) => println!("ended: {error}"),
        other => println!("not ended: {other:?}"),
    }

    let background = RemoteFile::from_bytes(100_u16.to_le_bytes().repeat(24))
        .on_progress(|progress| println!("sent: {progress}"));
    let size = microscope.set_background(background).await?;
    let image = microscope.snap(0.1, None).await?;
    println!("background: {size} bytes, then {}", image.as_slice()[0]);

    let stage = microscope.stage().await?;
    match stage.proxy().move_to(Position { x: 1.0, y: 2.0 }).await {
        Ok(position) => println!("moved: {position:?}"),
        Err(Error::Service(error)) => println!("not moved: {error}"),
        Err(error) => return Err(error.into()),
    }
    hypha.disconnect().await;
    Ok(())
}
