//! Holds the state of one running server, which all of its connections share.
//!
//! The module `server` creates the [`State`] and ends it. All higher layers hold the state in an
//! `Arc`. The clients inside the server also hold the state, and the state holds these clients, so
//! [`ServerClients::shutdown`] must break the cycle at the end.
//!
//! Each part of the state has its own lock. The methods of the part take and release this lock. The
//! exception is [`State::workspace_records`], an asynchronous lock that callers hold. This lock
//! must be taken before any other lock.

mod blocked;
#[cfg(feature = "redis")]
mod cluster;
mod emptied;
mod server_clients;
mod shutdown;
mod waiting;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use hypha_rpc::Context;
use hypha_rpc::workspace::{ManagerError, Permission};
use hypha_wire::absolute_address;
use tokio::sync::{Mutex, mpsc};

pub(crate) use self::blocked::{Blockable, Blocked};
pub(crate) use self::emptied::Emptied;
pub(crate) use self::server_clients::ServerClients;
pub(crate) use self::shutdown::Shutdown;
pub(crate) use self::waiting::{WaitingCall, WaitingCalls};
use crate::auth::{Issuer, payer};
use crate::bus::Bus;
use crate::event_log::EventLog;
use crate::memory::{Budget, MemoryLimits};
use crate::metrics::{Counters, Stats};
use crate::peer::{CloseOrder, Peer};
use crate::registry::Registry;
use crate::router::Router;
use crate::settings::Settings;
use crate::store::Store;

/// The version of the Python server whose behavior this server implements. The server reports this
/// version to clients.
pub(crate) const HYPHA_VERSION: &str = "0.21.137";

/// Name of the memory owner for calls of clients that have disconnected.
const DEPARTED: &str = "departed";

/// Workspace whose administrators administer the whole server. The workspace contains the services
/// for the administration.
pub(crate) const ADMINISTRATION: &str = "ws-user-root";

/// The names and URLs of the server, as clients see them.
#[derive(Clone, Debug)]
pub(crate) struct ServerInfo {
    /// Id of the server, unique in its cluster.
    pub(crate) server_id: String,
    /// Client id of the workspace manager.
    pub(crate) manager_id: String,
    /// Prefix of all paths: empty, or `/something` without a slash at the end.
    pub(crate) base_path: String,
    /// URL for clients, without a slash at the end.
    pub(crate) public_base_url: String,
    /// URL for clients on the same machine, without a slash at the end.
    pub(crate) local_base_url: String,
}

impl ServerInfo {
    /// Returns the URL of the login service.
    pub(crate) fn login_service_url(&self) -> String {
        format!("{}/public/services/hypha-login", self.public_base_url)
    }
}

/// The state of one running server.
pub(crate) struct State {
    pub(crate) info: ServerInfo,
    /// The checked settings. The server id, the secret for tokens and the root token were removed
    /// from the settings.
    pub(crate) settings: Settings,
    /// Whether the embedding program has added or replaced methods of the login service.
    #[cfg(feature = "console")]
    pub(crate) has_login_methods: bool,
    /// Time at which the server started.
    pub(crate) started: std::time::Instant,
    pub(crate) counters: Arc<Counters>,
    /// Duration of the last heartbeat to Redis, in microseconds. Zero without Redis.
    pub(crate) redis_latency: AtomicU64,
    /// The memory accounts.
    pub(crate) memory: Arc<Budget>,
    pub(crate) router: Router,
    /// The records of workspaces and services.
    pub(crate) registry: Box<dyn Registry>,
    /// The database in the data folder.
    pub(crate) store: Store,
    /// Issues and checks tokens.
    pub(crate) issuer: Issuer,
    pub(crate) event_log: EventLog,
    pub(crate) blocked: Blocked,
    /// Callers hold this lock while they read, change and store the record of a workspace, so that
    /// no change is lost. Callers take this lock before any other lock, and hold it across awaits.
    pub(crate) workspace_records: Mutex<()>,
    /// The clients of the server itself.
    pub(crate) clients: ServerClients,
    /// Workspaces without clients whose grace period has not ended.
    pub(crate) emptied: Emptied,
    /// Calls to the manager that wait for other clients.
    pub(crate) waiting: WaitingCalls,
    pub(crate) shutdown: Shutdown,
}

/// The parts of a [`State`] that are created before the state.
pub(crate) struct Parts {
    pub(crate) info: ServerInfo,
    pub(crate) settings: Settings,
    #[cfg(feature = "console")]
    pub(crate) has_login_methods: bool,
    pub(crate) registry: Box<dyn Registry>,
    pub(crate) bus: Box<dyn Bus>,
    pub(crate) store: Store,
    pub(crate) counters: Arc<Counters>,
    pub(crate) issuer: Issuer,
    /// See [`Shutdown::alive`].
    pub(crate) alive: mpsc::WeakSender<()>,
}

