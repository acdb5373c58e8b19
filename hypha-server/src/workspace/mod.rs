//! Manages the lifetime of workspaces. A workspace starts with its first client, and may end with
//! its last client.
//!
//! The module `session` calls [`open`] when it attaches a client, and [`client_left`] when the
//! client has disconnected. In a cluster, the module `server` runs `watch_servers` and
//! `remove_orphans`, which remove the clients and workspaces of failed servers. The module
//! `provider` makes calls to clients on behalf of the manager.
//!
//! [`State::workspace_records`] is locked while a workspace is stored or removed. `session` also
//! holds this lock while it attaches a client to the router. So a workspace is not removed while
//! its first client enters. The lock covers one server only; `remove_orphans` has a separate rule
//! for a cluster.

mod provider;

#[cfg(feature = "redis")]
use std::collections::HashSet;
#[cfg(feature = "redis")]
use std::sync::Arc;
#[cfg(feature = "redis")]
use std::sync::atomic::Ordering;

use hypha_rpc::workspace::{Permission, UserInfo, WorkspaceInfo, WorkspaceProperties};
use hypha_rpc::{Map, Value};
use hypha_wire::keys::BUILT_IN;
use serde_json::json;

pub(crate) use self::provider::{call, fetch, ping};
#[cfg(feature = "redis")]
use crate::auth;
use crate::bus::Notice;
use crate::peer::{CloseOrder, Peer};
use crate::registry::{Registry, RegistryError, ServicePattern};
use crate::router::{CLIENT_DISCONNECTED, SERVER_WORKSPACE};
use crate::state::State;

/// Delay of the first search for orphans after the start.
#[cfg(feature = "redis")]
const FIRST_ORPHAN_SEARCH: std::time::Duration = std::time::Duration::from_secs(5);

/// Interval at which the server sends a heartbeat to the other servers.
#[cfg(feature = "redis")]
const BEAT: std::time::Duration = std::time::Duration::from_secs(1);

/// Ids and descriptions of the workspaces that always exist and are never removed.
pub(crate) const SYSTEM_WORKSPACES: [(&str, &str); 3] = [
    ("public", "Public workspace"),
    ("ws-user-root", "Root workspace"),
    ("ws-anonymous", "Shared workspace for anonymous users"),
];

/// Lower bound on the pause between two checks for empty workspaces, so that a short grace period
/// costs little.
const UNLOAD_CHECK_MIN: std::time::Duration = std::time::Duration::from_millis(20);

/// Returns whether a workspace is one of [`SYSTEM_WORKSPACES`].
pub(crate) fn is_system(workspace: &str) -> bool {
    SYSTEM_WORKSPACES.iter().any(|(id, _)| *id == workspace)
}

/// Returns the `status` of a workspace that is ready for clients, in the format of the Python
/// server.
pub(crate) fn ready() -> Option<Value> {
    Some(Value::from(Map::from_iter([
        ("ready".to_owned(), Value::from(true)),
        ("errors".to_owned(), Value::Null),
    ])))
}

/// Returns whether the `status` of a workspace says that the workspace is ready for clients.
pub(crate) fn is_ready(workspace: &WorkspaceInfo) -> bool {
    let status = workspace.status.as_ref();
    status.and_then(|status| status.get("ready")?.as_bool()) == Some(true)
}

/// Stores the missing [`SYSTEM_WORKSPACES`]. Does not change existing records.
pub(crate) async fn create_system_workspaces(registry: &dyn Registry) -> Result<(), RegistryError> {
    for (id, description) in SYSTEM_WORKSPACES {
        let workspace = WorkspaceInfo {
            id: id.into(),
            name: id.into(),
            properties: WorkspaceProperties {
                description: Some(description.into()),
                persistent: true,
                read_only: id != "ws-user-root",
                owners: vec!["root".into()],
                ..WorkspaceProperties::default()
            },
            status: ready(),
            ..WorkspaceInfo::default()
        };
        if registry.workspace(id).await?.is_none() {
            registry.put_workspace(workspace).await?;
        }
    }
    Ok(())
}

/// Returns the record of the workspace `id`, or a new record if `id` is the user's own workspace.
/// Returns `None` for any other missing workspace. Stores nothing, so that a refused client leaves
/// nothing behind.
pub(crate) async fn find_or_plan(
    state: &State,
    user: &UserInfo,
    id: &str,
) -> Result<Option<WorkspaceInfo>, RegistryError> {
    if let Some(workspace) = state.registry.workspace(id).await? {
        return Ok(Some(workspace));
    }
    let own = id == user.own_workspace() && user.may(Permission::Read, id);
    Ok(own.then(|| own_workspace(user)))
}

