//! Starts a server and shuts it down.
//!
//! [`Builder::start`] calls `start`, which creates the parts of a server, each part after the parts
//! that it uses: the store, the tokens, the backend, the state, and finally the services of the
//! server. `start` binds the address first. If the address is taken, `start` has therefore changed
//! nothing. One task, `run`, serves until the server stops, and then stops the parts in reverse
//! order.

mod backend;
mod builder;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use hypha_rpc::service::Service;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::backend::Backend;
pub use self::builder::Builder;
use self::builder::Extensions;
#[cfg(feature = "accounts")]
use crate::accounts::{self, Accounts};
use crate::admin;
use crate::auth::{self, Issuer};
use crate::metrics::{Counters, Stats};
use crate::registry::RecordLimits;
use crate::settings::{ConfigError, Settings};
use crate::state::{Parts, ServerInfo, State};
use crate::store::{Store, StoreError, StoredData};
use crate::{http, login, manager, queue, workspace};

/// Grace period for open connections when the server stops. After this time, the server aborts the
/// connections.
const GRACE: Duration = Duration::from_secs(5);

/// The reason why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The server cannot listen on the address, for example because another program listens on it.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address, `host:port`.
        address: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The server was started outside of a tokio runtime.
    #[error(
        "cannot start the server: there is no tokio runtime; await it inside of one, such as in an \
         `async fn main` with `#[tokio::main]`"
    )]
    NoRuntime,
    /// The data folder cannot be used, for example because another server uses it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Redis cannot be reached, or another server that shares this Redis has the same id.
    #[error("cannot use Redis")]
    Redis(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The workspace manager, or another service of the server, could not be started.
    #[error("cannot start a service of the server")]
    Manager(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The origin of the requests to a server.
enum RequestSource {
    /// Connections that the server itself accepts with this listener.
    Listener(TcpListener),
    /// The router of the embedding program, which contains the routes of the server.
    Mounted,
}

/// Starts a server with a listener of its own. The settings must be valid. Returns as soon as
/// clients can connect.
async fn start(settings: Settings, extensions: Extensions) -> Result<Server, StartError> {
    check_runtime()?;
    // The address is bound first. If it is taken, the server does not touch the data folder or
    // Redis.
    let listener = listen(&settings).await?;
    let address = listener.local_addr().map_err(|source| StartError::Bind {
        address: listen_address(&settings),
        source,
    })?;
    let source = RequestSource::Listener(listener);
    let (server, _) = start_at(settings, extensions, address, source).await?;
    Ok(server)
}

/// Returns an error outside of a tokio runtime, where the first use of a socket or timer would
/// panic.
fn check_runtime() -> Result<(), StartError> {
    let found = tokio::runtime::Handle::try_current();
    found.map(drop).map_err(|_| StartError::NoRuntime)
}

/// Starts a server for a program that listens on `address`. The settings must be valid.
async fn mount(
    settings: Settings,
    extensions: Extensions,
    address: SocketAddr,
) -> Result<(Server, Router), StartError> {
    check_runtime()?;
    let (server, origins) = start_at(settings, extensions, address, RequestSource::Mounted).await?;
    let routes = http::mounted(&server.state, &origins);
    Ok((server, routes))
}

/// Starts a server. Returns the server, and the origins of the web pages that may use the server.
async fn start_at(
    mut settings: Settings,
    extensions: Extensions,
    address: SocketAddr,
    source: RequestSource,
) -> Result<(Server, Vec<HeaderValue>), StartError> {
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    let store = match &settings.data_dir {
        Some(folder) => Store::open(folder)?,
        None => Store::default(),
    };
    let StoredData {
        workspaces,
        revoked,
        #[cfg(feature = "accounts")]
            accounts: stored_accounts,
        skipped,
    } = store.load()?;
    let server_id = match settings.server_id.take() {
        Some(id) => id,
        None => store.setting("server_id", hypha_wire::random_id)?,
    };
    let jwt_secret = match settings.jwt_secret.take() {
        Some(secret) => secret,
        None => store.setting("jwt_secret", auth::new_secret)?,
    };
    let root_token = settings.root_token.take();
    let issuer = Issuer::new(&jwt_secret, root_token, settings.tokens.clone())
        .with_authenticator(extensions.authenticator);
    for (hash, end) in revoked {
        // A hash with an invalid length cannot belong to a token, so it is skipped.
        if let Ok(hash) = auth::TokenHash::try_from(hash.as_slice()) {
            issuer.remember_revoked(hash, end);
        }
    }
    let info = server_info(&settings, server_id, address)?;
    let limits = RecordLimits::from(&settings.limits);
    let counters = Arc::new(Counters::default());
    counters.records_skipped.add_many(skipped);
    let backend = match &settings.redis_uri {
        Some(uri) => Backend::through_redis(uri, &info, limits, counters.clone()).await?,
        None => Backend::alone(
            store.clone(),
            workspaces,
            #[cfg(feature = "accounts")]
            stored_accounts,
            limits,
        ),
    };
    for (token, end) in &backend.revoked {
        for hash in auth::hashes_to_revoke(token) {
            issuer.remember_revoked(hash, *end);
        }
    }
    workspace::create_system_workspaces(&*backend.registry)
        .await
        .map_err(|error| StartError::Manager(error.into()))?;
    let origins = settings.origins()?;
    let (alive, all_gone) = mpsc::channel(1);
    let state = Arc::new(State::new(Parts {
        info,
        settings,
        #[cfg(feature = "console")]
        has_login_methods: !extensions.login_methods.is_empty(),
        registry: backend.registry,
        bus: backend.bus,
        store,
        counters,
        issuer,
        alive: alive.downgrade(),
    }));
    // The receiver of the bus starts before the services of the server, because it subscribes to
    // the addresses of these services.
    #[cfg(feature = "redis")]
    if let Some(receiver) = backend.receiver {
        let recipient = Arc::downgrade(&state);
        tokio::spawn(receiver.run(recipient));
        let watching = state.clone();
        state.shutdown.spawn(async move {
            // This task sends the beats of this server to Redis. It ignores the shutdown signal,
            // and is aborted at the end of the shutdown. If the beats stopped earlier, the other
            // servers would remove the records of this server.
            workspace::watch_servers(&watching).await;
        });
        let searching = state.clone();
        state.shutdown.spawn(async move {
            tokio::select! {
                () = searching.shutdown.stopped() => {}
                () = workspace::remove_orphans(&searching) => {}
            }
        });
    }
    let unloading = state.clone();
    state.shutdown.spawn(async move {
        tokio::select! {
            () = unloading.shutdown.stopped() => {}
            () = workspace::unload_emptied(&unloading) => {}
        }
    });
    // The manager is started first, because the other services register with it.
    manager::start(&state)
        .await
        .map_err(|error| StartError::Manager(error.into()))?;
    #[cfg(feature = "accounts")]
    let accounts = Accounts::start(&state);
    login::start(
        &state,
        #[cfg(feature = "accounts")]
        accounts.clone(),
        extensions.login_methods,
        own_services(&state)
            .into_iter()
            .chain(extensions.services)
            .collect(),
    )
    .await
    .map_err(|error| StartError::Manager(error.into()))?;
    #[cfg(feature = "accounts")]
    let for_administrators = accounts.map(accounts::service).into_iter().collect();
    #[cfg(not(feature = "accounts"))]
    let for_administrators = Vec::new();
    admin::start(&state, for_administrators)
        .await
        .map_err(|error| StartError::Manager(error.into()))?;
    let data = state.settings.data_dir.as_deref();
    let data = data.map_or_else(|| "none".to_owned(), |folder| folder.display().to_string());
    tracing::info!(%address, server_id = state.info.server_id, data, "listening");
    let running = tokio::spawn(run(source, state.clone(), origins.clone(), alive, all_gone));
    let server = Server {
        state,
        address,
        running: Some(running),
    };
    Ok((server, origins))
}

/// Returns the services of the server in the workspace `public`, besides the login service.
fn own_services(state: &Arc<State>) -> Vec<Service> {
    let queue = queue::service(state);
    #[cfg(feature = "skills")]
    if !state.settings.disable_agent_skills {
        let skills = http::skills_service(&state.info.public_base_url);
        return vec![queue, skills];
    }
    vec![queue]
}

/// Returns the address in the settings, for error texts.
fn listen_address(settings: &Settings) -> String {
    format!("{}:{}", settings.host, settings.port)
}

/// Listens on the address in the settings.
async fn listen(settings: &Settings) -> Result<TcpListener, StartError> {
    // A URL contains an IPv6 address in brackets. The brackets are removed, because `TcpListener`
    // does not accept them.
    let host = settings.host.trim_start_matches('[').trim_end_matches(']');
    let bound = TcpListener::bind((host, settings.port)).await;
    bound.map_err(|source| StartError::Bind {
        address: listen_address(settings),
        source,
    })
}

/// Returns the names and URLs of a server that listens on `address`.
fn server_info(
    settings: &Settings,
    server_id: String,
    address: SocketAddr,
) -> Result<ServerInfo, ConfigError> {
    // If the server listens on all addresses (0.0.0.0), its URL contains the loopback address,
    // because clients cannot connect to 0.0.0.0.
    let host = match address {
        address if address.ip().is_unspecified() => "127.0.0.1".to_owned(),
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    let base_path = settings.base()?;
    let local_base_url = format!("http://{host}:{}{base_path}", address.port());
    let public_base_url = settings.public_base_url.as_deref();
    let public_base_url = public_base_url.map(|url| url.trim_end_matches('/').to_owned());
    Ok(ServerInfo {
        base_path,
        manager_id: format!("manager-{server_id}"),
        server_id,
        public_base_url: public_base_url.unwrap_or_else(|| local_base_url.clone()),
        local_base_url,
    })
}

/// Accepts connections until the server is told to stop. Waits for the connections to end, and then
/// stops everything else.
///
/// Each connection holds a token, which is a clone of the sender `alive`. `all_gone` completes when
/// all tokens are dropped.
async fn run(
    source: RequestSource,
    state: Arc<State>,
    origins: Vec<HeaderValue>,
    alive: mpsc::Sender<()>,
    mut all_gone: mpsc::Receiver<()>,
) {
    match source {
        RequestSource::Listener(listener) => http::serve(listener, state.clone(), origins).await,
        RequestSource::Mounted => state.shutdown.stopped().await,
    }
    // The sender is dropped, so that no new connection gets a token, and the channel closes when
    // the last connection drops its token.
    drop(alive);
    if tokio::time::timeout(GRACE, all_gone.recv()).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
    // This call is needed even if all tokens are dropped, because idle HTTP connections hold no
    // token.
    state.shutdown.end_tasks().await;
    // If the records of these services remained, other servers of the cluster would call services
    // that no longer have a provider.
    let services = state
        .registry
        .remove_client("public", &state.info.server_id, None);
    for removed in [services.await.map(drop), admin::stop(&state).await] {
        if let Err(error) = removed {
            tracing::warn!(%error, "cannot remove the records of the server's own services");
        }
    }
    if let Err(error) = state.registry.remove_server(&state.info.server_id).await {
        tracing::warn!(%error, "cannot announce the end of this server");
    }
    state.clients.shutdown().await;
    state.store.close();
    tracing::info!("stopped");
}

/// A running server. It stops when [`shutdown`](Self::shutdown) is called or when it is dropped.
///
/// Dropping the value only signals the server to stop. The tasks of the server then end in the
/// background, as long as the runtime still runs. Call [`shutdown`](Self::shutdown) to wait until
/// the tasks have ended.
///
/// # Examples
///
/// ```
/// # async fn example() -> anyhow::Result<()> {
/// let server = hypha_server::Server::builder().bind("127.0.0.1:0").start().await?;
/// let client = hypha_rpc::connect(server.url()).await?;
/// assert_eq!(server.stats().connections_open, 1);
/// # client.disconnect().await;
/// server.shutdown().await;
/// # Ok(())
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
/// ```
#[must_use = "the server stops when this is dropped"]
pub struct Server {
    state: Arc<State>,
    address: SocketAddr,
    running: Option<JoinHandle<()>>,
}

impl Server {
    /// Returns a builder with the default settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns the URL for clients on this machine, such as `http://127.0.0.1:9527`. Clients
    /// elsewhere use [`Settings::public_base_url`].
    #[must_use]
    pub fn url(&self) -> &str {
        &self.state.info.local_base_url
    }

    /// Returns the address on which the server listens. For port 0 in the settings, the address
    /// contains the port that the operating system has chosen.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the counters of the server, and the memory that the server holds for peers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.state.stats()
    }

    /// Also counts the memory growth of this process after this call towards
    /// [`Limits::memory_bytes`](crate::Limits::memory_bytes). Without this call, only the memory
    /// that the server holds for peers counts. Returns whether the growth is counted: only Linux
    /// reports the memory of a process.
    ///
    /// Call this method once, right after the start, in a program that only runs the server. In any
    /// other program, the memory of the rest of the program would count as well.
    #[expect(
        clippy::must_use_candidate,
        reason = "the server also runs without this count"
    )]
    pub fn count_process_memory(&self) -> bool {
        self.state.memory.count_process().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot watch the memory of the process");
            false
        })
    }

    /// Stops the server, and waits until it has stopped.
    ///
    /// Closes every connection with code 1001. Clients then reconnect to this address or to another
    /// server. Connections that are still open after five seconds are aborted.
    pub async fn shutdown(mut self) {
        self.state.shutdown.stop();
        if let Some(running) = self.running.take() {
            // The result is ignored. An error means that the task has panicked, and the server has
            // then stopped too.
            let _ = running.await;
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A destructor cannot wait, so it only signals the tasks of the server to stop.
        self.state.shutdown.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn a_start_outside_of_a_runtime_is_an_error() {
        let builder = || Server::builder().bind("127.0.0.1:0");
        let started = builder().start().now_or_never().unwrap();
        let mounted = builder().mount(([127, 0, 0, 1], 80).into()).now_or_never();
        for outcome in [started.map(drop), mounted.unwrap().map(drop)] {
            let error = outcome.unwrap_err().to_string();
            assert!(error.contains("there is no tokio runtime"), "{error}");
        }
    }

    #[tokio::test]
    async fn the_state_of_a_stopped_server_is_freed() {
        for shut_down in [true, false] {
            let server = Server::builder().bind("127.0.0.1:0").start().await.unwrap();
            // Without `reconnect(None)`, the client would try to reconnect without end.
            let connecting = hypha_rpc::connect(server.url()).reconnect(None);
            let client = connecting.await.unwrap();
            let state = Arc::downgrade(&server.state);
            if shut_down {
                server.shutdown().await;
            } else {
                drop(server);
            }
            client.closed().await;
            let gone = async {
                while state.strong_count() > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let gone = tokio::time::timeout(Duration::from_secs(10), gone).await;
            assert!(
                gone.is_ok(),
                "{} still hold the state",
                state.strong_count()
            );
        }
    }

    #[tokio::test]
    async fn idle_connections_end_with_the_server() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let server = Server::builder().bind("127.0.0.1:0").start().await.unwrap();
        let connect = || tokio::net::TcpStream::connect(server.local_addr());
        let (mut idle, mut begun) = (connect().await.unwrap(), connect().await.unwrap());
        let requests = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /he";
        begun.write_all(requests).await.unwrap();
        // The server accepts connections in order. After this response, it has therefore also
        // accepted the other connection.
        begun.read_u8().await.unwrap();
        server.shutdown().await;
        // The streams must end within 5 seconds. The timeout for the head of a request is longer,
        // so it cannot be the reason for their end.
        for stream in [&mut idle, &mut begun] {
            let mut rest = Vec::new();
            let ended = stream.read_to_end(&mut rest);
            let ended = tokio::time::timeout(Duration::from_secs(5), ended).await;
            assert!(ended.is_ok(), "still open");
        }
    }

    #[tokio::test]
    async fn unusable_settings_fail_before_anything_starts() {
        let start = |builder: Builder| builder.start();
        let taken = Server::builder().bind("127.0.0.1:0").start().await.unwrap();
        let again = Server::builder().bind(taken.local_addr().to_string());
        assert!(matches!(start(again).await, Err(StartError::Bind { .. })));
        let weak = Server::builder().bind("127.0.0.1:0").root_token("short");
        assert!(matches!(start(weak).await, Err(StartError::Config(_))));
        let nowhere = Server::builder().bind("localhost");
        assert!(matches!(start(nowhere).await, Err(StartError::Config(_))));
        let id = Server::builder().bind("127.0.0.1:0").server_id("a/b");
        assert!(matches!(start(id).await, Err(StartError::Config(_))));
    }
}
