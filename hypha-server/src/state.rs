//! What all parts of one running server share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::HeaderValue;
use hypha_rpc::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::auth::Issuer;
use crate::bus::Bus;
use crate::config::{Limits, TokenSettings};
use crate::http::HttpRates;
use crate::metrics::Counters;
use crate::registry::Registry;
use crate::router::Router;
use crate::session::{Admission, Peer, Seats, Streams};
use crate::store::Store;

/// The version of the original server whose behaviour clients may expect.
pub(crate) const HYPHA_VERSION: &str = "0.21.137";

/// What the server tells about itself.
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
    pub(crate) fn login_service_url(&self) -> String {
        format!("{}/public/services/hypha-login", self.public_base_url)
    }
}

pub(crate) struct State {
    pub(crate) info: ServerInfo,
    pub(crate) tokens: TokenSettings,
    pub(crate) started: std::time::Instant,
    pub(crate) limits: Limits,
    /// The origins of web pages that may use the server; any if empty.
    pub(crate) origins: Vec<HeaderValue>,
    /// Whether a proxy says where requests come from.
    pub(crate) behind_proxy: bool,
    pub(crate) http_rates: HttpRates,
    /// Life of a reconnection token in seconds.
    pub(crate) reconnection_life: u64,
    pub(crate) counters: Arc<Counters>,
    pub(crate) router: Router,
    pub(crate) registry: Box<dyn Registry>,
    pub(crate) store: Store,
    pub(crate) issuer: Issuer,
    pub(crate) admission: Admission,
    /// The clients over HTTP.
    pub(crate) streams: Streams,
    pub(crate) users: Arc<Seats>,
    pub(crate) workspaces: Arc<Seats>,
    /// Held while a workspace's record is read, changed and stored.
    pub(crate) workspace_records: tokio::sync::Mutex<()>,
    pub(crate) events: crate::workspace::EventLog,
    /// The manager as a client. Taken out at the end: it holds on to this state.
    manager: Mutex<Option<Client>>,
    /// The manager under the addresses that it had before a restart.
    pub(crate) former_managers: tokio::sync::Mutex<VecDeque<Client>>,
    /// The server's own services.
    pub(crate) residents: tokio::sync::Mutex<Vec<Client>>,
    stopping: watch::Sender<bool>,
    /// The tasks of all connections; none once the server has ended.
    tasks: Mutex<Option<JoinSet<()>>>,
    /// Every connection holds a sender; the receiver learns when the last one is gone.
    alive: mpsc::WeakSender<()>,
}

/// What a [`State`] is made of.
pub(crate) struct Parts {
    pub(crate) info: ServerInfo,
    pub(crate) tokens: TokenSettings,
    pub(crate) limits: Limits,
    pub(crate) origins: Vec<HeaderValue>,
    pub(crate) behind_proxy: bool,
    pub(crate) reconnection_life: u64,
    pub(crate) registry: Box<dyn Registry>,
    pub(crate) bus: Box<dyn Bus>,
    pub(crate) store: Store,
    pub(crate) issuer: Issuer,
    pub(crate) alive: mpsc::WeakSender<()>,
}

impl State {
    /// A connection as the records name it that it writes, in all servers that share them.
    pub(crate) fn owner(&self, peer: &Peer) -> String {
        format!("{}#{}", self.info.server_id, peer.generation)
    }

    pub(crate) fn new(parts: Parts) -> State {
        let counters = Arc::new(Counters::default());
        let limits = parts.limits;
        State {
            info: parts.info,
            tokens: parts.tokens,
            started: std::time::Instant::now(),
            origins: parts.origins,
            behind_proxy: parts.behind_proxy,
            http_rates: HttpRates::new(&limits),
            reconnection_life: parts.reconnection_life,
            router: Router::new(counters.clone(), limits.deliver_timeout, parts.bus),
            counters,
            registry: parts.registry,
            store: parts.store,
            issuer: parts.issuer,
            admission: Admission::new(limits.concurrent_handshakes),
            streams: Streams::default(),
            users: Seats::new(limits.connections_per_user),
            workspaces: Seats::new(limits.clients_per_workspace),
            workspace_records: tokio::sync::Mutex::default(),
            events: crate::workspace::EventLog::default(),
            manager: Mutex::default(),
            former_managers: tokio::sync::Mutex::default(),
            residents: tokio::sync::Mutex::default(),
            stopping: watch::Sender::new(false),
            tasks: Mutex::new(Some(JoinSet::new())),
            alive: parts.alive,
            limits,
        }
    }

    /// The manager's own connection, while the server runs.
    pub(crate) fn manager(&self) -> Option<Client> {
        self.manager
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_manager(&self, client: Option<Client>) -> Option<Client> {
        std::mem::replace(
            &mut *self.manager.lock().unwrap_or_else(PoisonError::into_inner),
            client,
        )
    }

    fn tasks(&self) -> MutexGuard<'_, Option<JoinSet<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Run a connection's task, which ends with the server at the latest.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = &mut *self.tasks() {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }

    /// End the tasks that are left.
    pub(crate) async fn end_tasks(&self) {
        let tasks = self.tasks().take();
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
    }

    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Whether clients can be let in now.
    pub(crate) fn is_ready(&self) -> bool {
        // The manager is there from before the first connection until the end.
        !self.is_stopping() && self.manager().is_some() && self.router.bus().is_up()
    }

    /// Wait until the server is asked to stop.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.stopping.subscribe();
        async move {
            // An error means that the state is gone, which is as good.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        }
    }

    /// To be held by a task that the server's end should wait for.
    pub(crate) fn alive(&self) -> Option<mpsc::Sender<()>> {
        self.alive.upgrade()
    }
}
