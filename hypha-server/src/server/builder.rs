//! Defines the builder of a server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hypha_rpc::service::{IntoService, Method, Service};

use super::{Server, StartError};
use crate::auth::Authenticator;
use crate::settings::{ConfigError, Limits, Settings, TokenSettings};

/// Builds and starts a [`Server`].
///
/// Each setter changes one field of [`Settings`], and the field documents units and details. To
/// change a setting without a setter, use `Builder::from(settings)`. A setter never fails:
/// [`check`](Self::check) and [`start`](Self::start) report invalid values.
///
/// # Examples
///
/// ```
/// # async fn example() -> Result<(), hypha_server::StartError> {
/// let server = hypha_server::Server::builder()
///     .bind("127.0.0.1:0")
///     .root_token("0123456789abcdef0123456789abcdef")
///     .start()
///     .await?;
/// # server.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use = "a server runs when it is started"]
pub struct Builder {
    settings: Settings,
    /// The error of the first setter that got an invalid argument. `check` returns this error.
    problem: Option<String>,
    extensions: Extensions,
}

/// The hooks and methods of the embedding program.
#[derive(Clone, Default)]
pub(super) struct Extensions {
    pub(super) authenticator: Option<Arc<dyn Authenticator>>,
    pub(super) login_methods: Vec<Method>,
    pub(super) services: Vec<Service>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl From<Settings> for Builder {
    /// Creates a builder with these settings.
    fn from(settings: Settings) -> Self {
        Builder {
            settings,
            ..Builder::default()
        }
    }
}

impl Builder {
    /// Returns the current settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sets the address to listen on, as `host:port`. Port 0 selects any free port. Default:
    /// `127.0.0.1:9527`.
    ///
    /// The host may be an IPv6 address in brackets, such as `[::1]:9527`.
    pub fn bind(mut self, address: impl Into<String>) -> Self {
        let address = address.into();
        let parts = address.rsplit_once(':');
        match parts.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
            Some((host, port)) => {
                self.settings.host = host.to_owned();
                self.settings.port = port;
            }
            None => {
                let text = format!("cannot listen on '{address}': expected host:port");
                self.problem.get_or_insert(text);
            }
        }
        self
    }

    /// Sets the path prefix of all URLs of the server, such as `/hypha`. Default: `/`.
    pub fn base_path(mut self, path: impl Into<String>) -> Self {
        self.settings.base_path = path.into();
        self
    }

    /// Sets the URL at which clients reach this server. Default: the address on which the server
    /// listens.
    ///
    /// This setting is required if clients connect through a proxy or from other machines. All
    /// servers that share a Redis need the same URL.
    pub fn public_base_url(mut self, url: impl Into<String>) -> Self {
        self.settings.public_base_url = Some(url.into());
        self
    }

    /// Sets the id of the server, which must be unique among the servers that share a Redis.
    /// Default: the id in the data folder, or a random id.
    pub fn server_id(mut self, id: impl Into<String>) -> Self {
        self.settings.server_id = Some(id.into());
        self
    }

    /// Sets the secret that signs tokens. Default: the secret in the data folder, or a random
    /// secret.
    ///
    /// Without a secret and a data folder, all tokens become invalid when the server stops, so
    /// clients cannot reconnect after a restart. Use a secret with at least 16 characters.
    pub fn jwt_secret(mut self, secret: impl Into<String>) -> Self {
        self.settings.jwt_secret = Some(secret.into());
        self
    }

    /// Sets the issuer, the audience and the claim prefix of the server's tokens, and the identity
    /// provider.
    pub fn tokens(mut self, settings: TokenSettings) -> Self {
        self.settings.tokens = settings;
        self
    }

    /// Sets a token that grants all permissions in all workspaces. The token needs at least 32
    /// characters. Default: none.
    pub fn root_token(mut self, token: impl Into<String>) -> Self {
        self.settings.root_token = Some(token.into());
        self
    }

    /// Sets the lifetime of reconnection tokens: the maximum time after which a disconnected client
    /// can return without another token. Minimum: 1 s. Default: two days.
    pub fn reconnection_token_life(mut self, life: Duration) -> Self {
        self.settings.reconnection_token_life = life;
        self
    }

    /// Sets the origins of web pages that may use the server, such as `https://lab.example.org`.
    /// Default: any origin.
    pub fn allow_origins<I, S>(mut self, origins: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.settings.allow_origins = origins.into_iter().map(Into::into).collect();
        self
    }

    /// Sets whether the server takes the IP address of a client from the header `X-Forwarded-For`.
    /// Default: false.
    ///
    /// Set this to true only if all requests come through a proxy that writes the header. Without
    /// such a proxy, clients can claim any address, and evade the limits per address.
    pub fn behind_proxy(mut self, behind: bool) -> Self {
        self.settings.behind_proxy = behind;
        self
    }

