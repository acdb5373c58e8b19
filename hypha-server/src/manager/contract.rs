//! Implements the contract `WorkspaceManager`. Most methods call functions in the other files of
//! this folder.
//!
//! Only `ping` and `cleanup`, which call clients, are implemented here. The docs of the methods are
//! in the contract, in `hypha-rpc`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hypha_rpc::workspace::{
    Bookmark, ClientInfo, EventCount, EventRecord, EventTypes, GetServiceConfig, ManagerError,
    Permission, SelectConfig, ServiceInfo, ServiceQuery, ServiceSelection, ServiceTypeInfo,
    TokenConfig, UserInfo, WorkspaceConfig, WorkspaceInfo, WorkspaceListing, WorkspaceManager,
    WorkspaceStatus, WorkspaceSummary,
};
use hypha_rpc::{Context, Map, Value};
use hypha_wire as wire;

use super::{
    Answer, allowed, events, in_own_workspace, listing, registration, resolve, timeout_in_bounds,
    tokens, unavailable, workspaces,
};
use crate::event_log::EventFilter;
use crate::peer::SUBSCRIPTIONS_MAX;
use crate::state::{State, WaitingCall};
use crate::workspace;

/// Timeout of a ping in seconds, used if the caller's timeout is not finite.
const PING_TIMEOUT: f64 = 5.0;
/// Maximum number of clients that `cleanup` pings at the same time. Without this limit, `cleanup`
/// would make as many calls at once as the workspace has clients.
const PINGS_AT_ONCE: usize = 50;

/// Takes a slot for a call that may wait for other clients.
///
/// # Errors
///
/// Fails if the caller has too many such calls, or if the caller's user or IP address has too many.
fn waiting(state: &State, ctx: &Context) -> Answer<WaitingCall> {
    let owner = state.account_owner(ctx);
    let gone = ctx.cancellation().clone();
    if state.has_departed(ctx) {
        // The server was notified before this call began that the caller has disconnected. See
        // `State::departure`.
        gone.cancel();
    }
    state.waiting.begin(&super::caller(ctx), &owner, gone)
}

/// Returns the record of a service, encoded as the caller may see it.
pub(super) async fn info(
    state: &State,
    ctx: &Context,
    id: &str,
    selection: Option<ServiceSelection>,
) -> Answer<Bytes> {
    // For a selection such as `select:min:get_load`, the manager calls the candidates, so this call
    // may have to wait for other clients.
    let selection = selection.unwrap_or_default();
    let found = resolve::record(state, ctx, id, &selection);
    waiting(state, ctx)?.wait(found).await?
}

/// The implementation of the contract. All data is in the state of the server.
pub(super) struct Manager {
    state: Arc<State>,
}

impl Manager {
    pub(super) fn new(state: Arc<State>) -> Manager {
        Manager { state }
    }

    /// Counts a call against the limits on waiting calls. The call counts until the returned value
    /// is dropped. Fails if the caller or the caller's user has too many such calls.
    fn waiting(&self, ctx: &Context) -> Answer<WaitingCall> {
        waiting(&self.state, ctx)
    }

    /// Pings a client. The error is the text that the method `ping` returns, with the wording of
    /// the Python server.
    async fn ping_from(
        &self,
        ctx: &Context,
        client_id: &str,
        limit: Duration,
    ) -> Result<(), String> {
        let address = hypha_wire::absolute_address(client_id, ctx.workspace());
        let failed =
            |why: &dyn std::fmt::Display| format!("Failed to ping client {address}: {why}");
        let (workspace, client) = address.split_once('/').unwrap_or_default();
        // The caller's own workspace needs no check, because the clients of a workspace may call
        // each other.
        if workspace != ctx.workspace() {
            allowed(ctx, Permission::Read, workspace).map_err(|error| failed(&error))?;
        }
        workspace::ping(&self.state, workspace, client, limit)
            .await
            .map_err(|error| failed(&error))
    }

    /// Removes the clients of a workspace that do not respond to a ping within `limit`. Returns the
    /// addresses of the removed clients.
    ///
    /// The candidates are the registered clients at all servers and the connections at this server.
    /// A client that has not registered its built-in service has a connection but no record.
    async fn remove_unresponsive(
        &self,
        ctx: &Context,
        workspace: &str,
        limit: Duration,
        waiting: &mut WaitingCall,
    ) -> Answer<Vec<Value>> {
        let introduced = workspace::registered_clients(&self.state, workspace).await;
        // The addresses are sorted and deduplicated, because most clients are in both lists.
        let mut addresses = introduced.map_err(unavailable)?;
        let here = self.state.router.members(workspace);
        addresses.extend(here.iter().map(|peer| peer.address.clone()));
        addresses.sort_unstable();
        addresses.dedup();
        let mut removed = Vec::new();
        for batch in addresses.chunks(PINGS_AT_ONCE) {
            let asked = batch
                .iter()
                .map(|address| self.ping_from(ctx, address, limit));
            for (address, answer) in batch.iter().zip(waiting.wait(join_all(asked)).await?) {
                if answer.is_err() {
                    workspace::remove_unresponsive(&self.state, address).await;
                    removed.push(Value::from(address.as_str()));
                }
            }
        }
        Ok(removed)
    }
}

