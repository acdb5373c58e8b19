//! Workspaces come with their first client and may go with their last.

use hypha_rpc::workspace::{Permission, UserInfo, WorkspaceInfo};
use hypha_rpc::{Map, Value};
use serde_json::json;

use crate::registry::{Registry, RegistryError};
use crate::session::Peer;
use crate::state::State;

/// Workspaces that are there from the start and never go.
pub(crate) const SYSTEM_WORKSPACES: [(&str, &str); 3] = [
    ("public", "Public workspace"),
    ("ws-user-root", "Workspace of the root user"),
    ("ws-anonymous", "Workspace of callers without credentials"),
];

pub(crate) fn is_system(workspace: &str) -> bool {
    SYSTEM_WORKSPACES.iter().any(|(id, _)| *id == workspace)
}

/// The status of a workspace that can be used.
pub(super) fn ready() -> Option<Value> {
    let ready = ("ready".to_owned(), Value::from(true));
    Some(Value::from(Map::from_iter([ready])))
}

pub(super) fn is_ready(workspace: &WorkspaceInfo) -> bool {
    let status = workspace.status.as_ref();
    status.and_then(|status| status.get("ready")?.as_bool()) == Some(true)
}

pub(crate) async fn create_system_workspaces(registry: &dyn Registry) -> Result<(), RegistryError> {
    for (id, description) in SYSTEM_WORKSPACES {
        let workspace = WorkspaceInfo {
            id: id.into(),
            name: id.into(),
            description: Some(description.into()),
            persistent: true,
            read_only: id == "public",
            owners: vec!["root".into()],
            status: ready(),
            ..WorkspaceInfo::default()
        };
        if registry.workspace(id).await?.is_none() {
            registry.put_workspace(workspace).await?;
        }
    }
    Ok(())
}

/// The record of the workspace that `user` wants to enter: an existing one, or the plan of one
/// that comes with it. Nothing is stored yet, so a refusal leaves nothing behind.
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

/// A user's own workspace as it begins.
pub(super) fn own_workspace(user: &UserInfo) -> WorkspaceInfo {
    let id = user.own_workspace();
    WorkspaceInfo {
        name: id.clone(),
        description: Some(if user.is_anonymous {
            "Anonymous workspace".into()
        } else {
            format!("Workspace for user {}", user.id)
        }),
        persistent: !user.is_anonymous,
        read_only: user.is_anonymous,
        owners: vec![user.id.clone()],
        status: ready(),
        id,
        ..WorkspaceInfo::default()
    }
}

/// A client has come: the workspace is there and in use. The caller holds
/// [`State::workspace_records`].
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

/// A connection has ended: nothing is routed to it any more, its services go, its workspace
/// hears of it. Nothing of this happens if a newer connection has taken its address.
pub(crate) async fn client_left(state: &State, peer: &Peer) {
    if !state.router.detach(peer) {
        return;
    }
    if let Err(error) = state
        .registry
        .remove_client(&peer.workspace, &peer.client_id)
        .await
    {
        tracing::error!(%error, peer = peer.address, "its services remain");
    }
    let data = json!({"id": peer.client_id, "workspace": peer.workspace});
    state
        .router
        .event(&peer.workspace, "client_disconnected", &data);
    if let Err(error) = unload_if_empty(state, &peer.workspace).await {
        tracing::error!(%error, workspace = peer.workspace, "the workspace remains");
    }
}

/// A client inside the server has gone. Nobody was told when it came.
pub(crate) async fn visitor_left(state: &State, peer: &Peer) {
    if state.router.detach(peer)
        && let Err(error) = unload_if_empty(state, &peer.workspace).await
    {
        tracing::error!(%error, workspace = peer.workspace, "the workspace remains");
    }
}

/// The last one turns off the light: a workspace that is not persistent goes with its last client.
async fn unload_if_empty(state: &State, id: &str) -> Result<(), RegistryError> {
    let _guard = state.workspace_records.lock().await;
    // Clients that a server sends away when it stops come back.
    if is_system(id) || state.is_stopping() || !state.router.members(id).is_empty() {
        return Ok(());
    }
    let Some(mut workspace) = state.registry.workspace(id).await? else {
        return Ok(());
    };
    if workspace.persistent {
        workspace.status = None;
        state.registry.put_workspace(workspace).await
    } else {
        state.events.forget(id);
        state.registry.remove_workspace(id).await.map(drop)
    }
}
