//! Creates, changes and deletes workspaces. Also changes the variables, the bookmarks and the
//! service types of workspaces.
//!
//! Variables, bookmarks and service types are parts of the workspace's record. Each change reads,
//! changes and stores the whole record while it holds [`State::workspace_records`]. Without this
//! lock, one of two concurrent changes could be lost. The lock covers this server only: if two
//! servers of a cluster change a record concurrently, the last change wins.

use std::time::Duration;

use hypha_rpc::workspace::{
    Bookmark, BookmarkType, Keyword, ManagerError, Permission, ServiceSelection, ServiceTypeInfo,
    UserInfo, WorkspaceConfig, WorkspaceInfo, WorkspaceListing, WorkspaceProperties,
    WorkspaceStatus,
};
use hypha_rpc::{Context, Map, Value};

use super::{
    Answer, ITEM_MAX, RECORD_MAX, allowed, check_size, denied, events, in_own_workspace, resolve,
    unavailable,
};
use crate::bus::Notice;
use crate::peer::CloseOrder;
use crate::shown::shown;
use crate::state::State;
use crate::workspace::{is_ready, is_system, own_workspace, ready};

/// Maximum number of workspaces that `list_workspaces` returns.
const LIST_MAX: i64 = 256;
/// Maximum length of a workspace id, in bytes.
const ID_MAX: usize = 128;
/// Grace period before a client that deleted its own workspace is disconnected. Without this
/// period, the client would lose its connection before it receives the response to its call.
const DELETER_GRACE: Duration = Duration::from_secs(1);

/// Returns the record of a workspace. Does not check any permission.
///
/// # Errors
///
/// Fails with a `KeyError` if the workspace does not exist.
pub(super) async fn load(state: &State, id: &str) -> Answer<WorkspaceInfo> {
    let found = state.registry.workspace(id).await.map_err(unavailable)?;
    found.ok_or_else(|| ManagerError::Key(format!("Workspace not found: {}", shown(id))))
}

/// Stores the record of a workspace, and sends the event `workspace_changed` to the workspace. The
/// caller must hold [`State::workspace_records`].
///
/// # Errors
///
/// Fails if the record exceeds [`RECORD_MAX`], or cannot be stored.
async fn save(state: &State, workspace: WorkspaceInfo) -> Answer<()> {
    check_size("workspace", &workspace, RECORD_MAX)?;
    state
        .registry
        .put_workspace(workspace.clone())
        .await
        .map_err(unavailable)?;
    state
        .router
        .event(&workspace.id, "workspace_changed", &workspace);
    Ok(())
}

/// Returns the record of a workspace. Default: the caller's own workspace.
///
/// # Errors
///
/// Fails if the workspace does not exist, or if the caller does not own it and may not read it.
pub(super) async fn info(
    state: &State,
    ctx: &Context,
    id: Option<String>,
) -> Answer<WorkspaceInfo> {
    let own = in_own_workspace(ctx, Permission::Read)?;
    let id = id.as_deref().unwrap_or(own);
    let found = state.registry.workspace(id).await.map_err(unavailable)?;
    let user = ctx.user();
    match found {
        Some(found) if user.may(Permission::Read, id) || found.owned_by(user) => Ok(found),
        None if user.may(Permission::Read, id) => Err(ManagerError::Key(format!(
            "Workspace not found: {}",
            shown(id)
        ))),
        // The error is the same whether the workspace exists or not, so that callers cannot find
        // out which workspaces exist.
        _ => Err(denied(id)),
    }
}