/// Returns a new record of a user's own workspace. The workspace of an anonymous user is not
/// persistent, so it is removed with its last client.
pub(crate) fn own_workspace(user: &UserInfo) -> WorkspaceInfo {
    let id = user.own_workspace();
    let mut owners = vec![user.id.clone()];
    if !user.is_anonymous {
        owners.push("root".into());
    }
    WorkspaceInfo {
        name: id.clone(),
        properties: WorkspaceProperties {
            description: Some(if user.is_anonymous {
                "Anonymous workspace".into()
            } else {
                format!("Workspace for user {}", user.id)
            }),
            persistent: !user.is_anonymous,
            read_only: user.is_anonymous,
            owners,
            ..WorkspaceProperties::default()
        },
        status: ready(),
        id,
        ..WorkspaceInfo::default()
    }
}

/// Stores the workspace of a new client as ready. If the registry has a record of the workspace by
/// now, uses this record instead of `planned`. The caller must hold [`State::workspace_records`].
pub(crate) async fn open(state: &State, planned: WorkspaceInfo) -> Result<(), RegistryError> {
    let mut workspace = state
        .registry
        .workspace(&planned.id)
        .await?
        .unwrap_or(planned);
    if !is_ready(&workspace) {
        workspace.status = ready();
    }
    state.registry.put_workspace(workspace).await
}

/// Removes a client whose connection has ended. Also removes the client's workspace if it is empty
/// and not persistent, immediately or after the grace period. Does nothing if a newer connection
/// has taken the client's address, or if the client was already removed.
///
/// The order matters. The client is detached first, so that it receives no more messages. The
/// client's services are removed before the event, so that subscribers do not find these services.
/// Partners that the event does not reach are notified last.
pub(crate) async fn client_left(state: &State, peer: &Peer) {
    // `detach` returns true only once per peer, so the rest of this function runs only once.
    if !state.router.detach(peer) {
        return;
    }
    let owner = state.owner(peer);
    if let Err(error) = state
        .registry
        .remove_client(&peer.workspace, &peer.client_id, Some(&owner))
        .await
    {
        tracing::error!(%error, peer = peer.address, "cannot remove the services of a client");
    }
    let data = json!({"id": peer.client_id, "workspace": peer.workspace});
    let (workspace, kind) = (&peer.workspace, CLIENT_DISCONNECTED);
    state
        .router
        .event_about(workspace, kind, &data, peer.generation);
    state.router.notify_partners(peer, true).await;
    if !state.settings.limits.unload_grace.is_zero() {
        state.emptied.add(&peer.workspace);
        return;
    }
    if let Err(error) = unload_if_empty(state, &peer.workspace).await {
        tracing::error!(%error, workspace = peer.workspace, "cannot unload a workspace");
    }
}

/// Returns the addresses of the clients in a workspace that have registered their built-in service.
/// The clients may be connected to any server of the cluster. The workspace `*` means all
/// workspaces.
pub(crate) async fn registered_clients(
    state: &State,
    workspace: &str,
) -> Result<Vec<String>, RegistryError> {
    let pattern = ServicePattern {
        workspace: workspace.to_owned(),
        name: BUILT_IN.to_owned(),
        ..ServicePattern::default()
    };
    let found = state.registry.find_services(&pattern).await?;
    let addresses = found.iter().map(|record| record.address().to_owned());
    Ok(addresses.collect())
}

/// Removes an unresponsive client, even if it is connected to another server or to no server.
pub(crate) async fn remove_unresponsive(state: &State, address: &str) {
    if let Some(peer) = state.router.find_address(address) {
        let order = CloseOrder::new(1001, "The client does not respond");
        peer.outbox.close(order);
        return client_left(state, &peer).await;
    }
    let Some((workspace, client_id)) = address.split_once('/') else {
        return;
    };
    if let Err(error) = state
        .registry
        .remove_client(workspace, client_id, None)
        .await
    {
        tracing::error!(%error, address, "cannot remove the services of a client");
    }
    let data = json!({"id": client_id, "workspace": workspace});
    state.router.event(workspace, CLIENT_DISCONNECTED, &data);
    state.router.notify_partners_of(address, true);
    state.router.bus().announce(Notice::Left {
        address: address.to_owned(),
    });
}

