//! Registers services and removes them.
//!
//! A client first registers its built-in service, through which the server and other clients reach
//! the client. A record must not outlive the connection of its client, so registration checks the
//! connection before and after it stores the record.

use std::time::Duration;

use hypha_rpc::workspace::{
    ManagerError, Permission, SelectionMode, ServiceInfo, ServiceSelection, UserInfo, Visibility,
};
use hypha_rpc::{Context, Value};
use hypha_wire::keys::{BUILT_IN, RINTF_PREFIX};
use serde_json::json;

use super::{Answer, caller, in_own_workspace, resolve, unavailable};
use crate::registry::{Record, ServiceKey, ServicePattern};
use crate::shown::shown;
use crate::state::{State, WaitingCall};
use crate::workspace;

/// Maximum length of the description of a service, in characters.
const DESCRIPTION_MAX: usize = 1024;
/// Timeout for fetching a default service before its `setup` is called.
const SETUP_FETCH: Duration = Duration::from_secs(10);
/// Timeout for calling `setup` of a default service, including the time for fetching the service.
/// The registration waits for `setup`.
const SETUP: Duration = Duration::from_secs(60);

/// Registers a service of the calling client, or replaces a service that is registered under the
/// same id. Announces the change in the workspace.
///
/// If the service is local to its client, stores nothing and returns no error. The same applies if
/// the client has no built-in service: the client has then disconnected, and this registration
/// arrives late.
///
/// # Errors
///
/// Fails if the caller may not write in its workspace, or if the record is invalid or belongs to
/// another client. Also fails if a limit is exceeded, or a singleton would share its name with
/// another service.
pub(super) async fn register(
    state: &State,
    ctx: &Context,
    service: ServiceInfo,
    waiting: &mut WaitingCall,
) -> Answer<()> {
    let workspace = in_own_workspace(ctx, Permission::ReadWrite)?.to_owned();
    let client = caller(ctx);
    let service = complete(service, &workspace, ctx)?;
    let key = ServiceKey::parse(&service.id).ok_or_else(|| {
        ManagerError::Value(format!(
            "Invalid service id: {}, expected workspace/client:service, where the name of the service \
             has none of the characters / : @",
            shown(&service.id)
        ))
    })?;
    let name = key.name.to_owned();
    if format!("{}/{}", key.workspace, key.client) != client {
        return Err(ManagerError::Permission(format!(
            "Permission denied: {client} cannot register services of {workspace}/{}",
            shown(key.client)
        )));
    }
    // Older clients register their remote interfaces by mistake. An error would make their calls
    // fail, so the server ignores these registrations.
    if name.starts_with(RINTF_PREFIX)
        || service
            .config
            .extra
            .get("_local_only")
            .and_then(Value::as_bool)
            == Some(true)
    {
        tracing::debug!(
            service = service.id,
            "not registered: the service is local to its client"
        );
        return Ok(());
    }
    // The server's own services live in these two workspaces. The internal clients that provide
    // these services register no built-in service, so the check must not apply there.
    if name != BUILT_IN
        && !is_introduced(state, &workspace, key.client).await?
        && !matches!(workspace.as_str(), "public" | "ws-user-root")
    {
        tracing::debug!(
            service = service.id,
            "not registered: the client has disconnected"
        );
        return Ok(());
    }
    store(state, ctx, service, &name, &client, waiting).await
}