/// Returns the workspaces that the caller may read or owns, in the order of their ids.
///
/// `matching` contains the properties that a record must have, with their values. A property that
/// is missing in a record counts as null. `offset` and `limit` apply to the filtered list.
///
/// # Errors
///
/// Fails if the caller may not read its own workspace, or `offset` or `limit` is out of range.
pub(super) async fn list(
    state: &State,
    ctx: &Context,
    matching: Option<Value>,
    offset: i64,
    limit: i64,
) -> Answer<Vec<WorkspaceListing>> {
    in_own_workspace(ctx, Permission::Read)?;
    let offset = usize::try_from(offset).map_err(|_| {
        ManagerError::Value("Offset number must be greater than or equal to 0".into())
    })?;
    if !(1..=LIST_MAX).contains(&limit) {
        return Err(ManagerError::Value(
            "Limit must be greater than 0 and less than 256".into(),
        ));
    }
    let user = ctx.user();
    let fits = |workspace: &WorkspaceInfo| match &matching {
        Some(Value::Map(wanted)) if !wanted.is_empty() => {
            let Ok(record) = Value::encode_from(workspace) else {
                return false;
            };
            wanted
                .iter()
                .all(|(key, value)| record.get(key).unwrap_or(&Value::Null) == value)
        }
        _ => true,
    };
    let all = state.registry.workspaces().await.map_err(unavailable)?;
    let listed = all
        .into_iter()
        .filter(|workspace| user.may(Permission::Read, &workspace.id) || workspace.owned_by(user))
        .filter(fits)
        .skip(offset)
        .take(limit as usize)
        .map(|workspace| WorkspaceListing {
            name: workspace.id.clone(),
            id: workspace.id,
            description: workspace.properties.description,
            read_only: workspace.properties.read_only,
            persistent: workspace.properties.persistent,
            owners: workspace.properties.owners,
        });
    Ok(listed.collect())
}

/// Creates a workspace. If the workspace exists and `overwrite` is set, replaces the record of the
/// workspace. The user becomes an owner of the workspace. Adds a bookmark of the workspace to the
/// user's own workspace.
///
/// # Errors
///
/// Fails if the user is anonymous or has exhausted its quota. Also fails if the id is invalid, if
/// the id belongs to the personal workspace of another user, or if the workspace exists and may not
/// be replaced.
pub(super) async fn create(
    state: &State,
    ctx: &Context,
    config: WorkspaceConfig,
    overwrite: bool,
) -> Answer<WorkspaceInfo> {
    let Some(id) = config.id.or_else(|| config.name.clone()) else {
        return Err(ManagerError::Assertion(
            "Workspace id must be provided.".into(),
        ));
    };
    if ctx.user().is_anonymous {
        return Err(ManagerError::Other(
            "Only registered user can create workspace.".into(),
        ));
    }
    let user = &principal(ctx.user())?;
    check_id(&id, user.id == "root")?;
    // This lock is held until the record is stored, so that two concurrent calls cannot both find
    // the id free.
    let guard = state.workspace_records.lock().await;
    let former = state.registry.workspace(&id).await.map_err(unavailable)?;
    match &former {
        Some(_) if !overwrite => {
            return Err(ManagerError::Runtime(format!(
                "Workspace already exists: {}",
                shown(&id)
            )));
        }
        Some(former) if !(former.owned_by(user) || user.may(Permission::Admin, &id)) => {
            return Err(ManagerError::Permission(format!(
                "Permission denied: user {} cannot overwrite workspace {}",
                user.id,
                shown(&id)
            )));
        }
        Some(_) if is_system(&id) => return Err(denied(&id)),
        Some(_) => {}
        // Users must not create the personal workspace of another user in advance.
        None if id.starts_with("ws-user-")
            && id != user.own_workspace()
            && !user.may(Permission::Admin, &id) =>
        {
            return Err(denied(&id));
        }
        None => check_quota(state, user).await?,
    }
    let mut owners = config.properties.owners;
    if !owners
        .iter()
        .any(|owner| *owner == user.id || Some(owner) == user.email.as_ref())
    {
        owners.push(user.id.clone());
    }
    // An empty owner would match users with an empty e-mail address.
    owners.retain(|owner| !owner.trim().is_empty());
    let mut workspace = WorkspaceInfo {
        name: config
            .name
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| id.clone()),
        id,
        properties: WorkspaceProperties {
            owners,
            ..config.properties
        },
        status: ready(),
        ..WorkspaceInfo::default()
    };
    check_size("workspace", &workspace, ITEM_MAX)?;
    state
        .registry
        .put_workspace(workspace.clone())
        .await
        .map_err(unavailable)?;
    // The lock is released here, because `add_bookmark` below takes it again.
    drop(guard);
    // The Python server announces the workspace as loading, although it can be used at once.
    workspace.status = Some(Value::from(Map::from_iter([
        ("ready".to_owned(), Value::from(false)),
        ("status".to_owned(), Value::from("loading")),
    ])));
    state
        .router
        .event(&user.own_workspace(), "workspace_loaded", &workspace);
    if workspace.id != user.own_workspace() {
        add_bookmark(state, user, workspace_bookmark(&workspace)).await?;
    }
    Ok(workspace)
}

