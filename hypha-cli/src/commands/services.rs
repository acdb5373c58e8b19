//! `hypha services`: lists the services that the user may see.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use hypha_rpc::Client;
use hypha_rpc::client::{Event, EventKind};
use hypha_rpc::workspace::{ServiceFilter, ServiceInfo, ServiceQuery, Visibility};
use serde_json::json;

use crate::connection::ConnectionOptions;
use crate::interrupt::{GRACE, unless_interrupted};
use crate::output::{self, Style, paint};

/// Interval at which `--watch` lists the services even if no event arrives. The interval is
/// necessary because this client receives no events from other workspaces.
const LIST_INTERVAL: Duration = Duration::from_secs(2);
/// Time between an event and the next list. The pause exists because a client usually adds or
/// removes all its services in quick succession.
const SETTLE_TIME: Duration = Duration::from_millis(50);
/// Maximum length of a description in the table, in characters.
const DESCRIPTION: usize = 60;

/// List services
///
/// In a pattern, `*` matches any string.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha services
  hypha services public --json
  hypha services '*' --type microscope
  hypha services --id 'camera-*' --watch")]
pub(crate) struct Options {
    #[command(flatten)]
    connection: ConnectionOptions,
    /// Workspace to search, or `*` for the public services of all workspaces. Default: the
    /// workspace of the connection
    #[arg(value_name = "WORKSPACE")]
    searched: Option<String>,
    /// Only services of this type
    #[arg(long = "type", value_name = "PATTERN")]
    kind: Option<String>,
    /// Only services with this visibility: public, protected or unlisted
    #[arg(long, value_name = "PATTERN")]
    visibility: Option<String>,
    /// Only services with this name, the last part of the id
    #[arg(long, value_name = "PATTERN")]
    id: Option<String>,
    /// Only services of this client
    #[arg(long, value_name = "PATTERN")]
    client: Option<String>,
    /// Also list the unlisted services of the connection's workspace
    #[arg(long, short)]
    all: bool,
    /// Print the records of the services as JSON
    #[arg(long)]
    json: bool,
    /// Keep running, and print services that are added or removed
    #[arg(long, short)]
    watch: bool,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let client = options.connection.connect().await?;
    let result = if options.watch {
        let watched = unless_interrupted(watch(&client, &options)).await;
        watched.unwrap_or(Ok(()))
    } else {
        show(&client, &options).await
    };
    client.shutdown(GRACE).await;
    result
}

async fn list(client: &Client, options: &Options) -> Result<BTreeMap<String, ServiceInfo>> {
    let filter = ServiceFilter {
        workspace: options.searched.clone(),
        kind: options.kind.clone(),
        visibility: options.visibility.clone(),
        id: options.id.clone(),
        client_id: options.client.clone(),
        ..ServiceFilter::default()
    };
    let query = (filter != ServiceFilter::default()).then(|| ServiceQuery::from(filter));
    let mut list = client.list_services(query);
    if options.all {
        list = list.include_unlisted();
    }
    let services = list.await?.into_iter();
    Ok(services
        .map(|service| (service.id.clone(), service))
        .collect())
}

async fn show(client: &Client, options: &Options) -> Result<()> {
    let services = list(client, options).await?;
    if options.json {
        return output::json(&services.values().collect::<Vec<_>>());
    }
    let rows: Vec<Vec<String>> = services.values().map(row).collect();
    output::write(&output::table(&HEAD, &rows), None)
}

const HEAD: [&str; 5] = ["ID", "NAME", "TYPE", "VISIBILITY", "DESCRIPTION"];

fn row(service: &ServiceInfo) -> Vec<String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut description = output::line(&text(&service.description));
    if let Some((cut, _)) = description.char_indices().nth(DESCRIPTION) {
        description.truncate(cut);
        description.push('…');
    }
    vec![
        service.id.clone(),
        text(&service.name),
        text(&service.kind),
        visibility(service.config.visibility).to_owned(),
        description,
    ]
}

/// Returns the name of a visibility.
pub(crate) fn visibility(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Public => "public",
        Visibility::Protected => "protected",
        Visibility::Unlisted => "unlisted",
    }
}

async fn watch(client: &Client, options: &Options) -> Result<()> {
    let kinds = [
        EventKind::ServiceAdded,
        EventKind::ServiceRemoved,
        EventKind::ClientDisconnected,
    ];
    let [mut added, mut removed, mut gone] = kinds.map(|kind| client.events(kind.as_str()));
    client.subscribe(kinds.map(|kind| kind.as_str())).await?;
    let mut known = BTreeMap::new();
    let mut failures = 0;
    loop {
        match list(client, options).await {
            Ok(services) => {
                changes(&known, &services, options)?;
                (known, failures) = (services, 0);
            }
            // Retry, because the connection may be reconnecting.
            Err(error) if failures < 3 => {
                failures += 1;
                output::report(&error);
            }
            Err(error) => return Err(error),
        }
        let happened = |event: Option<Event>| async move {
            match event {
                Some(_) => tokio::time::sleep(SETTLE_TIME).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = added.next() => happened(event).await,
            event = removed.next() => happened(event).await,
            event = gone.next() => happened(event).await,
            () = tokio::time::sleep(LIST_INTERVAL) => {}
            reason = client.closed() => anyhow::bail!("the connection is closed: {reason}"),
        }
    }
}

/// Prints the services that were added or removed between two lists.
fn changes(
    old: &BTreeMap<String, ServiceInfo>,
    new: &BTreeMap<String, ServiceInfo>,
    options: &Options,
) -> Result<()> {
    let added = new.iter().filter(|(id, _)| !old.contains_key(*id));
    let removed = old.iter().filter(|(id, _)| !new.contains_key(*id));
    let added = added.map(|(_, service)| ("added", Style::Green, service));
    let removed = removed.map(|(_, service)| ("removed", Style::Red, service));
    for (change, style, service) in removed.chain(added) {
        if options.json {
            output::say(&json!({"change": change, "service": service}).to_string())?;
        } else {
            let change = paint(style, &format!("{change:<8}")).into_owned();
            let id = output::line(&service.id);
            let kind = output::line(service.kind.as_deref().unwrap_or_default());
            output::say(&format!(
                "{change} {id}  {kind}  {}",
                visibility(service.config.visibility)
            ))?;
        }
    }
    Ok(())
}