impl State {
    /// Creates the state of a server. Starts nothing.
    pub(crate) fn new(parts: Parts) -> State {
        let counters = parts.counters;
        let limits = &parts.settings.limits;
        let deliver_timeout = limits.deliver_timeout;
        let memory = Budget::new(MemoryLimits {
            process: limits.memory_bytes,
            owner: limits.user_memory_bytes,
            account: limits.connection_memory_bytes,
            patience: limits.memory_timeout,
        });
        let waiting = WaitingCalls::new(limits, counters.clone());
        State {
            redis_latency: AtomicU64::new(0),
            emptied: Emptied::default(),
            waiting,
            info: parts.info,
            started: std::time::Instant::now(),
            router: Router::new(counters.clone(), deliver_timeout, parts.bus),
            counters,
            memory,
            registry: parts.registry,
            store: parts.store,
            issuer: parts.issuer,
            event_log: EventLog::default(),
            blocked: Blocked::default(),
            workspace_records: Mutex::default(),
            clients: ServerClients::default(),
            shutdown: Shutdown::new(parts.alive),
            settings: parts.settings,
            #[cfg(feature = "console")]
            has_login_methods: parts.has_login_methods,
        }
    }

    /// Returns the name of the connection that owns records in the registry:
    /// `<server>#<generation>`, unique in the cluster. A newer connection of the same client has
    /// another name, so the end of the old connection does not remove the records of the new
    /// connection.
    pub(crate) fn owner(&self, peer: &Peer) -> String {
        format!("{}#{}", self.info.server_id, peer.generation)
    }

    /// Returns the user or IP address to which the memory and the slots of a caller are charged.
    pub(crate) fn account_owner(&self, ctx: &Context) -> String {
        match self.caller(ctx) {
            Some(caller) => caller.owner().to_owned(),
            // The caller has disconnected since it sent the call. All such callers share one
            // account, because no client waits for their results.
            None if self.has_departed(ctx) => DEPARTED.to_owned(),
            // The user is charged, because only the other server knows the IP address of the
            // caller.
            None => payer(ctx.user()).to_owned(),
        }
    }

    /// Returns the caller if the caller is connected to this server.
    fn caller(&self, ctx: &Context) -> Option<Arc<Peer>> {
        let address = absolute_address(ctx.from(), ctx.workspace());
        self.router.find_address(&address)
    }

    /// Returns whether the caller has certainly disconnected. Returns false in a cluster, because
    /// the caller may be connected to another server.
    pub(crate) fn has_departed(&self, ctx: &Context) -> bool {
        self.caller(ctx).is_none() && !self.router.bus().has_others()
    }

    /// Waits until the caller has disconnected.
    ///
    /// The cancellation in the context does not suffice. A call that has waited in a queue may
    /// begin after the server has announced the disconnect of the caller. The server does not
    /// cancel such a call.
    pub(crate) async fn departure(&self, ctx: &Context) {
        if !self.has_departed(ctx) {
            ctx.cancellation().cancelled().await;
        }
    }

    /// Returns the state if the caller is an administrator of the server.
    ///
    /// # Errors
    ///
    /// Fails if the caller is not an administrator, or if the server is shutting down.
    pub(crate) fn for_administrator(
        state: &Weak<State>,
        ctx: &Context,
    ) -> Result<Arc<State>, ManagerError> {
        if !ctx.user().may(Permission::Admin, ADMINISTRATION) {
            return Err(ManagerError::Permission(format!(
                "Permission denied for workspace {ADMINISTRATION}"
            )));
        }
        let state = state.upgrade();
        state.ok_or_else(|| ManagerError::Runtime("the server is shutting down".into()))
    }

    /// Disconnects the clients of a user whose credentials have changed, and the clients with
    /// tokens that the user has issued.
    #[cfg_attr(
        not(any(feature = "accounts", feature = "redis")),
        allow(dead_code, reason = "there are no accounts")
    )]
    pub(crate) fn disconnect_user(&self, user_id: &str) {
        for client in self.router.all(|peer| payer(&peer.user) != user_id) {
            let order = CloseOrder::new(1008, "the credentials of the user have changed");
            client.outbox.close(order.with_error_frame());
        }
    }

    /// Returns the counters and the state of the memory accounts.
    pub(crate) fn stats(&self) -> Stats {
        let memory = self.memory.stats();
        let mut stats = self.counters.snapshot();
        stats.memory_used = memory.used as u64;
        stats.memory_overhead = memory.overhead as u64;
        stats.memory_peak = memory.peak as u64;
        stats.memory_limit = memory.limit as u64;
        stats.memory_owners = memory.owners as u64;
        stats.memory_largest_owner = memory.largest_owner as u64;
        stats.memory_refused = memory.refused as u64;
        stats.memory_gave_way = memory.gave_way as u64;
        stats.client_load = self.router.highest_load().round() as u64;
        stats.redis_latency_microseconds = self.redis_latency.load(Ordering::Relaxed);
        stats
    }

    /// Returns whether clients can be admitted now. Returns false while Redis is unreachable.
    pub(crate) fn is_ready(&self) -> bool {
        self.has_manager() && self.router.bus().is_up() && self.registry.is_up()
    }

    /// Returns whether the manager has started, and the server is not shutting down.
    pub(crate) fn has_manager(&self) -> bool {
        // The manager is missing only before it has started and after the shutdown.
        !self.shutdown.is_stopping() && self.clients.manager().is_some()
    }
}