    /// Sets the folder for data that survives a restart. Default: none.
    ///
    /// The folder contains the workspaces, the accounts and the revoked tokens. It also contains
    /// the server's id and the secret for tokens, unless the program sets them. The server creates
    /// the folder if it does not exist. Each server needs its own folder.
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.settings.data_dir = Some(folder.into());
        self
    }

    /// Sets the URL, `redis://host:port`, of the Redis through which several servers share their
    /// workspaces. Default: none.
    ///
    /// Clients of one server can find and call clients of the other servers, and can reconnect to
    /// any of the servers. The servers need the same secret for tokens, the same public URL and
    /// different ids.
    pub fn redis_uri(mut self, uri: impl Into<String>) -> Self {
        self.settings.redis_uri = Some(uri.into());
        self
    }

    /// Sets whether the server serves the console at `/`. The console consists of web pages for
    /// users. Requires the feature `console`. Default: false.
    pub fn console(mut self, serves: bool) -> Self {
        self.settings.console = Some(serves);
        self
    }

    /// Sets the limits that prevent one client from harming other clients.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Sets the hooks with which the embedding program accepts and issues its own tokens. Default:
    /// none. A second call replaces the hooks of the first call.
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.extensions.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Adds a method to the login service `public/hypha-login`. If the service has a method with
    /// the same name, the new method replaces it. Callers of the method are not authenticated.
    ///
    /// The server exposes the service over HTTP in two ways. A request to
    /// `/public/apps/hypha-login/` calls the method `index`, and a request to
    /// `/public/apps/hypha-login/{name}` calls the method `{name}`. The method returns `{status,
    /// headers, body}`. Below `/public/services/hypha-login/` each method is a function that pages
    /// and programs can call.
    ///
    /// A custom login page checks the password with its own method. It then posts the resulting
    /// token and the `key` from its URL to the method `report` of the login service. The program
    /// that waits in `check` receives the token.
    ///
    /// ```
    /// use hypha_rpc::service::{IncomingCall, Method};
    /// use hypha_server::Server;
    ///
    /// let welcome = Method::new("index", |call: IncomingCall| async move {
    ///     let headers = serde_json::json!({"Content-Type": "text/html; charset=utf-8"});
    ///     let page = "<!doctype html><title>Badges</title>Hold your badge to the reader.";
    ///     call.reply(&serde_json::json!({"status": 200, "headers": headers, "body": page}))
    /// });
    /// let builder = Server::builder().login_method(welcome);
    /// ```
    pub fn login_method(mut self, method: Method) -> Self {
        self.extensions.login_methods.push(method);
        self
    }

    /// Adds a service of the embedding program. The server registers the service in the workspace
    /// `public` before it accepts clients, as the Python server does with services of its startup
    /// functions.
    ///
    /// The visibility of the service decides which clients may call it. Any client may call a
    /// service with the visibility `Public`. At most 4096 calls of all services of the server in
    /// `public` run at the same time. The memory of a call is charged to its caller.
    ///
    /// ```
    /// use hypha_rpc::prelude::*;
    /// use hypha_server::Server;
    ///
    /// struct Greeter;
    ///
    /// #[hypha_service(id = "greeter", visibility = "public")]
    /// impl Greeter {
    ///     /// Greets.
    ///     pub async fn greet(&self, name: &str) -> String {
    ///         format!("Hello {name}!")
    ///     }
    /// }
    ///
    /// let builder = Server::builder().startup_service(Greeter);
    /// ```
    pub fn startup_service(mut self, service: impl IntoService) -> Self {
        self.extensions.services.push(service.into_service());
        self
    }

    /// Starts the server without a listener of its own. Returns the server's routes for the router
    /// of a program that listens on `address`.
    ///
    /// If a [`base_path`](Self::base_path) is set, the program merges the routes into its router.
    /// Without a base path, the program uses the routes as the fallback of its router. The program
    /// must serve the router with `into_make_service_with_connect_info::<SocketAddr>()`, because
    /// the server limits clients by their IP addresses.
    ///
    /// The program must limit its connections itself, because two timeouts of the server do not
    /// apply: the timeout for the head of a request, and the timeout for a client that does not
    /// read. [`Server::shutdown`] closes the connections of clients. Later requests are refused.
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use axum::{Router, routing::get};
    ///
    /// # async fn example() -> anyhow::Result<()> {
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// let builder = hypha_server::Server::builder().base_path("/hypha");
    /// let (server, hypha) = builder.mount(listener.local_addr()?).await?;
    /// let router = Router::new().route("/", get(async || "the program's own page")).merge(hypha);
    /// println!("clients connect to {}", server.url());
    /// let service = router.into_make_service_with_connect_info::<SocketAddr>();
    /// axum::serve(listener, service).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Fails outside of a tokio runtime, or if a setting, the data folder or Redis cannot be used.
    ///
    /// # Panics
    ///
    /// Panics in a tokio runtime without timers or I/O: build the runtime with `enable_all`.
    pub async fn mount(self, address: SocketAddr) -> Result<(Server, Router), StartError> {
        self.check()?;
        super::mount(self.settings, self.extensions, address).await
    }

    /// Checks the settings without starting anything.
    ///
    /// # Errors
    ///
    /// Returns the error of the first invalid setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        match &self.problem {
            Some(text) => Err(ConfigError::new(text)),
            None => self.settings.check(),
        }
    }

    /// Starts the server. Returns as soon as clients can connect.
    ///
    /// Call this method within a tokio runtime. The workers of the runtime then serve the clients.
    ///
    /// # Errors
    ///
    /// Fails outside of a tokio runtime, if a setting is invalid, if the address, the data folder
    /// or Redis cannot be used, or if a service of the server cannot be started.
    ///
    /// # Panics
    ///
    /// Panics in a tokio runtime without timers or I/O: build the runtime with `enable_all`.
    ///
    /// # Cancellation
    ///
    /// Do not drop the future: parts of the server may keep running until the runtime ends.
    pub async fn start(self) -> Result<Server, StartError> {
        self.check()?;
        super::start(self.settings, self.extensions).await
    }
}