/// Removes orphans at intervals: services whose client is connected to no server, and workspaces
/// without clients. A server leaves orphans behind if it crashes, or if it cannot reach Redis while
/// a client disconnects.
#[cfg(feature = "redis")]
pub(crate) async fn remove_orphans(state: &State) {
    let interval = state.settings.limits.orphan_interval;
    let repeats = !interval.is_zero();
    let mut pause = FIRST_ORPHAN_SEARCH;
    if repeats {
        pause = pause.min(interval);
    }
    let mut empty = HashSet::new();
    // The loop makes at least two searches, because `remove_empty` removes only workspaces that
    // were empty in two consecutive searches.
    let mut searches_left = 2;
    loop {
        tokio::time::sleep(pause).await;
        pause = if repeats {
            interval
        } else {
            FIRST_ORPHAN_SEARCH
        };
        let addresses = match registered_clients(state, "*").await {
            Ok(addresses) => addresses,
            Err(error) => {
                tracing::warn!(%error, "cannot search for services without a client");
                continue;
            }
        };
        for address in &addresses {
            let (workspace, client_id) = address.split_once('/').unwrap_or_default();
            let limit = state.settings.limits.orphan_timeout;
            // Clients of this server need no ping, because their connections are monitored.
            if state.router.find(workspace, client_id).is_none()
                && ping(state, workspace, client_id, limit).await.is_err()
            {
                tracing::info!(address, "removed a client that is connected to no server");
                remove_unresponsive(state, address).await;
            }
        }
        empty = match remove_empty(state, &addresses, &empty).await {
            Ok(empty) => empty,
            Err(error) => {
                tracing::warn!(%error, "cannot search for workspaces without clients");
                continue;
            }
        };
        if !repeats {
            searches_left -= 1;
            if searches_left == 0 {
                return;
            }
        }
    }
}

/// Removes the workspaces that have no clients now and had none in the previous search (`empty`). A
/// workspace that is empty for the first time is kept, because its first client may be connecting
/// to another server. Returns the workspaces that are empty now.
#[cfg(feature = "redis")]
async fn remove_empty(
    state: &State,
    addresses: &[String],
    empty: &HashSet<String>,
) -> Result<HashSet<String>, RegistryError> {
    let used: HashSet<&str> = addresses
        .iter()
        .filter_map(|address| address.split_once('/'))
        .map(|(workspace, _)| workspace)
        .collect();
    let all = state.registry.workspaces().await?;
    let known: HashSet<&str> = all.iter().map(|workspace| workspace.id.as_str()).collect();
    // The logs of removed workspaces are dropped here, because the server that removes a workspace
    // drops only its own log of the workspace.
    state.event_log.retain(|id| known.contains(id));
    let found: HashSet<String> = all
        .into_iter()
        .filter(|workspace| !workspace.properties.persistent && !is_system(&workspace.id))
        .map(|workspace| workspace.id)
        .filter(|id| !used.contains(id.as_str()) && state.router.members(id).is_empty())
        .collect();
    for id in found.intersection(empty) {
        unload_if_empty(state, id).await?;
    }
    Ok(found)
}