/// Returns the user that owns the workspaces and bookmarks that a caller creates.
///
/// Usually the caller owns what it creates. If the caller has a child token, the owner is the user
/// that has issued the token, because the user of a child token ceases to exist with the token. The
/// child token must grant admin permission in the issuer's own workspace.
///
/// # Errors
///
/// Fails if the caller has a child token without this permission.
fn principal(user: &UserInfo) -> Answer<UserInfo> {
    let Some(parent) = &user.parent else {
        return Ok(user.clone());
    };
    let principal = UserInfo {
        id: parent.clone(),
        parent: None,
        ..user.clone()
    };
    if user.may(Permission::Admin, &principal.own_workspace()) {
        Ok(principal)
    } else {
        Err(ManagerError::Permission(format!(
            "Permission denied: this token cannot act in the name of {}",
            shown(&parent)
        )))
    }
}

/// Checks the id of a new workspace. As in the Python server, only `root` may omit the hyphen.
fn check_id(id: &str, root: bool) -> Answer<()> {
    if id.is_empty() {
        return Err(ManagerError::Value(
            "Workspace name must not be empty.".into(),
        ));
    }
    if !root && !id.contains('-') {
        return Err(ManagerError::Value(
            "Workspace name must contain at least one hyphen (e.g. my-workspace).".into(),
        ));
    }
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'|');
    if id.len() > ID_MAX || !id.bytes().all(allowed) {
        return Err(ManagerError::Value(format!(
            "Invalid workspace name: {}, only lowercase letters, numbers and hyphens are allowed.",
            shown(id)
        )));
    }
    Ok(())
}

/// Checks that a user owns fewer workspaces than `workspaces_per_user`. `root` has no quota.
async fn check_quota(state: &State, user: &UserInfo) -> Answer<()> {
    let limit = state.settings.limits.workspaces_per_user;
    let all = state.registry.workspaces().await.map_err(unavailable)?;
    let owned = all
        .iter()
        .filter(|workspace| workspace.properties.owners.contains(&user.id))
        .count();
    if owned >= limit && user.id != "root" {
        return Err(ManagerError::Runtime(format!(
            "Workspace quota exceeded: user {} already owns {owned} workspaces (max {limit}).",
            user.id
        )));
    }
    Ok(())
}