/// Completes a record: fills in the fields that the caller may omit, and sets the fields that only
/// the server may set (creator, workspace and embedding).
///
/// # Errors
///
/// Fails if a field is invalid, or the id belongs to another workspace.
fn complete(mut service: ServiceInfo, workspace: &str, ctx: &Context) -> Answer<ServiceInfo> {
    if !service.id.contains('/') {
        service.id = format!("{workspace}/{}", service.id);
    }
    // Clients prepend their address to the id of the service, which may already contain the
    // address. All copies of the address except one are removed.
    let prefix = format!("{}:", caller(ctx));
    while let Some(id) = service.id.strip_prefix(&prefix)
        && id.starts_with(&prefix)
    {
        service.id = id.to_owned();
    }
    if !service.id.contains(':') {
        return Err(ManagerError::Assertion(
            "Service id info must contain ':'".into(),
        ));
    }
    let prefix = service.id.split('/').next().unwrap_or_default();
    if prefix != workspace {
        return Err(ManagerError::Permission(format!(
            "Service ID workspace prefix '{}' does not match the current workspace '{workspace}'. \
             Cannot register services in other workspaces.",
            shown(prefix)
        )));
    }
    if service.app_id.as_ref().is_some_and(|app| app.contains('/')) {
        return Err(ManagerError::Assertion(
            "App id info must not contain '/'".into(),
        ));
    }
    // The indexes of the registry in Redis use NUL to separate these parts of a key.
    let unfit = |text: &String| text.chars().any(char::is_control);
    for (part, text) in [
        ("id", Some(&service.id)),
        ("type", service.kind.as_ref()),
        ("app id", service.app_id.as_ref()),
    ] {
        if text.is_some_and(unfit) {
            return Err(ManagerError::Value(format!(
                "the {part} of service {:?} contains a control character",
                shown(&service.id).to_string()
            )));
        }
    }
    let too_long = |text: &String| text.chars().nth(DESCRIPTION_MAX).is_some();
    if service.description.as_ref().is_some_and(too_long) {
        return Err(ManagerError::Value(format!(
            "The description has more than {DESCRIPTION_MAX} characters"
        )));
    }
    let visibility = service.config.visibility;
    if service.config.authorized_workspaces.is_some() && visibility != Visibility::Protected {
        return Err(ManagerError::Value(format!(
            "authorized_workspaces can only be set when visibility is 'protected', got \
             visibility='{}'",
            visibility.as_str()
        )));
    }
    let name = service.id.rsplit(':').next().unwrap_or_default().to_owned();
    let built_in = name == BUILT_IN && service.kind.as_deref() == Some(BUILT_IN);
    // The record of the built-in service contains the whole user, because `list_clients` reads the
    // user from this record. Records of other services need no e-mail address and no roles.
    let creator = if built_in {
        let user = UserInfo {
            current_workspace: Some(workspace.to_owned()),
            ..ctx.user().clone()
        };
        Value::encode_from(&user)
    } else {
        Value::encode_from(&json!({"id": ctx.user().id}))
    };
    service.config.created_by =
        Some(creator.map_err(|error| ManagerError::Value(error.to_string()))?);
    service.config.workspace = Some(workspace.to_owned());
    // The embedding is removed, because this server has no semantic search, and embeddings are
    // large.
    service.config.service_embedding = None;
    service.config.singleton.get_or_insert(false);
    service.name.get_or_insert(name);
    service.kind.get_or_insert_with(|| "generic".into());
    service.app_id = service
        .app_id
        .filter(|app| !app.is_empty())
        .or_else(|| Some("*".into()));
    Ok(service)
}

/// Returns whether the client has registered its built-in service. If the client has not, other
/// services of the client are ignored: their registration arrives after the removal of the client,
/// so their records would stay in the registry.
async fn is_introduced(state: &State, workspace: &str, client: &str) -> Answer<bool> {
    let pattern = ServicePattern {
        workspace: workspace.to_owned(),
        client: client.to_owned(),
        name: BUILT_IN.to_owned(),
        ..ServicePattern::default()
    };
    let found = state
        .registry
        .find_services(&pattern)
        .await
        .map_err(unavailable)?;
    Ok(!found.is_empty())
}