/// Sends heartbeats to the other servers, and removes the records of servers whose heartbeats have
/// stopped. Never returns.
#[cfg(feature = "redis")]
pub(crate) async fn watch_servers(state: &Arc<State>) {
    let mut beats = tokio::time::interval(BEAT);
    // Missed heartbeats are not made up after a pause, because one heartbeat has the effect of
    // several heartbeats.
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut missed_notices = false;
    loop {
        beats.tick().await;
        let begun = tokio::time::Instant::now();
        let beat = state.registry.beat().await;
        let latency = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        state.redis_latency.store(latency, Ordering::Relaxed);
        let pulse = match beat {
            Ok(pulse) => pulse,
            Err(error) => {
                tracing::debug!(%error, "cannot send a beat to the other servers");
                continue;
            }
        };
        // The flag is kept until the tokens have been read, because `was_interrupted` returns true
        // only once.
        missed_notices |= state.router.bus().was_interrupted();
        if missed_notices {
            match state.registry.revoked_tokens(auth::now()).await {
                Ok(revoked) => {
                    missed_notices = false;
                    for (token, end) in revoked {
                        state.issuer.remember_all_revoked(&token, end);
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot read the revoked tokens"),
            }
        }
        if pulse.was_removed {
            // Another server considered this server dead, and removed its records. This server
            // closes all connections, because clients register their services only when they
            // connect.
            tracing::warn!(
                "another server has removed the records of this server; clients reconnect"
            );
            let own = &state.info.server_id;
            let internal =
                |peer: &Peer| peer.workspace == SERVER_WORKSPACE || peer.client_id == *own;
            for peer in state.router.all(internal) {
                let order =
                    CloseOrder::new(1001, "The server has lost contact with the other servers");
                peer.outbox.close(order);
            }
        }
        for server in pulse.dead {
            // The removal runs in a separate task, because the next heartbeat must not wait for it.
            let cleaning = state.clone();
            state
                .shutdown
                .spawn(async move { remove_server(&cleaning, &server).await });
        }
    }
}

/// Removes the records that a failed server has left behind, and announces that the clients of that
/// server have disconnected. Does nothing if another server has already removed the records.
#[cfg(feature = "redis")]
async fn remove_server(state: &State, server_id: &str) {
    let clients = match state.registry.remove_server(server_id).await {
        Ok(Some(clients)) => clients,
        // Another server has already removed the records.
        Ok(None) => return,
        Err(error) => {
            return tracing::error!(%error, server_id, "cannot remove the records of a server");
        }
    };
    tracing::warn!(
        server_id,
        clients = clients.len(),
        "another server has ended without removing its records"
    );
    state.counters.servers_lost.add();
    let server = server_id.to_owned();
    state.router.bus().announce(Notice::ServerLost { server });
    for address in clients {
        let Some((workspace, client_id)) = address.split_once('/') else {
            continue;
        };
        let data = json!({"id": client_id, "workspace": workspace});
        state.router.event(workspace, CLIENT_DISCONNECTED, &data);
        state.router.notify_partners_of(&address, true);
        state.router.bus().announce(Notice::Left {
            address: address.clone(),
        });
        if let Err(error) = unload_if_empty(state, workspace).await {
            tracing::error!(%error, workspace, "cannot unload a workspace");
        }
    }
}

/// Removes a client inside the server when its connection has ended. Sends no event about the
/// disconnect, because there was no event about the connect. Does nothing if the client was already
/// removed.
pub(crate) async fn internal_client_left(state: &State, peer: &Peer) {
    if !state.router.detach(peer) {
        return;
    }
    // Partners of an address in the workspace `*` are not notified, because the address stays
    // usable: the next message to this address connects another client on demand.
    if peer.workspace != SERVER_WORKSPACE {
        // All partners are notified, because there was no event about the disconnect.
        state.router.notify_partners(peer, false).await;
    }
    if let Err(error) = unload_if_empty(state, &peer.workspace).await {
        tracing::error!(%error, workspace = peer.workspace, "cannot unload a workspace");
    }
}

/// Unloads each workspace when its grace period ends, unless a client has connected in this period.
/// Returns immediately if there is no grace period.
pub(crate) async fn unload_emptied(state: &State) {
    let grace = state.settings.limits.unload_grace;
    if grace.is_zero() {
        return;
    }
    loop {
        tokio::time::sleep((grace / 4).max(UNLOAD_CHECK_MIN)).await;
        for workspace in state.emptied.due(grace) {
            if let Err(error) = unload_if_empty(state, &workspace).await {
                tracing::error!(%error, workspace, "cannot unload a workspace");
            }
        }
    }
}

/// Removes a workspace without clients. Does not remove a persistent workspace, but marks it as not
/// ready.
pub(crate) async fn unload_if_empty(state: &State, id: &str) -> Result<(), RegistryError> {
    let _guard = state.workspace_records.lock().await;
    // A workspace is kept while the server stops, because its clients will reconnect to this server
    // or to another server.
    if is_system(id) || state.shutdown.is_stopping() || !state.router.members(id).is_empty() {
        return Ok(());
    }
    let Some(mut workspace) = state.registry.workspace(id).await? else {
        return Ok(());
    };
    // The registry is asked too, because clients may be connected to other servers.
    if !registered_clients(state, id).await?.is_empty() {
        return Ok(());
    }
    if workspace.properties.persistent {
        workspace.status = None;
        state.registry.put_workspace(workspace).await
    } else {
        state.event_log.forget(id);
        state.registry.remove_workspace(id).await.map(drop)
    }
}
