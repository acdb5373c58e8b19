//! Provides the conformance service, which is used to check Hypha clients in any language.
//!
//! `cargo run -p hypha-rpc-examples --example conformance -- --server-url URL`

use std::io::Write;

use clap::Parser;
use hypha_rpc::prelude::*;
use hypha_rpc::transport::Transport;
use hypha_rpc_examples::conformance::ConformanceService;
use hypha_rpc_examples::host::Host;

/// Provides the service `conformance`, prints `READY <full service id>`, and runs until Ctrl-C or
/// SIGTERM.
#[derive(Parser)]
struct Options {
    /// URL of the Hypha server.
    #[arg(long)]
    server_url: String,
    /// Workspace to connect to. Default: the user's own workspace.
    #[arg(long)]
    workspace: Option<String>,
    /// Access token for the workspace.
    #[arg(long)]
    token: Option<String>,
    /// Id of this client. Default: a random id.
    #[arg(long)]
    client_id: Option<String>,
    /// Transport: `websocket`, `http` or `auto`.
    #[arg(long, default_value = "websocket")]
    transport: Transport,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let options = Options::parse();
    let mut connect = hypha_rpc::connect(options.server_url).transport(options.transport);
    if let Some(workspace) = options.workspace {
        connect = connect.workspace(workspace);
    }
    if let Some(token) = options.token {
        connect = connect.token(token);
    }
    if let Some(client_id) = options.client_id {
        connect = connect.client_id(client_id);
    }
    let hypha = connect.await?;
    // The service is public, so that callers in other workspaces can call it by its full id.
    let info = hypha
        .register_service(ConformanceService::new(Host::default()))
        .visibility(Visibility::Public)
        .await?;
    println!("READY {}", info.id);
    std::io::stdout().flush()?;
    hypha.run_until_ctrl_c().await?;
    Ok(())
}