/// Stores the record of a service for the caller's connection, announces the service, and runs
/// `setup` of a new default service.
///
/// # Errors
///
/// Fails if the caller is not connected to this server, a limit is exceeded, the registry does not
/// respond, or `waiting` is evicted.
async fn store(
    state: &State,
    ctx: &Context,
    service: ServiceInfo,
    name: &str,
    client: &str,
    waiting: &mut WaitingCall,
) -> Answer<()> {
    let workspace = ctx.workspace();
    // If the connection ended while this call was in transit, the records of the connection are
    // already removed, and nothing would remove the new record.
    let peer = state
        .router
        .find_address(client)
        .ok_or_else(|| ManagerError::Connection(format!("{client} is not connected")))?;
    let owner = state.owner(&peer);
    let refused = |error: ManagerError| {
        state.counters.services_refused.add();
        error
    };
    let record = record(state, ctx, &service).map_err(refused)?;
    let replaced = state.registry.put_service(record, &owner).await;
    let replaced = replaced.map_err(|error| refused(unavailable(error)))?;
    // The connection may have ended while the record was stored. The removal detaches the client
    // first, and may have searched for records before this record was stored.
    if state.router.find_address(client).is_none() {
        state
            .registry
            .remove_client(&peer.workspace, &peer.client_id, Some(&owner))
            .await
            .map_err(unavailable)?;
        return Ok(());
    }
    if name == BUILT_IN {
        let kind = if replaced {
            "client_updated"
        } else {
            "client_connected"
        };
        state.router.event(
            workspace,
            kind,
            &json!({"id": client, "workspace": workspace}),
        );
        return Ok(());
    }
    if replaced {
        state.router.event(workspace, "service_removed", &service);
    }
    state.router.event(workspace, "service_added", &service);
    // The registration waits for `setup`, because clients may call an application as soon as its
    // registration is complete.
    if name == "default" && !replaced {
        waiting.wait(set_up(state, &service.id)).await?;
    }
    Ok(())
}

/// Encodes a service. Charges the encoded record to the caller's owner for as long as the record
/// exists.
///
/// # Errors
///
/// Fails if the record exceeds `service_bytes`, or the owner has no memory for it.
fn record(state: &State, ctx: &Context, service: &ServiceInfo) -> Answer<Record> {
    let record = Record::new(service).map_err(unavailable)?;
    let max = state.settings.limits.service_bytes;
    if record.len() > max {
        return Err(ManagerError::Value(format!(
            "The service is too large: {} bytes (max {max}): {}",
            record.len(),
            shown(&service.id)
        )));
    }
    let account = state.memory.open(&state.account_owner(ctx));
    let charge = account.try_charge(record.memory()).map_err(|error| {
        ManagerError::Runtime(format!(
            "service `{}` does not fit: {error}",
            shown(&service.id)
        ))
    })?;
    Ok(record.charged(charge))
}

/// Calls `setup` of a default service, if the service has that method. Applications of the Python
/// platform are initialized this way. A failure is logged, and the registration still succeeds.
async fn set_up(state: &State, id: &str) {
    let done = async {
        let service = workspace::fetch(state, id, SETUP_FETCH).await?;
        if service.has_method("setup") {
            workspace::call(&service, "setup").await?;
        }
        Ok::<_, ManagerError>(())
    };
    match tokio::time::timeout(SETUP, done).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, service = id, "setup failed"),
        Err(_) => tracing::warn!(service = id, "setup timed out"),
    }
}

/// Removes a service of the caller's workspace, and announces the removal. A client with write
/// permission in that workspace may also remove services of other clients.
///
/// # Errors
///
/// Fails if the caller may not write, if the id selects no service or more than one, or if the
/// service is in another workspace.
pub(super) async fn unregister(state: &State, ctx: &Context, service_id: &str) -> Answer<()> {
    let workspace = in_own_workspace(ctx, Permission::ReadWrite)?;
    let selection = ServiceSelection {
        mode: Some(SelectionMode::Exact),
        ..ServiceSelection::default()
    };
    // The mode `exact` fails if several services match. Any other mode would pick one service,
    // which may not be the intended service.
    let service = resolve::find(state, ctx, service_id, &selection).await?;
    let not_found = || ManagerError::Key(format!("Service not found: {}", shown(service_id)));
    let key = ServiceKey::parse(&service.id).ok_or_else(not_found)?;
    if key.workspace != workspace {
        return Err(super::denied(key.workspace));
    }
    state
        .registry
        .remove_service(&service.id)
        .await
        .map_err(unavailable)?
        .then_some(())
        .ok_or_else(not_found)?;
    if key.name == BUILT_IN {
        let data = json!({"id": format!("{workspace}/{}", key.client), "workspace": workspace});
        state.router.event(workspace, "client_disconnected", &data);
    } else {
        state.router.event(workspace, "service_removed", &service);
    }
    Ok(())
}
