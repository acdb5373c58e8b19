//! Provides the conformance service, which is used to check Hypha clients in any language.
//!
//! `cargo run -p hypha-rpc-examples --example conformance -- --server-url URL`

use clap::Parser;
use hypha_rpc_examples::host::HostOptions;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let client = HostOptions::parse().serve().await?;
    client.run_until_ctrl_c().await?;
    Ok(())
}
