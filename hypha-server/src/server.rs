//! Starting and ending a server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hypha_rpc::service::Method;
use hypha_rpc::workspace::WorkspaceInfo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::auth::{self, Authenticator, Issuer};
#[cfg(feature = "redis")]
use crate::bus;
use crate::bus::{Bus, NoBus};
use crate::config::{Config, ConfigError, Limits, TokenSettings};
use crate::http;
use crate::login;
use crate::metrics::Stats;
#[cfg(feature = "redis")]
use crate::registry::RedisRegistry;
use crate::registry::{MemoryRegistry, Registry};
use crate::state::{Parts, ServerInfo, State};
use crate::store::{Store, StoreError};
use crate::workspace;

const DEFAULT_BIND: &str = "127.0.0.1:9527";
const RECONNECTION_TOKEN_LIFE: Duration = Duration::from_secs(172_800);
/// How long Redis may take to answer when the server starts.
#[cfg(feature = "redis")]
const REDIS_LIMIT: Duration = Duration::from_secs(10);
/// How long connections may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The data folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The Redis that servers share cannot be used.
    #[error("the Redis of the servers: {0}")]
    Redis(String),
    /// The workspace manager, or another service of the server, did not come up.
    #[error("a service of the server did not start: {0}")]
    Manager(String),
}

/// Settings of a server that is about to start.
#[derive(Clone, Debug, Default)]
#[must_use = "a server runs when it is started"]
pub struct Builder {
    config: Config,
}

impl Builder {
    /// Address and port to listen on; port 0 takes a free one. `127.0.0.1:9527` if not set.
    pub fn bind(mut self, address: impl Into<String>) -> Self {
        self.config.bind = address.into();
        self
    }

    /// The path below which everything is, such as `/hypha`, if others share the address. None if not
    /// set.
    pub fn base_path(mut self, path: impl Into<String>) -> Self {
        self.config.base_path = path.into();
        self
    }

    /// The settings as JSON, without secrets: of those is said whether they are set.
    ///
    /// # Errors
    /// A setting that cannot be used.
    pub fn describe(&self) -> Result<String, ConfigError> {
        self.config.check()?;
        Ok(format!("{:#}", self.config.describe()))
    }

    /// The URL by which clients know this server. It marks functions as belonging to it, so it
    /// must be the same for all clients.
    pub fn public_base_url(mut self, url: impl Into<String>) -> Self {
        self.config.public_base_url = Some(url.into().trim_end_matches('/').to_owned());
        self
    }

    /// The server's name, unique among those that work together. If not set, the one in the data
    /// folder, or a random one.
    pub fn server_id(mut self, id: impl Into<String>) -> Self {
        self.config.server_id = Some(id.into());
        self
    }

    /// The secret with which tokens are signed. If not set, the one in the data folder. Without
    /// either it is random; then tokens end with the server, and clients cannot come back after it
    /// is restarted.
    pub fn jwt_secret(mut self, secret: impl Into<String>) -> Self {
        self.config.jwt_secret = Some(secret.into());
        self
    }

    /// The names in tokens, and who besides the server issues them.
    pub fn tokens(mut self, settings: TokenSettings) -> Self {
        self.config.tokens = settings;
        self
    }

    /// A token that opens everything, of at least 32 characters.
    pub fn root_token(mut self, token: impl Into<String>) -> Self {
        self.config.root_token = Some(token.into());
        self
    }

    /// How long a client may stay away and come back with its reconnection token. Two days if
    /// not set.
    pub fn reconnection_token_life(mut self, life: Duration) -> Self {
        self.config.reconnection_token_life = Some(life);
        self
    }

    /// The origins of the web pages that may use the server, such as `https://lab.example.org`. Any
    /// if not set.
    pub fn allow_origins<I, S>(mut self, origins: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.config.allow_origins = origins.into_iter().map(Into::into).collect();
        self
    }

