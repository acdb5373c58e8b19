//! Provides the service `ws-user-root/admin-utils`. Operators inspect and manage the server with
//! this service.
//!
//! The module `server` starts and stops the service. The service belongs to a client inside the
//! server. Each method of the service checks the permission of the caller, because members of the
//! workspace do not automatically have this permission.

use std::sync::{Arc, Weak};
use std::time::Duration;

use hypha_rpc::service::{IntoService, Service};
use hypha_rpc::workspace::{ManagerError, Visibility, WorkspaceInfo};
use hypha_rpc::{Context, Error, Map, Value, hypha_service};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::blocking;
use crate::bus::Notice;
use crate::internal_client;
use crate::peer::{CloseOrder, Peer};
use crate::registry::{RegistryError, ServicePattern};
use crate::router::SERVER_WORKSPACE;
use crate::shown::shown;
use crate::state::{ADMINISTRATION, State};
use crate::workspace;

/// Maximum number of calls that the service runs at the same time. Operators make few calls.
const CONCURRENT_CALLS: usize = 64;
/// Maximum size of the calls that wait for the service, in bytes.
const QUEUE_BYTES: usize = 1024 * 1024;
/// Interval at which `unload_workspace` checks whether all clients have left.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Maximum time for which `unload_workspace` waits, in seconds.
const UNLOAD_MAX: f64 = 60.0;

type Answer<T> = Result<T, ManagerError>;

/// Connects the client that provides the service. Registers the service, and also the services in
/// `others`.
///
/// # Errors
///
/// Fails if the address of the client is in use, or if the registry refuses a record.
pub(crate) async fn start(state: &Arc<State>, others: Vec<Service>) -> Result<(), Error> {
    let id = &state.info.server_id;
    let client =
        internal_client::connect_shared(state, ADMINISTRATION, id, QUEUE_BYTES, CONCURRENT_CALLS)
            .await;
    let client = client
        .ok_or_else(|| Error::Invalid(format!("the address {ADMINISTRATION}/{id} is in use")))?;
    let admin = Admin {
        state: Arc::downgrade(state),
    };
    let service = admin
        .into_service()
        .name("Admin Utilities")
        .visibility(Visibility::Protected)
        .with_members_of(blocking::service(state))
        // The methods receive a context, but the schema does not mention it, as in the Python
        // server.
        .require_context(false);
    for service in std::iter::once(service).chain(others) {
        client.register_service(service).await?;
    }
    state.clients.keep_service(client);
    Ok(())
}

/// Removes the record of the service when the server stops. Closing a client inside the server does
/// not remove the records of its services.
pub(crate) async fn stop(state: &State) -> Result<(), RegistryError> {
    let id = &state.info.server_id;
    state
        .registry
        .remove_client(ADMINISTRATION, id, None)
        .await?;
    Ok(())
}

/// The implementation of the service.
struct Admin {
    // This reference is weak to avoid a reference cycle. The state owns the client, and the client
    // owns this service.
    state: Weak<State>,
}

impl Admin {
    /// Returns the state of the server if the caller is an administrator of [`ADMINISTRATION`].
    ///
    /// # Errors
    ///
    /// Fails if the caller is not an administrator, or if the server is shutting down.
    fn state(&self, ctx: &Context) -> Answer<Arc<State>> {
        State::for_administrator(&self.state, ctx)
    }
}

/// Converts an error of the registry to an error of the manager.
fn unavailable(error: RegistryError) -> ManagerError {
    ManagerError::Runtime(error.to_string())
}

/// Returns the clients of users in a workspace that are connected to this server.
fn clients(state: &State, workspace: &str) -> Vec<Arc<Peer>> {
    let mut clients = state.router.members(workspace);
    clients.retain(|peer| !is_internal(state, peer));
    clients
}

/// Returns whether a peer is a client inside the server. Operators must not see or disconnect such
/// clients.
fn is_internal(state: &State, peer: &Peer) -> bool {
    peer.workspace == SERVER_WORKSPACE || peer.client_id == state.info.server_id
}

#[hypha_service(id = "admin-utils")]
impl Admin {
    /// Lists the ids of the servers that share the workspaces.
    pub(crate) async fn list_servers(&self, ctx: &Context) -> Answer<Vec<String>> {
        let state = self.state(ctx)?;
        // Each server registers its own login service under the id of the server, so the records of
        // the login services list all servers. The records are sorted, so equal ids are adjacent.
        let pattern = ServicePattern {
            workspace: "public".into(),
            name: "hypha-login".into(),
            ..ServicePattern::default()
        };
        let found = state.registry.find_services(&pattern).await;
        let found = found.map_err(unavailable)?;
        let ids = found.iter().filter_map(|record| record.key());
        let mut ids: Vec<_> = ids.map(|key| key.client.to_owned()).collect();
        ids.dedup();
        Ok(ids)
    }