impl WorkspaceManager for Manager {
    async fn echo(&self, ctx: &Context, data: Value) -> Answer<Value> {
        in_own_workspace(ctx, Permission::ReadWrite)?;
        let mut data = data;
        // The caller receives the value from the manager, so the caller would look up functions
        // with relative addresses in the manager's workspace.
        resolve::make_absolute(&mut data, ctx.workspace());
        Ok(data)
    }

    async fn log(&self, ctx: &Context, msg: Value) -> Answer<()> {
        events::add(&self.state, ctx, "log".into(), msg)
    }

    async fn log_event(
        &self,
        ctx: &Context,
        event_type: String,
        data: Option<Value>,
    ) -> Answer<()> {
        events::add(&self.state, ctx, event_type, data.unwrap_or_default())
    }

    async fn get_event_stats(
        &self,
        ctx: &Context,
        event_type: Option<String>,
        start_time: Option<String>,
        end_time: Option<String>,
    ) -> Answer<Vec<EventCount>> {
        events::count(
            &self.state,
            ctx,
            &EventFilter {
                event_type,
                start_time,
                end_time,
            },
        )
    }

    async fn get_events(
        &self,
        ctx: &Context,
        event_type: Option<String>,
        start_time: Option<String>,
        end_time: Option<String>,
    ) -> Answer<Vec<EventRecord>> {
        let events = events::read(
            &self.state,
            ctx,
            &EventFilter {
                event_type,
                start_time,
                end_time,
            },
        )?;
        wire::from_slice(&events).map_err(|error| ManagerError::Runtime(error.to_string()))
    }

    async fn register_service(
        &self,
        ctx: &Context,
        service: ServiceInfo,
        _config: Option<Value>,
    ) -> Answer<()> {
        let mut waiting = self.waiting(ctx)?;
        registration::register(&self.state, ctx, service, &mut waiting).await
    }

    async fn unregister_service(&self, ctx: &Context, service_id: String) -> Answer<()> {
        registration::unregister(&self.state, ctx, &service_id).await
    }