    /// Whether all requests come by way of a proxy that says in `X-Forwarded-For` where from.
    pub fn behind_proxy(mut self, behind: bool) -> Self {
        self.config.behind_proxy = behind;
        self
    }

    /// A folder for what is to survive a restart: the server's id and the secret for tokens, if they
    /// are not set, workspaces with what is in them, and which tokens were revoked. It is made if it
    /// is not there, and belongs to one server at a time. Without one nothing survives.
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config.data_dir = Some(folder.into());
        self
    }

    /// The Redis by which several servers share their workspaces, `redis://host:port`. Clients of one
    /// see and call those of the others, and can move between them. The servers need the same
    /// secret for tokens and the same public URL, and different ids.
    pub fn redis_uri(mut self, uri: impl Into<String>) -> Self {
        self.config.redis_uri = Some(uri.into());
        self
    }

    /// Other limits than the usual ones.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Tokens of your own, beside the server's or instead of them.
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.config.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// A method of the login service `public/hypha-login`: it replaces the server's own of that name, or
    /// comes beside them. Its callers are strangers.
    ///
    /// The service is one of pages: below `/public/apps/hypha-login/` the method `index` answers for the page
    /// itself and any other for its name, with `{status, headers, body}`. Below
    /// `/public/services/hypha-login/` all are functions, which pages and programs can call. A page of your own
    /// may so have the user's password checked by a method of your own, and bring the token that it
    /// got from there to the server's `report`, with the `key` in its own address; the program that
    /// waits in `check` gets it.
    ///
    /// ```
    /// use hypha_rpc::service::{Incoming, Method};
    /// use hypha_server::Server;
    ///
    /// let welcome = Method::new("index", |call: Incoming| async move {
    ///     let headers = serde_json::json!({"Content-Type": "text/html; charset=utf-8"});
    ///     let page = "<!doctype html><title>Badges</title>Hold your badge to the reader.";
    ///     call.reply(&serde_json::json!({"status": 200, "headers": headers, "body": page}))
    /// });
    /// let builder = Server::builder().login_method(welcome);
    /// ```
    pub fn login_method(mut self, method: Method) -> Self {
        self.config.login_methods.push(method);
        self
    }

    /// Listen and serve.
    ///
    /// # Errors
    /// A setting that cannot be used, an address that cannot be listened on, a data folder or a Redis
    /// that cannot be used.
    pub async fn start(self) -> Result<Server, StartError> {
        let mut config = self.config;
        config.check()?;
        let bind = if config.bind.is_empty() {
            DEFAULT_BIND.to_owned()
        } else {
            config.bind.clone()
        };
        let cannot_bind = |source| StartError::Bind {
            address: bind.clone(),
            source,
        };
        let listener = TcpListener::bind(&bind).await.map_err(cannot_bind)?;
        let address = listener.local_addr().map_err(cannot_bind)?;

        let store = match &config.data_dir {
            Some(folder) => Store::open(folder)?,
            None => Store::default(),
        };
        let kept = store.load()?;
        if config.server_id.is_none() {
            config.server_id = Some(store.setting("server_id", hypha_wire::random_id)?);
        }
        if config.jwt_secret.is_none() {
            config.jwt_secret = Some(store.setting("jwt_secret", auth::new_secret)?);
        }
        let (alive, all_gone) = mpsc::channel(1);
        let info = describe(&config, address)?;
        let shared = match &config.redis_uri {
            Some(uri) => Shared::through_redis(uri, &info).await?,
            None => Shared::alone(store.clone(), kept.workspaces),
        };
        workspace::create_system_workspaces(&*shared.registry)
            .await
            .map_err(|error| StartError::Manager(error.to_string()))?;
        let life = config
            .reconnection_token_life
            .unwrap_or(RECONNECTION_TOKEN_LIFE);
        let issuer = Issuer::new(
            config.jwt_secret.as_deref(),
            config.root_token.clone(),
            config.tokens.clone(),
        )
        .with_hooks(config.authenticator.take());
        for (print, end) in kept.revoked {
            if let Ok(print) = auth::Print::try_from(print.as_slice()) {
                issuer.remember_revoked(print, end);
            }
        }
        let state = Arc::new(State::new(Parts {
            info,
            tokens: config.tokens.clone(),
            reconnection_life: life.as_secs(),
            origins: config.origins()?,
            behind_proxy: config.behind_proxy,
            limits: config.limits,
            registry: shared.registry,
            bus: shared.bus,
            issuer,
            store,
            alive: alive.downgrade(),
        }));
        for (token, end) in shared.revoked {
            state.issuer.remember_revoked(auth::print(&token), end);
        }
        #[cfg(feature = "redis")]
        if let Some(begun) = shared.begun {
            tokio::spawn(begun.run(Arc::downgrade(&state)));
            let reaping = state.clone();
            state.spawn(async move {
                tokio::select! {
                    () = reaping.stopped() => {}
                    () = workspace::reap(&reaping) => {}
                }
            });
        }
        workspace::start(&state)
            .await
            .map_err(|error| StartError::Manager(error.to_string()))?;
        login::start(&state, config.login_methods)
            .await
            .map_err(|error| StartError::Manager(error.to_string()))?;
        let data = config.data_dir.as_deref().map(|folder| folder.display());
        let data = data.map_or_else(|| "none".to_owned(), |folder| folder.to_string());
        tracing::info!(%address, server_id = state.info.server_id, data, "listening");
        let running = tokio::spawn(run(listener, state.clone(), alive, all_gone));
        Ok(Server {
            state,
            address,
            running: Some(running),
        })
    }
}

