//! `hypha clients`, `hypha kick` and `hypha ping`: list, disconnect and ping the connected clients.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use hypha_rpc::{Value, args};

use crate::connection::ConnectionOptions;
use crate::failure::Failure;
use crate::{duration, output};

/// Id of the service through which administrators disconnect clients.
const ADMIN: &str = "ws-user-root/admin-utils";

/// List the connected clients of a workspace
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha clients
  hypha clients microscopes --json")]
pub(crate) struct Options {
    #[command(flatten)]
    connection: ConnectionOptions,
    /// Workspace to list. Default: the workspace of the connection
    #[arg(value_name = "WORKSPACE")]
    listed: Option<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let client = options.connection.connect().await?;
    let clients = client.manager().await?.list_clients(options.listed).await;
    client.disconnect().await;
    let mut clients = clients?;
    clients.sort_by(|a, b| a.id.cmp(&b.id));
    if options.json {
        return output::json(&clients);
    }
    let rows = clients.iter().map(|client| {
        let user = &client.user;
        let user_name = user.email.clone().unwrap_or_else(|| user.id.clone());
        vec![client.id.clone(), user_name, user.roles.join(", ")]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    output::write(&output::table(&["ID", "USER", "ROLES"], &rows), None)
}

/// Disconnect a client (for administrators of the server)
///
/// Most clients then reconnect automatically.
#[derive(Args)]
#[command(after_long_help = "\
Example:
  hypha kick microscopes/camera-1 --reason 'maintenance'")]
pub(crate) struct KickOptions {
    #[command(flatten)]
    connection: ConnectionOptions,
    /// Client to disconnect: `client` or `workspace/client`
    client: String,
    /// Reason that is sent to the client
    #[arg(long, default_value = "Admin requested disconnect")]
    reason: String,
}

pub(crate) async fn kick(options: KickOptions) -> Result<()> {
    let client = options.connection.connect().await?;
    let own = client.workspace();
    let (workspace, id) = options
        .client
        .split_once('/')
        .unwrap_or((&own, &options.client));
    let admin = client.get_service(ADMIN).await;
    let admin = admin.context("the administration of the server is not accessible")?;
    let args = args!(
        workspace = workspace,
        client_id = id,
        reason = &options.reason
    );
    let kicked = admin.call::<Value>("kickout_client", args).await;
    client.disconnect().await;
    match kicked {
        // The Python server and `hypha-server` both use these words in their error messages.
        Err(error) if error.to_string().contains("not connected") => {
            Err(Failure::NotFound(format!("{workspace}/{id} is not connected")).into())
        }
        Err(error) => Err(error.into()),
        Ok(_) => output::say(&format!("Disconnected {workspace}/{id}")),
    }
}

/// Measure the round trip to a client
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha ping microscopes/camera-1
  hypha ping camera-1 --count 10 --interval 100ms")]
pub(crate) struct PingOptions {
    #[command(flatten)]
    connection: ConnectionOptions,
    /// Client to ping: `client` or `workspace/client`
    client: String,
    /// Number of pings
    #[arg(long, short, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Interval between two pings
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse)]
    interval: Duration,
    /// Timeout of a ping
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    timeout: Duration,
}

pub(crate) async fn ping(options: PingOptions) -> Result<()> {
    let client = options.connection.connect().await?;
    let result = pings(&client, &options).await;
    client.disconnect().await;
    result
}

async fn pings(client: &hypha_rpc::Client, options: &PingOptions) -> Result<()> {
    for number in 1..=options.count {
        if number > 1 {
            tokio::time::sleep(options.interval).await;
        }
        let begin = Instant::now();
        client.ping(&options.client, options.timeout).await?;
        let ms = begin.elapsed().as_secs_f64() * 1000.0;
        output::say(&format!("pong from {}: {ms:.2} ms", options.client))?;
    }
    Ok(())
}
