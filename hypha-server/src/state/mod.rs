//! The parts of one running server, shared by all of its connections.
//!
//! Each part owns its lock. The state itself has none.

#[cfg(feature = "redis")]
mod cluster;
mod server_clients;
mod shutdown;
mod waiting;

use std::sync::Arc;

use hypha_rpc::Context;
use hypha_wire::absolute_address;
use tokio::sync::{Mutex, mpsc};

pub(crate) use self::server_clients::ServerClients;
pub(crate) use self::shutdown::Shutdown;
pub(crate) use self::waiting::{WaitingCall, WaitingCalls};
use crate::auth::{Issuer, payer};
use crate::bus::Bus;
use crate::event_log::EventLog;
use crate::memory::{Budget, MemoryLimits};
use crate::metrics::{Counters, Stats};
use crate::peer::Peer;
use crate::registry::Registry;
use crate::router::Router;
use crate::settings::Settings;
use crate::store::Store;

/// The version of the original server whose behaviour clients may expect.
pub(crate) const HYPHA_VERSION: &str = "0.21.137";

/// The account for calls of clients that have left.
const DEPARTED: &str = "departed";

/// The names and URLs under which clients know the server.
#[derive(Clone, Debug)]
pub(crate) struct ServerInfo {
    pub(crate) server_id: String,
    pub(crate) manager_id: String,
    /// Empty, or `/something`.
    pub(crate) base_path: String,
    pub(crate) public_base_url: String,
    pub(crate) local_base_url: String,
}

impl ServerInfo {
    /// Returns the URL of the login service.
    pub(crate) fn login_service_url(&self) -> String {
        format!("{}/public/services/hypha-login", self.public_base_url)
    }
}

/// The parts of one running server.
pub(crate) struct State {
    pub(crate) info: ServerInfo,
    pub(crate) settings: Settings,
    pub(crate) started: std::time::Instant,
    pub(crate) counters: Arc<Counters>,
    pub(crate) memory: Arc<Budget>,
    pub(crate) router: Router,
    pub(crate) registry: Box<dyn Registry>,
    pub(crate) store: Store,
    pub(crate) issuer: Issuer,
    pub(crate) event_log: EventLog,
    /// Held while the record of a workspace is read, changed and stored.
    pub(crate) workspace_records: Mutex<()>,
    pub(crate) clients: ServerClients,
    /// Calls to the manager that wait for other clients.
    pub(crate) waiting: WaitingCalls,
    pub(crate) shutdown: Shutdown,
}

/// The parts of a [`State`] that are made before it.
pub(crate) struct Parts {
    pub(crate) info: ServerInfo,
    pub(crate) settings: Settings,
    pub(crate) registry: Box<dyn Registry>,
    pub(crate) bus: Box<dyn Bus>,
    pub(crate) store: Store,
    pub(crate) counters: Arc<Counters>,
    pub(crate) issuer: Issuer,
    pub(crate) alive: mpsc::WeakSender<()>,
}

impl State {
    /// Puts the parts together.
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
            workspace_records: Mutex::default(),
            clients: ServerClients::default(),
            shutdown: Shutdown::new(parts.alive),
            settings: parts.settings,
        }
    }

    /// Returns the name of a connection in the records that it writes, unique among all servers
    /// that share them.
    pub(crate) fn owner(&self, peer: &Peer) -> String {
        format!("{}#{}", self.info.server_id, peer.generation)
    }

    /// Returns the user or address to which the memory for a caller is charged, and under which its
    /// places are counted.
    pub(crate) fn account_owner(&self, ctx: &Context) -> String {
        let address = absolute_address(ctx.from(), ctx.workspace());
        match self.router.find_address(&address) {
            Some(caller) => caller.owner().to_owned(),
            // A caller at another server is known by its user only.
            None if self.router.bus().has_others() => payer(ctx.user()).to_owned(),
            // All that have left share one account: nobody waits for what is done for them.
            None => DEPARTED.to_owned(),
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
        stats
    }

    /// Returns whether clients can be let in now.
    pub(crate) fn is_ready(&self) -> bool {
        // The manager is there from before the first connection until the end.
        !self.shutdown.is_stopping()
            && self.clients.manager().is_some()
            && self.router.bus().is_up()
            && self.registry.is_up()
    }
}