/// Deletes a workspace with its services and its event log. Disconnects the clients of the
/// workspace at all servers. If the caller is one of these clients, it stays connected for
/// [`DELETER_GRACE`].
///
/// # Errors
///
/// Fails if the caller is neither owner nor admin, if the workspace does not exist, or if the
/// workspace belongs to the server itself.
pub(super) async fn delete(state: &State, ctx: &Context, id: &str) -> Answer<()> {
    let user = ctx.user();
    let guard = state.workspace_records.lock().await;
    let found = state.registry.workspace(id).await.map_err(unavailable)?;
    let owned = found
        .as_ref()
        .is_some_and(|workspace| workspace.owned_by(user));
    if !owned {
        allowed(ctx, Permission::Admin, id)?;
    }
    let workspace =
        found.ok_or_else(|| ManagerError::Key(format!("Workspace not found: {}", shown(id))))?;
    if is_system(id) {
        return Err(denied(id));
    }
    state
        .registry
        .remove_workspace(id)
        .await
        .map_err(unavailable)?;
    // The lock is released here, because `remove_bookmark` below takes it again.
    drop(guard);
    state.event_log.forget(id);
    state
        .router
        .event(&user.own_workspace(), "workspace_deleted", &workspace);
    // A caller that cannot change the bookmarks of its user may still delete the workspace.
    if let Ok(user) = principal(user) {
        remove_bookmark(state, &user, id).await?;
    }
    // This notice disconnects the clients at other servers.
    state.router.bus().announce(Notice::Unloaded {
        workspace: id.to_owned(),
    });
    let order = CloseOrder::new(1001, format!("Workspace unloaded: {id}")).with_error_frame();
    let caller = super::caller(ctx);
    for member in state.router.members(id) {
        if member.address == caller {
            // The disconnect is delayed, because the connection would otherwise close before the
            // caller receives the response to this call.
            let order = order.clone();
            tokio::spawn(async move {
                tokio::time::sleep(DELETER_GRACE).await;
                member.outbox.close(order);
            });
        } else {
            member.outbox.close(order.clone());
        }
    }
    Ok(())
}

/// Returns whether the caller's workspace is usable, and which permission the caller has in it. A
/// missing workspace is reported as a status, not as an error.
pub(super) async fn status(state: &State, ctx: &Context) -> Answer<WorkspaceStatus> {
    let workspace = in_own_workspace(ctx, Permission::Read)?;
    let permission = ctx.user().permission(workspace);
    let mut status = WorkspaceStatus {
        user_permission: permission.map(|permission| permission.as_str().to_owned()),
        ..WorkspaceStatus::default()
    };
    match state
        .registry
        .workspace(workspace)
        .await
        .map_err(unavailable)?
    {
        None => {
            status.status = "not_found".into();
            status.error = Some(format!("Workspace {} not found", shown(&workspace)));
        }
        Some(found) if is_ready(&found) => status.status = "ready".into(),
        Some(_) => status.status = "loading".into(),
    }
    Ok(status)
}

/// Returns an entry of the `config` of a workspace. A missing entry is inserted as null.
fn section<'a>(workspace: &'a mut WorkspaceInfo, name: &str) -> &'a mut Value {
    workspace
        .properties
        .config
        .entry(name.to_owned())
        .or_insert(Value::Null)
}

/// Sets a variable of the caller's workspace. If the value is null, removes the variable. Logs the
/// change.
///
/// # Errors
///
/// Fails if the caller may not write, or the variable or the record is too large.
pub(super) async fn set_env(state: &State, ctx: &Context, key: String, value: Value) -> Answer<()> {
    let own = in_own_workspace(ctx, Permission::ReadWrite)?;
    check_size("variable", &(&key, &value), ITEM_MAX)?;
    let guard = state.workspace_records.lock().await;
    let mut workspace = load(state, own).await?;
    let section = section(&mut workspace, "environs");
    if !matches!(section, Value::Map(_)) {
        *section = Value::Map(Map::new());
    }
    let mut event = None;
    if let Value::Map(variables) = section {
        event = match value {
            Value::Null => variables.shift_remove(&key).map(|_| "env_removed"),
            value => {
                variables.insert(key.clone(), value);
                Some("env_set")
            }
        };
    }
    save(state, workspace).await?;
    drop(guard);
    // Removing a missing variable creates no event.
    let Some(event) = event else { return Ok(()) };
    let data = Map::from_iter([("key".to_owned(), Value::from(key))]);
    events::add(state, ctx, event.into(), Value::Map(data))
}

/// Returns a variable of the caller's workspace, or a map of all variables if `key` is `None`.
///
/// # Errors
///
/// Fails if the variable does not exist. Also fails if the caller may not read or may not write,
/// because variables contain secrets.
pub(super) async fn get_env(state: &State, ctx: &Context, key: Option<String>) -> Answer<Value> {
    let id = in_own_workspace(ctx, Permission::ReadWrite)?;
    let workspace = load(state, id).await?;
    let variables = workspace
        .properties
        .config
        .get("environs")
        .and_then(Value::as_map);
    match key {
        None => Ok(Value::Map(variables.cloned().unwrap_or_default())),
        Some(key) => variables
            .and_then(|variables| variables.get(&key))
            .cloned()
            .ok_or_else(|| {
                ManagerError::Key(format!(
                    "Environment variable '{}' not found in workspace {id}",
                    shown(&key)
                ))
            }),
    }
}