/// What a server has in common with others, or would have.
struct Shared {
    registry: Box<dyn Registry>,
    bus: Box<dyn Bus>,
    /// Tokens that were revoked, and when they end.
    revoked: Vec<(String, u64)>,
    #[cfg(feature = "redis")]
    begun: Option<bus::Started>,
}

impl Shared {
    fn alone(store: Store, workspaces: Vec<WorkspaceInfo>) -> Shared {
        Shared {
            registry: Box::new(MemoryRegistry::new(store, workspaces)),
            bus: Box::new(NoBus),
            revoked: Vec::new(),
            #[cfg(feature = "redis")]
            begun: None,
        }
    }

    #[cfg(feature = "redis")]
    async fn through_redis(uri: &str, info: &ServerInfo) -> Result<Shared, StartError> {
        // Not with its address, in which there may be a password.
        let failed = |error: &dyn std::fmt::Display| StartError::Redis(error.to_string());
        let client = redis::Client::open(uri).map_err(|error| failed(&error))?;
        let settings = redis::aio::ConnectionManagerConfig::new().set_number_of_retries(2);
        let connecting = client.get_connection_manager_with_config(settings);
        let connecting = tokio::time::timeout(REDIS_LIMIT, connecting).await;
        let connection = connecting
            .map_err(|_| failed(&"it does not answer"))?
            .map_err(|error| failed(&error))?;
        let registry = RedisRegistry::new(connection.clone());
        let (bus, begun) = bus::RedisBus::new(client, connection, &info.server_id);
        let manager = format!("*/{}", info.manager_id);
        if bus.is_listened_to(&manager).await {
            return Err(failed(&format_args!(
                "there is another server with the id {}",
                info.server_id
            )));
        }
        // What a former server of this name has left behind.
        let former = registry
            .remove_client("public", &info.server_id, None)
            .await;
        former.map_err(|error| failed(&error))?;
        let revoked = registry.revoked(auth::now()).await;
        Ok(Shared {
            revoked: revoked.map_err(|error| failed(&error))?,
            registry: Box::new(registry),
            bus: Box::new(bus),
            begun: Some(begun),
        })
    }

