//! `hypha watch` and `hypha logs`: print the events and the log of a workspace.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use futures_util::StreamExt as _;
use hypha_rpc::client::EventKind;
use hypha_rpc::{Client, Value};
use serde_json::json;

use super::load::{Rates, Readings, load};
use crate::connection::ConnectionOptions;
use crate::interrupt::{GRACE, unless_interrupted};
use crate::output::{self, Style, paint};
use crate::{duration, values};

/// The events that servers send about a workspace.
const KINDS: [EventKind<'static>; 8] = [
    EventKind::ClientConnected,
    EventKind::ClientDisconnected,
    EventKind::ClientUpdated,
    EventKind::ServiceAdded,
    EventKind::ServiceRemoved,
    EventKind::WorkspaceChanged,
    EventKind::WorkspaceLoaded,
    EventKind::WorkspaceDeleted,
];

/// Print the events of the workspace as they arrive
///
/// Without names, prints the events of the server: clients and services that were added or removed,
/// and changes of the workspace. Clients that offer no services, such as this command, are left
/// out. `--metrics` adds the load of the whole server. Ctrl-C ends the command.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha watch
  hypha watch --metrics 5s
  hypha watch service_added service_removed --json
  hypha watch plate_ready")]
pub(crate) struct Options {
    #[command(flatten)]
    connection: ConnectionOptions,
    /// Types of events to print, including types that programs emit
    #[arg(value_name = "EVENT")]
    kinds: Vec<String>,
    /// Print each event as one line of JSON
    #[arg(long)]
    json: bool,
    /// Also print the load of the server at this interval: connections, messages, and calls over
    /// HTTP with their failures and mean latency. The Python server counts only the first two
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    metrics: Option<Duration>,
    /// Exit after this number of lines
    #[arg(long, value_name = "NUMBER")]
    count: Option<usize>,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let load = options.metrics.map(|interval| {
        let connection = options.connection.resolve()?;
        load(&connection.server_url, interval)
    });
    let load = load.transpose()?;
    let client = options.connection.connect().await?;
    let watched = unless_interrupted(watch(&client, load, &options)).await;
    client.shutdown(GRACE).await;
    watched.unwrap_or(Ok(()))
}

async fn watch(client: &Client, mut load: Option<Readings>, options: &Options) -> Result<()> {
    let kinds: Vec<&str> = match options.kinds.as_slice() {
        [] => KINDS.iter().map(EventKind::as_str).collect(),
        named => named.iter().map(String::as_str).collect(),
    };
    let streams = kinds.iter().map(|kind| client.events(kind));
    let mut events = futures_util::stream::select_all(streams);
    client.subscribe(kinds.iter().copied()).await?;
    let mut announced = match options.kinds.is_empty() {
        true => Announced::now(client).await,
        false => None,
    };
    output::note(&format!("watching {}", client.workspace()));
    let mut count = 0;
    while options.count.is_none_or(|most| count < most) {
        let event = tokio::select! {
            event = events.next() => event,
            load = next(&mut load) => {
                let load = match load {
                    Ok(load) => load,
                    // The server may be back at the next reading, as after a restart.
                    Err(error) => {
                        output::note(&format!("{error:#}"));
                        continue;
                    }
                };
                count += 1;
                match options.json {
                    true => output::say(&json!({"type": "metrics", "data": load}).to_string())?,
                    false => output::say(&row("metrics", &load.to_string()))?,
                }
                continue;
            }
            reason = client.closed() => anyhow::bail!("the connection is closed: {reason}"),
        };
        let Some(event) = event else {
            anyhow::bail!("the connection is closed");
        };
        let kind = event.kind();
        let shows = announced.as_mut().map(|it| it.shows(&kind, event.data()));
        if shows == Some(false) {
            continue;
        }
        count += 1;
        if options.json {
            let event = json!({
                "type": kind.as_str(),
                "from": event.from(),
                "data": values::json(event.data()),
            });
            output::say(&event.to_string())?;
        } else {
            output::say(&text(kind.as_str(), event.data()))?;
        }
    }
    Ok(())
}

/// Returns the next measurement of the load, and never returns without `--metrics`.
async fn next(load: &mut Option<Readings>) -> Result<Rates> {
    let next = match load {
        Some(load) => load.next().await,
        None => None,
    };
    match next {
        Some(rates) => rates,
        None => std::future::pending().await,
    }
}

/// Clients whose connect was announced. The server also sends an event when another client leaves,
/// such as this command or a request of the console, which would hide the others.
struct Announced(HashSet<String>);

impl Announced {
    /// Returns the clients that are connected now, or `None` if the user may not list them.
    async fn now(client: &Client) -> Option<Announced> {
        let manager = client.manager().await.ok()?;
        let listed = manager.list_clients(None).await.ok()?;
        let ids = listed.iter().map(|client| short(&client.id).to_owned());
        Some(Announced(ids.collect()))
    }

    /// Returns whether to print an event.
    fn shows(&mut self, kind: &EventKind<'_>, data: &Value) -> bool {
        let id = data.get("id").and_then(Value::as_str).unwrap_or_default();
        match kind {
            EventKind::ClientConnected | EventKind::ClientUpdated => {
                self.0.insert(short(id).to_owned());
                true
            }
            EventKind::ClientDisconnected => self.0.remove(short(id)),
            _ => true,
        }
    }
}

/// Returns the id of a client without its workspace.
fn short(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

/// Formats an event as one line: type, object, other data.
fn text(kind: &str, data: &Value) -> String {
    let id = data.get("id").and_then(Value::as_str);
    let rest = match (id, data) {
        (Some(id), _) => output::line(id),
        (None, Value::Null) => String::new(),
        (None, other) => output::line(&values::one_line(other)),
    };
    row(kind, &rest)
}

/// Formats a type and its data as one line.
fn row(kind: &str, rest: &str) -> String {
    let kind = format!("{:<20}", output::line(kind));
    let row = format!("{} {rest}", paint(Style::Bold, &kind));
    row.trim_end().to_owned()
}

/// Print the log of the workspace: messages and events that programs wrote
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha logs
  hypha logs --type log --since 2026-01-01T00:00:00Z --json")]
pub(crate) struct LogsOptions {
    #[command(flatten)]
    connection: ConnectionOptions,
    /// Only entries of this type; messages have the type `log`
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only entries from this time on (ISO 8601)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only entries up to this time (ISO 8601)
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn logs(options: LogsOptions) -> Result<()> {
    let client = options.connection.connect().await?;
    let manager = client.manager().await?;
    let entries = manager
        .get_events(options.kind, options.since, options.until)
        .await;
    client.disconnect().await;
    let entries = entries?;
    if options.json {
        return output::json(&entries);
    }
    for entry in entries {
        let line = format!(
            "{} {} {}",
            paint(Style::Dim, &output::line(&entry.timestamp)),
            paint(Style::Bold, &output::line(&entry.event_type)),
            output::line(&values::one_line(&entry.data))
        );
        output::say(line.trim_end())?;
    }
    Ok(())
}