/// Adds a bookmark of a workspace or service that the caller can see. Replaces a bookmark with the
/// same id.
///
/// # Errors
///
/// Fails if the type is unknown, the item is missing or hidden, or the bookmark is too large.
pub(super) async fn bookmark(state: &State, ctx: &Context, item: Bookmark) -> Answer<()> {
    let entry = match bookmark_type(item.bookmark_type)? {
        BookmarkType::Workspace => workspace_bookmark(&info(state, ctx, Some(item.id)).await?),
        BookmarkType::Service => {
            let selection = ServiceSelection::default();
            let service = resolve::find(state, ctx, &item.id, &selection).await?;
            let config = Value::encode_from(&service.config)
                .map_err(|error| ManagerError::Value(error.to_string()))?;
            let mut entry = entry(
                BookmarkType::Service,
                &service.id,
                service.name,
                service.description,
            );
            entry.insert("config".into(), config);
            entry
        }
    };
    check_size("bookmark", &entry, ITEM_MAX)?;
    add_bookmark(state, &principal(ctx.user())?, entry).await
}

/// Removes a bookmark by its id. Does nothing if there is no such bookmark.
pub(super) async fn unbookmark(state: &State, ctx: &Context, item: Bookmark) -> Answer<()> {
    bookmark_type(item.bookmark_type)?;
    remove_bookmark(state, &principal(ctx.user())?, &item.id).await
}

/// Parses a bookmark type.
///
/// # Errors
///
/// Fails with the error text of the Python server if the type is unknown.
fn bookmark_type(word: Keyword<BookmarkType>) -> Answer<BookmarkType> {
    match word {
        Keyword::Known(bookmark_type) => Ok(bookmark_type),
        Keyword::Other(other) => Err(ManagerError::Value(format!(
            "Invalid bookmark type: {}",
            shown(&other)
        ))),
    }
}

/// Returns the bookmark of a workspace.
fn workspace_bookmark(workspace: &WorkspaceInfo) -> Map {
    let name = Some(workspace.name.clone());
    entry(
        BookmarkType::Workspace,
        &workspace.id,
        name,
        workspace.properties.description.clone(),
    )
}

/// Returns a bookmark in its stored form, a map with the keys that clients of the Python server
/// read.
fn entry(
    bookmark_type: BookmarkType,
    id: &str,
    name: Option<String>,
    description: Option<String>,
) -> Map {
    let word = Keyword::Known(bookmark_type).to_string();
    Map::from_iter([
        ("bookmark_type".to_owned(), Value::from(word)),
        ("id".to_owned(), Value::from(id)),
        ("name".to_owned(), Value::from(name)),
        ("description".to_owned(), Value::from(description)),
    ])
}

/// Adds a bookmark to the user's own workspace. Creates that workspace if it is missing.
async fn add_bookmark(state: &State, user: &UserInfo, entry: Map) -> Answer<()> {
    let id = entry.get("id").cloned().unwrap_or_default();
    let planned = Some(own_workspace(user));
    change_bookmarks(state, user, planned, |bookmarks| {
        bookmarks.retain(|other| other.get("id") != Some(&id));
        bookmarks.push(Value::Map(entry));
    })
    .await
}

/// Removes a bookmark from the user's own workspace. Does nothing if the workspace or the bookmark
/// does not exist.
async fn remove_bookmark(state: &State, user: &UserInfo, id: &str) -> Answer<()> {
    change_bookmarks(state, user, None, |bookmarks| {
        bookmarks.retain(|other| other.get("id").and_then(Value::as_str) != Some(id));
    })
    .await
}