    #[cfg(not(feature = "redis"))]
    async fn through_redis(_: &str, _: &ServerInfo) -> Result<Shared, StartError> {
        Err(StartError::Redis("this server knows none".into()))
    }
}

fn describe(config: &Config, address: SocketAddr) -> Result<ServerInfo, ConfigError> {
    // A client cannot connect to "any address".
    let host = match address {
        address if address.ip().is_unspecified() => "127.0.0.1".to_owned(),
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    let base_path = config.base()?;
    let local_base_url = format!("http://{host}:{}{base_path}", address.port());
    let server_id = config
        .server_id
        .clone()
        .unwrap_or_else(hypha_wire::random_id);
    Ok(ServerInfo {
        base_path,
        manager_id: format!("manager-{server_id}"),
        server_id,
        public_base_url: config
            .public_base_url
            .clone()
            .unwrap_or_else(|| local_base_url.clone()),
        local_base_url,
    })
}

/// Accept connections until the server stops, then wait for those that say goodbye, and end what is
/// left.
async fn run(
    listener: TcpListener,
    state: Arc<State>,
    alive: mpsc::Sender<()>,
    mut all_gone: mpsc::Receiver<()>,
) {
    http::serve(listener, state.clone()).await;
    // No new connection can take a sender from here on; those that have one give it back.
    drop(alive);
    if tokio::time::timeout(GRACE, all_gone.recv()).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
    // Idle HTTP connections, too.
    state.end_tasks().await;
    // Others would go on using what nobody answers for.
    let services = state
        .registry
        .remove_client("public", &state.info.server_id, None);
    if let Err(error) = services.await {
        tracing::warn!(%error, "the server's own services remain");
    }
    // These clients hold on to the state, and the state to them.
    state.residents.lock().await.clear();
    state.former_managers.lock().await.clear();
    if let Some(manager) = state.set_manager(None) {
        manager.shutdown(Duration::ZERO).await;
    }
    state.store.close();
    tracing::info!("stopped");
}

/// A running server. It stops when [`Server::shutdown`] is called or when it is dropped.
#[must_use = "the server stops when this is dropped"]
pub struct Server {
    state: Arc<State>,
    address: SocketAddr,
    running: Option<JoinHandle<()>>,
}

impl Server {
    /// Begin with the usual settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The URL for clients on this machine.
    pub fn url(&self) -> &str {
        &self.state.info.local_base_url
    }

    /// The address that the server listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What the server has done so far.
    pub fn stats(&self) -> Stats {
        self.state.counters.snapshot()
    }

    /// Close every connection so that clients come back elsewhere, and stop.
    pub async fn shutdown(mut self) {
        self.state.stop();
        if let Some(running) = self.running.take() {
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
        // The rest happens in the background.
        self.state.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_of_a_server_outlives_it() {
        for shut_down in [true, false] {
            let server = Server::builder().bind("127.0.0.1:0").start().await.unwrap();
            // It would look for the server without end.
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
        // The server accepts in order: with this answer it has the other connection as well.
        begun.read_u8().await.unwrap();
        server.shutdown().await;
        // A request's head has more time than this.
        for stream in [&mut idle, &mut begun] {
            let mut rest = Vec::new();
            let ended = stream.read_to_end(&mut rest);
            let ended = tokio::time::timeout(Duration::from_secs(5), ended).await;
            assert!(ended.is_ok(), "still open");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_is_said_before_anything_starts() {
        let start = |builder: Builder| builder.start();
        let taken = Server::builder().bind("127.0.0.1:0").start().await.unwrap();
        let again = Server::builder().bind(taken.local_addr().to_string());
        assert!(matches!(start(again).await, Err(StartError::Bind { .. })));
        let weak = Server::builder().bind("127.0.0.1:0").root_token("short");
        assert!(matches!(start(weak).await, Err(StartError::Config(_))));
        let id = Server::builder().bind("127.0.0.1:0").server_id("a/b");
        assert!(matches!(start(id).await, Err(StartError::Config(_))));
    }
}