    async fn list_workspaces(
        &self,
        ctx: &Context,
        r#match: Option<Value>,
        offset: i64,
        limit: i64,
    ) -> Answer<Vec<WorkspaceListing>> {
        workspaces::list(&self.state, ctx, r#match, offset, limit).await
    }

    async fn list_services(
        &self,
        ctx: &Context,
        query: Option<ServiceQuery>,
        include_unlisted: bool,
        _include_app_services: bool,
        _prioritize_running_services: bool,
    ) -> Answer<Vec<ServiceInfo>> {
        let listed = listing::services(&self.state, ctx, query, include_unlisted).await?;
        wire::from_slice(&listed).map_err(|error| ManagerError::Runtime(error.to_string()))
    }

    async fn search_services(
        &self,
        _ctx: &Context,
        _query: Option<Value>,
        _filters: Option<Value>,
        _limit: i64,
        _offset: i64,
        _return_fields: Option<Vec<String>>,
        _order_by: Option<String>,
        _pagination: bool,
        _include_unlisted: bool,
    ) -> Answer<Value> {
        Err(ManagerError::Runtime(
            "Service search is not enabled.".into(),
        ))
    }

    async fn list_clients(
        &self,
        ctx: &Context,
        workspace: Option<String>,
    ) -> Answer<Vec<ClientInfo>> {
        // As in the Python server, an empty string also stands for the caller's own workspace.
        let named = workspace.as_deref().filter(|id| !id.is_empty());
        let workspace = named.unwrap_or_else(|| ctx.workspace());
        listing::clients(&self.state, ctx, workspace).await
    }

    async fn register_service_type(
        &self,
        ctx: &Context,
        type_info: ServiceTypeInfo,
    ) -> Answer<ServiceTypeInfo> {
        workspaces::register_type(&self.state, ctx, type_info).await
    }

    async fn get_service_type(&self, ctx: &Context, type_id: String) -> Answer<ServiceTypeInfo> {
        workspaces::get_type(&self.state, ctx, &type_id).await
    }

    async fn list_service_types(
        &self,
        ctx: &Context,
        workspace: Option<String>,
    ) -> Answer<Vec<ServiceTypeInfo>> {
        workspaces::list_types(&self.state, ctx, workspace).await
    }

    async fn get_service_info(
        &self,
        ctx: &Context,
        service_id: String,
        config: Option<SelectConfig>,
    ) -> Answer<ServiceInfo> {
        let selection = config.map(|config| config.selection);
        let found = info(&self.state, ctx, &service_id, selection).await?;
        wire::from_slice(&found).map_err(|error| ManagerError::Runtime(error.to_string()))
    }

    async fn get_service(
        &self,
        ctx: &Context,
        service_id: String,
        config: Option<GetServiceConfig>,
    ) -> Answer<Value> {
        let config = config.unwrap_or_default();
        let found = resolve::get(&self.state, ctx, &service_id, config);
        self.waiting(ctx)?.wait(found).await?
    }

    async fn generate_token(&self, ctx: &Context, config: Option<TokenConfig>) -> Answer<String> {
        let config = config.unwrap_or_default();
        let lineage = tokens::lineage(&self.state, ctx)?;
        tokens::generate(&self.state, ctx.user(), &lineage, ctx.workspace(), config).await
    }

    async fn revoke_token(&self, ctx: &Context, token: String) -> Answer<()> {
        tokens::revoke(&self.state, ctx, &token).await
    }

    async fn parse_token(&self, ctx: &Context, token: String) -> Answer<UserInfo> {
        tokens::parse(&self.state, ctx, &token).await
    }

    async fn create_workspace(
        &self,
        ctx: &Context,
        config: WorkspaceConfig,
        overwrite: bool,
    ) -> Answer<WorkspaceInfo> {
        workspaces::create(&self.state, ctx, config, overwrite).await
    }

    async fn delete_workspace(&self, ctx: &Context, workspace: String) -> Answer<()> {
        workspaces::delete(&self.state, ctx, &workspace).await
    }

    async fn bookmark(&self, ctx: &Context, item: Bookmark) -> Answer<()> {
        workspaces::bookmark(&self.state, ctx, item).await
    }

    async fn unbookmark(&self, ctx: &Context, item: Bookmark) -> Answer<()> {
        workspaces::unbookmark(&self.state, ctx, item).await
    }

    async fn get_workspace_info(
        &self,
        ctx: &Context,
        workspace: Option<String>,
    ) -> Answer<WorkspaceInfo> {
        workspaces::info(&self.state, ctx, workspace).await
    }

    async fn get_summary(&self, ctx: &Context) -> Answer<WorkspaceSummary> {
        let summary = listing::summary(&self.state, ctx).await?;
        wire::from_slice(&summary).map_err(|error| ManagerError::Runtime(error.to_string()))
    }

    async fn ping(&self, ctx: &Context, client_id: String, timeout: f64) -> Answer<String> {
        let limit = timeout_in_bounds(Some(timeout), PING_TIMEOUT);
        let answered = self.ping_from(ctx, &client_id, limit);
        Ok(match self.waiting(ctx)?.wait(answered).await? {
            Ok(()) => "pong".into(),
            Err(text) => text,
        })
    }

    async fn cleanup(
        &self,
        ctx: &Context,
        workspace: Option<String>,
        timeout: f64,
    ) -> Answer<Value> {
        let own = in_own_workspace(ctx, Permission::Admin)?;
        let mut waiting = self.waiting(ctx)?;
        let id = workspace.as_deref().unwrap_or(own);
        allowed(ctx, Permission::Admin, id)?;
        let workspace = workspaces::load(&self.state, id).await?;
        let mut summary = Map::new();
        let introduced = workspace::registered_clients(&self.state, id).await;
        let empty =
            introduced.map_err(unavailable)?.is_empty() && self.state.router.members(id).is_empty();
        // The caller may be in another workspace, so the workspace `id` may have no clients.
        if empty && !workspace.properties.persistent {
            workspaces::delete(&self.state, ctx, id).await?;
            summary.insert("removed_workspace".into(), id.into());
            summary.insert("removed_clients".into(), Value::List(Vec::new()));
            return Ok(Value::Map(summary));
        }
        let limit = timeout_in_bounds(Some(timeout), PING_TIMEOUT);
        let removed = self
            .remove_unresponsive(ctx, id, limit, &mut waiting)
            .await?;
        if !removed.is_empty() {
            summary.insert("removed_clients".into(), Value::List(removed));
        }
        Ok(Value::Map(summary))
    }

    async fn check_status(&self, ctx: &Context) -> Answer<WorkspaceStatus> {
        workspaces::status(&self.state, ctx).await
    }

    async fn set_env(&self, ctx: &Context, key: String, value: Value) -> Answer<()> {
        workspaces::set_env(&self.state, ctx, key, value).await
    }

    async fn get_env(&self, ctx: &Context, key: Option<String>) -> Answer<Value> {
        workspaces::get_env(&self.state, ctx, key).await
    }

    async fn subscribe(&self, ctx: &Context, event_type: EventTypes) -> Answer<bool> {
        events::subscription(&self.state, ctx, &event_type, |peer, events| {
            if peer.subscribe(events) {
                return Ok(());
            }
            Err(ManagerError::Runtime(format!(
                "Too many subscriptions (max {SUBSCRIPTIONS_MAX})"
            )))
        })
    }

    async fn unsubscribe(&self, ctx: &Context, event_type: EventTypes) -> Answer<bool> {
        events::subscription(&self.state, ctx, &event_type, |peer, events| {
            peer.unsubscribe(events);
            Ok(())
        })
    }
}