/// Calls `change` with the bookmarks in the record of the user's own workspace, and stores the
/// changed record. If that workspace does not exist, changes and stores `planned` instead, or does
/// nothing if `planned` is `None`.
///
/// Locks [`State::workspace_records`]; the caller must not hold this lock.
async fn change_bookmarks(
    state: &State,
    user: &UserInfo,
    planned: Option<WorkspaceInfo>,
    change: impl FnOnce(&mut Vec<Value>),
) -> Answer<()> {
    let id = user.own_workspace();
    let _guard = state.workspace_records.lock().await;
    let own = state.registry.workspace(&id).await.map_err(unavailable)?;
    let Some(mut own) = own.or(planned) else {
        return Ok(());
    };
    let section = section(&mut own, "bookmarks");
    if !matches!(section, Value::List(_)) {
        *section = Value::List(Vec::new());
    }
    if let Value::List(bookmarks) = section {
        change(bookmarks);
    }
    save(state, own).await
}

/// Adds a service type to the caller's workspace. The id is `type` or `workspace/type`.
///
/// # Errors
///
/// Fails if the caller may not write, if the id names another workspace or is in use, or if the
/// type or the record is too large.
pub(super) async fn register_type(
    state: &State,
    ctx: &Context,
    info: ServiceTypeInfo,
) -> Answer<ServiceTypeInfo> {
    let own = in_own_workspace(ctx, Permission::ReadWrite)?;
    check_size("service type", &info, ITEM_MAX)?;
    let _guard = state.workspace_records.lock().await;
    let mut workspace = load(state, own).await?;
    let name = match info.id.split_once('/') {
        None => info.id.clone(),
        Some((prefix, name)) if prefix == own => name.to_owned(),
        Some((prefix, _)) => {
            return Err(ManagerError::Assertion(format!(
                "Workspace mismatch: {} != {own}, you can only register service type in your own \
                 workspace.",
                shown(prefix)
            )));
        }
    };
    if workspace.properties.service_types.contains_key(&name) {
        return Err(ManagerError::Key(format!(
            "Service type already exists: {}",
            shown(&name)
        )));
    }
    workspace
        .properties
        .service_types
        .insert(name, info.clone());
    save(state, workspace).await?;
    Ok(info)
}

/// Returns a service type. A caller that may not read the type's workspace sees only types with the
/// visibility `public`.
///
/// # Errors
///
/// Fails if the type does not exist or is hidden from the caller.
pub(super) async fn get_type(
    state: &State,
    ctx: &Context,
    type_id: &str,
) -> Answer<ServiceTypeInfo> {
    let (id, name) = type_id
        .split_once('/')
        .unwrap_or((ctx.workspace(), type_id));
    let workspace = state.registry.workspace(id).await.map_err(unavailable)?;
    let found =
        workspace.and_then(|mut workspace| workspace.properties.service_types.shift_remove(name));
    let public = |info: &ServiceTypeInfo| {
        info.config.get("visibility").and_then(Value::as_str) == Some("public")
    };
    match found {
        Some(mut info) if public(&info) || ctx.user().may(Permission::Read, id) => {
            info.id = format!("{id}/{name}");
            Ok(info)
        }
        None if ctx.user().may(Permission::Read, id) => Err(ManagerError::Key(format!(
            "Service type not found: {}",
            shown(&name)
        ))),
        _ => Err(denied(id)),
    }
}

/// Returns the service types of a workspace. As in the Python server, an empty id stands for the
/// caller's own workspace.
///
/// # Errors
///
/// Fails if the caller may not read the workspace, or if the workspace does not exist.
pub(super) async fn list_types(
    state: &State,
    ctx: &Context,
    id: Option<String>,
) -> Answer<Vec<ServiceTypeInfo>> {
    let named = id.as_deref().filter(|id| !id.is_empty());
    let id = named.unwrap_or_else(|| ctx.workspace());
    allowed(ctx, Permission::Read, id)?;
    Ok(load(state, id)
        .await?
        .properties
        .service_types
        .into_values()
        .collect())
}