    /// Disconnects a client of this server. The client reconnects unless the close code forbids it.
    pub(crate) async fn kickout_client(
        &self,
        ctx: &Context,
        /// Id of the workspace.
        workspace: String,
        /// Id of the client.
        client_id: String,
        /// Close code of the WebSocket.
        #[hypha(default = 1000)]
        code: u16,
        /// Close reason, which the client receives.
        #[hypha(default = "Admin requested disconnect".to_owned())]
        reason: String,
    ) -> Answer<()> {
        let state = self.state(ctx)?;
        // All other close codes are reserved, or report protocol errors that have not occurred.
        if !(matches!(code, 1000 | 1001 | 1008 | 1011..=1013) || (3000..5000).contains(&code)) {
            return Err(ManagerError::Value(format!(
                "argument `code` of `admin-utils.kickout_client`: {code} is no code that a server \
                 may send"
            )));
        }
        let client = state.router.find(&workspace, &client_id);
        match client.filter(|client| !is_internal(&state, client)) {
            Some(client) => {
                client.outbox.close(CloseOrder::new(code, reason));
                Ok(())
            }
            None => Err(ManagerError::Assertion("Client not connected".into())),
        }
    }

    /// Lists the loaded workspaces. Omits workspaces of which only the stored record exists.
    pub(crate) async fn list_workspaces(&self, ctx: &Context) -> Answer<Vec<WorkspaceInfo>> {
        let state = self.state(ctx)?;
        let mut all = state.registry.workspaces().await.map_err(unavailable)?;
        // A workspace without a status is persistent and has no clients. It is stored, but not
        // loaded.
        all.retain(|workspace| workspace.status.is_some() || workspace::is_system(&workspace.id));
        Ok(all)
    }

    /// Disconnects all clients of a workspace. Also deletes the workspace if the workspace is not
    /// persistent.
    pub(crate) async fn unload_workspace(
        &self,
        ctx: &Context,
        /// Id of the workspace.
        workspace: String,
        /// Wait until all clients of this server have left.
        #[hypha(default = false)]
        wait: bool,
        /// Time to wait in seconds, at most 60.
        #[hypha(default = 10.0, name = "timeout")]
        limit: f64,
    ) -> Answer<()> {
        let state = self.state(ctx)?;
        let found = state.registry.workspace(&workspace).await;
        if found.map_err(unavailable)?.is_none() {
            return Err(ManagerError::Key(format!(
                "Workspace not found: {}",
                shown(&workspace)
            )));
        }
        state.router.bus().announce(Notice::Unloaded {
            workspace: workspace.clone(),
        });
        let caller = hypha_wire::absolute_address(ctx.from(), ctx.workspace());
        // The caller stays connected, because it waits for the response.
        let others = |peer: &Arc<Peer>| peer.address != *caller;
        let order = CloseOrder::new(1001, format!("Workspace unloaded: {workspace}"));
        for client in clients(&state, &workspace)
            .iter()
            .filter(|peer| others(peer))
        {
            client.outbox.close(order.clone().with_error_frame());
        }
        if !wait {
            return Ok(());
        }
        let empty = async {
            while clients(&state, &workspace).iter().any(others) {
                sleep(CHECK_INTERVAL).await;
            }
        };
        let limit = Duration::try_from_secs_f64(limit.clamp(0.0, UNLOAD_MAX)).unwrap_or_default();
        timeout(limit, empty).await.map_err(|_| {
            ManagerError::Timeout(format!("some clients of {workspace} are still connected"))
        })?;
        // This call is necessary only if the workspace had no clients. Otherwise, the last client
        // that left has unloaded the workspace.
        let unloaded = workspace::unload_if_empty(&state, &workspace).await;
        unloaded.map_err(unavailable)
    }

    /// Returns counts of connections and messages of this server.
    pub(crate) async fn get_metrics(&self, ctx: &Context) -> Answer<Value> {
        let stats = self.state(ctx)?.stats();
        let created = stats.connections_accepted;
        Ok(json!({
            "rpc": {"rpc_connections": {
                "created_total": created,
                "closed_total": created.saturating_sub(stats.connections_open),
                "active": stats.connections_open,
            }},
            "eventbus": {"eventbus": {
                "messages_processed_total": stats.messages_routed,
                "local_clients": stats.connections_open,
            }},
        })
        .into())
    }

    /// Returns the connections of this server by user and workspace, and their limits.
    pub(crate) async fn get_resource_usage(&self, ctx: &Context) -> Answer<Value> {
        let state = self.state(ctx)?;
        let (mut users, mut workspaces) = (Map::new(), Map::new());
        for peer in state.router.all(|peer| is_internal(&state, peer)) {
            for (counts, key) in [
                (&mut users, &peer.user.id),
                (&mut workspaces, &peer.workspace),
            ] {
                let count = counts.get(key.as_str()).and_then(Value::as_u64);
                counts.insert(key.clone(), Value::from(count.unwrap_or(0) + 1));
            }
        }
        let limits = &state.settings.limits;
        Ok(Value::Map(Map::from_iter([
            ("connections_per_user".to_owned(), Value::Map(users)),
            (
                "connections_per_workspace".to_owned(),
                Value::Map(workspaces),
            ),
            (
                "limits".to_owned(),
                json!({
                    "max_connections_per_user": limits.connections_per_user,
                    "max_clients_per_workspace": limits.clients_per_workspace,
                    "max_services_per_client": limits.services_per_client,
                    "ws_msg_rate_limit": limits.messages_per_second,
                    "ws_msg_burst_limit": limits.message_burst,
                })
                .into(),
            ),
        ])))
    }
}
