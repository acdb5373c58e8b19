//! Connects to a server: the options, their environment variables, and the first calls.

use std::convert::Infallible;
use std::fmt;
use std::future::IntoFuture;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Client, Settings, Shared, State};
use crate::backoff::Backoff;
use crate::call::{CallResponse, NextCall, OutgoingCall, Retry, name_handle};
use crate::engine::{Endpoint, Reconnect, RedialLoop, Restore};
use crate::error::{ConnectError, ConnectErrorKind, Error, report};
use crate::service::Services;
#[cfg(not(target_family = "wasm"))]
use crate::transport::ProxyChoice;
#[cfg(feature = "http")]
use crate::transport::fallback::Fallback;
#[cfg(feature = "http")]
use crate::transport::http;
use crate::transport::{Dial, SocketOptions, Transport, websocket};
use hypha_wire as wire;

/// Connects to a Hypha server.
///
/// `server_url` is `http://host[:port][/base]` or `https://..`, to which `/ws` is added. A `ws://`
/// or `wss://` URL is used unchanged. White space around the URL is removed.
/// [`ConnectOptions::from_env`] reads the URL and the credentials from environment variables.
///
/// To connect, a token needs read permission; to register services, it needs write permission. If
/// the link is lost later, the client reconnects ([`ConnectOptions::reconnect`]).
///
/// # Errors
///
/// Awaiting the options fails with [`Error::Connect`], which names the cause, or with the error of
/// the workspace manager if the manager rejects the first calls. The first attempt is not retried
/// unless [`retry_on_initial_connect`](ConnectOptions::retry_on_initial_connect) is set. Outside of
/// a tokio runtime, awaiting fails with [`Error::Invalid`].
///
/// # Panics
///
/// Awaiting panics in a tokio runtime without timers or I/O: build the runtime with `enable_all`.
///
/// # Cancellation
///
/// Dropping the future closes the link, if a link was opened.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), hypha_rpc::Error> {
/// let hypha = hypha_rpc::connect("http://localhost:9527").await?;
/// println!("connected to {}", hypha.workspace());
/// # Ok(())
/// # }
/// ```
pub fn connect(server_url: impl Into<String>) -> ConnectOptions {
    ConnectOptions::new(server_url.into())
}

/// Options of a connection. Awaiting them connects.
///
/// Returned by [`connect`](connect()), which lists the errors. The options contain the address, the
/// credentials and the [`Settings`]. The setters of timeouts and limits change the settings. Clone
/// the options to open several connections.
///
/// # Examples
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example() -> Result<(), hypha_rpc::Error> {
/// let hypha = hypha_rpc::connect("https://hypha.example.org")
///     .workspace("my-workspace")
///     .token("a token")
///     .client_id("microscope")
///     .connect_timeout(Duration::from_secs(5))
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "the connection is made when this is awaited"]
#[derive(Clone)]
pub struct ConnectOptions {
    server_url: String,
    workspace: Option<String>,
    token: Option<String>,
    client_id: Option<String>,
    reconnection_token: Option<String>,
    name: Option<String>,
    silent: bool,
    connect_timeout: Option<Duration>,
    transport: Transport,
    socket: SocketOptions,
    settings: Settings,
    backoff: Option<Backoff>,
    retry_first: bool,
    dial: Option<Arc<dyn Dial>>,
    #[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
    rtc: Option<super::RtcOptions>,
}

impl ConnectOptions {
    fn new(server_url: String) -> Self {
        let mut settings = Settings::default();
        if let Some(limit) = env("HYPHA_CONCURRENCY_LIMIT").and_then(|n| n.parse().ok()) {
            settings.max_concurrent_chunks = limit;
        }
        ConnectOptions {
            server_url: trim(&server_url).to_owned(),
            workspace: None,
            token: None,
            client_id: None,
            reconnection_token: None,
            name: None,
            silent: false,
            connect_timeout: None,
            transport: Transport::default(),
            socket: SocketOptions::default(),
            settings,
            backoff: Some(Backoff::default()),
            retry_first: false,
            dial: None,
            #[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
            rtc: None,
        }
    }

    /// Reads the options from the environment variables of the Python and JavaScript clients:
    /// `HYPHA_SERVER_URL` (required), `HYPHA_WORKSPACE`, `HYPHA_CLIENT_ID` and `HYPHA_TOKEN`.
    ///
    /// If `HYPHA_SERVER_URL` is not set, a file `.env` in the working directory is read too.
    /// Variables of the environment take precedence over the file. White space around a value is
    /// removed, and an empty value counts as not set.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if no server URL is set or `.env` cannot be read.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::ConnectOptions;
    /// # async fn example() -> Result<(), hypha_rpc::Error> {
    /// let hypha = ConnectOptions::from_env()?.client_id("microscope").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_env() -> Result<Self, Error> {
        let mut file = Vec::new();
        if env("HYPHA_SERVER_URL").is_none() && Path::new(".env").exists() {
            let bad = |e: &dyn fmt::Display| Error::Invalid(format!("cannot read .env: {e}"));
            let text = std::fs::read_to_string(".env").map_err(|e| bad(&e))?;
            file = dotenvy::from_read_iter(trim(&text).as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| bad(&e))?;
        }
        Self::from_vars(|name| {
            env(name).or_else(|| {
                file.iter()
                    .find(|(key, _)| key == name)
                    .map(|(_, v)| v.clone())
            })
        })
    }

    fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let var = |name| var(name).as_deref().and_then(trimmed);
        let Some(url) = var("HYPHA_SERVER_URL") else {
            return Err(Error::Invalid(
                "Please set the HYPHA_SERVER_URL, and as needed HYPHA_TOKEN, HYPHA_CLIENT_ID and \
                 HYPHA_WORKSPACE environment variables"
                    .into(),
            ));
        };
        let mut connect = ConnectOptions::new(url);
        connect.workspace = var("HYPHA_WORKSPACE");
        connect.client_id = var("HYPHA_CLIENT_ID");
        connect.token = var("HYPHA_TOKEN");
        Ok(connect)
    }

    /// Sets the workspace. Default: the user's own workspace. Any other workspace requires a token
    /// for that workspace.
    ///
    /// White space around the name is removed. An empty name counts as not set.
    pub fn workspace(mut self, workspace: impl Into<String>) -> Self {
        self.workspace = trimmed(&workspace.into());
        self
    }

    /// Sets the access token. Default: none; the client then connects as an anonymous user.
    ///
    /// White space around the token is removed, such as the line end of a token file. An empty
    /// token counts as no token. With a control character inside the token, such as a line end,
    /// connecting fails with [`InvalidOption`](ConnectErrorKind::InvalidOption).
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = trimmed(&token.into());
        self
    }

    /// Sets the id of this client, which must be unique in the workspace. Default: random.
    ///
    /// If the id is empty or contains `/`, `:` or `@`, connecting fails with [`Error::Invalid`].
    /// The Python server accepts all other ids. `hypha-server` accepts at most 128 characters:
    /// ASCII letters, digits, `-`, `_` and `.`. It refuses other ids with
    /// [`Refused`](ConnectErrorKind::Refused).
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = Some(id.into());
        self
    }

    /// Sets the keys for end-to-end encryption. A call is encrypted if this client knows the public
    /// key of the peer (`docs/protocol/07-auth-login-encryption.md#s5`). Default: no encryption.
    ///
    /// Pass the key of a service to
    /// [`ServiceLookup::encryption_public_key`](super::ServiceLookup::encryption_public_key). A
    /// callback contains the key of its owner. The module [`crypto`](crate::crypto) has an example.
    #[cfg(feature = "encryption")]
    #[cfg_attr(docsrs, doc(cfg(feature = "encryption")))]
    pub fn encryption(mut self, keys: crate::crypto::KeyPair) -> Self {
        self.settings.encryption = Some(keys);
        self
    }

    /// Sets the reconnection token of a former connection ([`Client::reconnection_token`]), so that
    /// this client resumes its identity. Also set the same [`client_id`](Self::client_id). Default:
    /// none.
    ///
    /// Reconnection tokens expire after two days.
    pub fn reconnection_token(mut self, token: impl Into<String>) -> Self {
        self.reconnection_token = trimmed(&token.into());
        self
    }

    /// Sets the name of the connection in the logs of this program. Default: none.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the id of the application that this client belongs to. The record of each service
    /// contains the id. Default: `*`, no application.
    pub fn app_id(mut self, app_id: impl Into<String>) -> Self {
        self.settings.app_id = app_id.into();
        self
    }

    /// Sets the idle timeout of calls: the longest time without a heartbeat or a response from the
    /// callee. Default: 30 s.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.settings.idle_timeout = limit;
        self
    }

    /// Sets the timeout of one attempt to connect. Default: the [idle timeout of
    /// calls](Self::idle_timeout).
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = Some(limit);
        self
    }

    /// Sets the chunk size in bytes, for all peers. Larger messages are sent in chunks. A value
    /// above 491,520 is lowered to 491,520. Default: 262,144, and 1,048,576 for peers that accept
    /// large frames (Rust programs).
    ///
    /// Python peers lose messages of more than 512,000 bytes. This setter also sets
    /// [`Settings::large_frame_bytes`] to zero.
    pub fn chunk_bytes(mut self, bytes: usize) -> Self {
        const MOST: usize = 480 << 10;
        self.settings.chunk_bytes = bytes.clamp(1, MOST);
        self.settings.large_frame_bytes = 0;
        self
    }

    /// Sets the maximum number of incoming calls that run at the same time. Further calls are
    /// rejected with [`RejectKind::Busy`](crate::error::RejectKind::Busy). Default: 4096.
    pub fn max_concurrent_calls(mut self, most: usize) -> Self {
        self.settings.max_concurrent_calls = most;
        self
    }

    /// Sets the time between two pings to the server. Zero turns pings off. Default: 20 s.
    ///
    /// A server disconnects a client that sends nothing for 600 s.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.settings.ping_interval = interval;
        self
    }

    /// Sets the time to wait for a pong before the connection counts as lost. Default: 20 s.
    pub fn ping_timeout(mut self, limit: Duration) -> Self {
        self.settings.ping_timeout = limit;
        self
    }

    /// Sets the time between two requests for a reconnection token. Zero turns the requests off.
    /// The time is never longer than two thirds of the token's lifetime. Default: 7200 s.
    pub fn token_refresh_interval(mut self, interval: Duration) -> Self {
        self.settings.token_refresh_interval = interval;
        self
    }

    /// Sets the retry policy of calls without their own policy. Default: no retries.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.settings.retry = retry;
        self
    }

    /// Adds an interceptor, which runs around each call of this client, except for the calls that
    /// set up the connection. The first interceptor added is the outermost.
    ///
    /// The interceptor receives a call when the call is awaited. The interceptor can change the
    /// timeouts, add arguments, and run the call with [`NextCall::run`], or return an error
    /// instead. [`NextCall::run`] includes retries. Calls made with [`send`](crate::Call::send)
    /// skip the interceptors.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use hypha_rpc::call::{NextCall, OutgoingCall};
    ///
    /// # async fn example() -> Result<(), hypha_rpc::Error> {
    /// // A deadline for calls that have none.
    /// let hypha = hypha_rpc::connect("http://localhost:9527")
    ///     .intercept(|mut call: OutgoingCall, next: NextCall| async move {
    ///         if call.timeout().is_none() {
    ///             call.set_timeout(Duration::from_secs(60));
    ///         }
    ///         next.run(call).await
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn intercept<F, Fut>(mut self, interceptor: F) -> Self
    where
        F: Fn(OutgoingCall, NextCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<CallResponse, Error>> + Send + 'static,
    {
        self.settings.interceptors.add(interceptor);
        self
    }

    /// Changes the [`Settings`]. `change` receives the current settings.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), hypha_rpc::Error> {
    /// let hypha = hypha_rpc::connect("http://localhost:9527")
    ///     .settings(|settings| {
    ///         settings.max_objects = 1000;
    ///         settings.max_waiting_calls = 16;
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Adds a header to the request that opens the connection. May be called several times.
    #[cfg(not(target_family = "wasm"))]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.socket.headers.push((name.into(), value.into()));
        self
    }

    /// Accepts any certificate and host name of the server. Default: `false`.
    ///
    /// Use this option only for servers with self-signed certificates in a trusted network.
    /// Elsewhere, attackers could read and change the traffic.
    #[cfg(not(target_family = "wasm"))]
    pub fn danger_accept_invalid_certificates(mut self, accept: bool) -> Self {
        self.socket.tls.accept_invalid_certificates = accept;
        self
    }

    /// Adds a trusted certificate authority in PEM format, in addition to the authorities that this
    /// machine trusts. May be called several times. Default: none.
    ///
    /// `pem` may contain several certificates. If a certificate is not valid, connecting fails with
    /// [`InvalidOption`](ConnectErrorKind::InvalidOption).
    ///
    /// ```no_run
    /// # async fn example() -> anyhow::Result<()> {
    /// let hypha = hypha_rpc::connect("https://hypha.lab.example")
    ///     .ca_certificate(std::fs::read("lab-authority.pem")?)
    ///     .identity(std::fs::read("microscope.pem")?, std::fs::read("microscope.key")?)
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(all(feature = "tls", not(target_family = "wasm")))]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.socket.tls.authorities.push(pem.into());
        self
    }

    /// Sets the certificate and the private key of this client, both in PEM format. Some servers
    /// and proxies require them. Default: none.
    ///
    /// The first certificate in `chain` must belong to this client. If one file contains both
    /// chain and key, pass its content twice.
    #[cfg(all(feature = "tls", not(target_family = "wasm")))]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn identity(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.socket.tls.identity = Some((chain.into(), key.into()));
        self
    }

    /// Sets the URL of the proxy: `http://[user:password@]host[:port]`, or with the scheme `https`,
    /// `socks5` or `socks5h`. With `https`, the connection to the proxy is encrypted, and
    /// `ca_certificate` and `identity` also apply to that connection. With `socks5h`, the proxy
    /// resolves the host name of the server.
    ///
    /// Default: the environment variable `HTTPS_PROXY` for encrypted connections and `HTTP_PROXY`
    /// for other connections. If the variable is not set, `ALL_PROXY` applies. The lower-case names
    /// of these variables also work. Connections to this machine and to the hosts in `NO_PROXY` use
    /// no proxy.
    #[cfg(not(target_family = "wasm"))]
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.socket.proxy = ProxyChoice::Url(url.into());
        self
    }

    /// Connects without a proxy, and ignores the environment variables for proxies.
    #[cfg(not(target_family = "wasm"))]
    pub fn no_proxy(mut self) -> Self {
        self.socket.proxy = ProxyChoice::Direct;
        self
    }

    /// Sets the maximum number of redirects that the client follows while it connects. Default: 10.
    ///
    /// The client never follows a redirect to another host, or from an encrypted connection to an
    /// unencrypted one. Connecting then fails with [`Redirect`](ConnectErrorKind::Redirect), and
    /// the error names the target.
    #[cfg(not(target_family = "wasm"))]
    pub fn max_redirects(mut self, most: usize) -> Self {
        self.socket.max_redirects = most;
        self
    }

    /// Retries the first attempt to connect if it fails with a retryable error
    /// ([`Error::is_retryable`]), for example because the server has not started yet. Default:
    /// `false`.
    ///
    /// The policy of [`reconnect`](Self::reconnect) sets the pauses and the number of attempts. By
    /// default, the number is unlimited. Each failure is logged at level `warn`.
    pub fn retry_on_initial_connect(mut self, retry: bool) -> Self {
        self.retry_first = retry;
        self
    }

    /// Skips the registration with the workspace manager. Default: `false`.
    ///
    /// A silent client can call services, but other clients cannot find its services.
    pub fn silent(mut self, silent: bool) -> Self {
        self.silent = silent;
        self
    }

    /// Sets the transport. Default: [`Transport::WebSocket`].
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Opens direct connections over WebRTC automatically, in both directions. Default: all calls
    /// pass through the server.
    ///
    /// Registers a signaling service with the id `<client id>-rtc`, so that other clients can open
    /// connections to this client. A lookup ([`Client::get_service`], [`Client::proxy`]) opens a
    /// direct connection to the provider of the service, if the provider is a Rust program that has
    /// this option, too. The calls of the service then use that connection, and all others pass
    /// through the server. The two programs learn the network addresses of each other.
    ///
    /// * A lookup waits at most 3 s for the connection. Until it is open, calls pass through the
    ///   server.
    /// * A call that fails on a direct connection is sent again through the server, if the method
    ///   certainly did not run or the call is [idempotent](crate::Call::idempotent).
    /// * If the connection is lost, other calls in flight fail with [`Error::Disconnected`], and
    ///   later ones pass through the server.
    /// * After a failed attempt or a lost connection, the next call after a pause opens another
    ///   one. The pause doubles from 5 s to 300 s, with a random factor from 0.5 to 1.5.
    ///
    /// Context and permissions of a call are those of the caller's connection to the server. A
    /// client that may not register services opens connections, but accepts none. For connections
    /// to programs in other languages, use [`Client::get_rtc_service`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::{args, client::RtcOptions};
    /// # async fn example() -> Result<(), hypha_rpc::Error> {
    /// let hypha = hypha_rpc::connect("http://localhost:9527")
    ///     .webrtc(RtcOptions::new())
    ///     .await?;
    /// let camera = hypha.get_service("camera").await?;
    /// let frame: bytes::Bytes = camera.call("snap", args!()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
    #[cfg_attr(docsrs, doc(cfg(feature = "webrtc")))]
    pub fn webrtc(mut self, options: super::RtcOptions) -> Self {
        self.rtc = Some(options);
        self
    }

    /// Opens the links of this connection with `dial` instead of the server URL. For tests.
    #[doc(hidden)]
    pub fn dial(mut self, dial: impl Dial) -> Self {
        self.dial = Some(Arc::new(dial));
        self
    }

    /// Sets the policy for reconnecting after a lost link. With `None`, the connection closes when
    /// its first link is lost. Default: [`Backoff::default`], which never stops retrying.
    ///
    /// Calls in flight when the link is lost fail with [`Error::Disconnected`], except
    /// [idempotent](crate::Call::idempotent) calls, which are sent again. Calls made while there is
    /// no link wait for the next link, within their timeouts. Services are registered again before
    /// the state becomes [`Connected`](super::State::Connected).
    ///
    /// See [`Backoff`] for an example.
    pub fn reconnect(mut self, backoff: impl Into<Option<Backoff>>) -> Self {
        self.backoff = backoff.into();
        self
    }

    async fn run(self) -> Result<Client, Error> {
        Error::<Infallible>::unless_in_runtime("the connection cannot be made")?;
        let backoff = match self.retry_first {
            true => self.backoff.clone().unwrap_or_default(),
            false => return self.attempt().await,
        };
        let mut failures = 0;
        loop {
            let error = match self.clone().attempt().await {
                Err(error) if error.is_retryable() => error,
                done => return done,
            };
            failures += 1;
            if backoff.attempts.is_some_and(|most| failures >= most) {
                return Err(error);
            }
            let pause = backoff.pause(failures, rand::random());
            let next = failures + 1;
            tracing::warn!(
                "{}; attempt {next} to connect begins in {pause:.1?}",
                report(&error)
            );
            crate::runtime::sleep(pause).await;
        }
    }

    async fn attempt(self) -> Result<Client, Error> {
        let url = self.server_url.clone();
        // The transport's error names the URL with the scheme of the transport. Replace it with the
        // URL that the program passed.
        let named = |e: ConnectError| match e.kind() {
            ConnectErrorKind::InvalidUrl | ConnectErrorKind::InvalidOption => e.with_url(&url),
            _ => e,
        };
        let dial = match &self.dial {
            Some(dial) => Arc::clone(dial),
            None => self.dialer().map_err(named)?,
        };
        // The HTTP transport sends the tokens in a header, which must not contain such characters.
        for (option, token) in [
            ("token", &self.token),
            ("reconnection_token", &self.reconnection_token),
        ] {
            let is_broken = |token: &String| token.contains(char::is_control);
            if token.as_ref().is_some_and(is_broken) {
                let detail = format!("`{option}`: it contains a line end or a control character");
                let error = ConnectError::new(ConnectErrorKind::InvalidOption, detail);
                return Err(named(error).into());
            }
        }
        let limit = self.limit();
        let connecting = async {
            let silent = self.silent;
            #[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
            let rtc = self.rtc.clone();
            let client = self.open(Arc::clone(&dial)).await?;
            if !silent {
                let (engine, shared) = (client.engine(), &client.shared);
                let setup = Client::for_setup(Arc::clone(engine), Arc::clone(shared));
                setup.announce().await?;
                #[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
                if let Some(rtc) = rtc {
                    setup.answer_automatically(rtc).await?;
                }
            }
            // Until this point, calls of the program wait, so that the manager knows this client
            // before the calls arrive.
            client.engine().set_connected();
            Ok(client)
        };
        match crate::runtime::timeout(limit, connecting).await {
            Ok(Err(Error::Connect(e))) => Err(named(e).into()),
            Ok(outcome) => outcome,
            Err(_) => Err(ConnectError::late(limit, dial.proxy())
                .with_url(&url)
                .late_after(dial.earlier_failure())
                .into()),
        }
    }

    /// Returns the timeout of an attempt to connect.
    fn limit(&self) -> Duration {
        self.connect_timeout.unwrap_or(self.settings.idle_timeout)
    }

    /// Opens the first link and starts the task of the connection.
    async fn open(self, dial: Arc<dyn Dial>) -> Result<Client, Error> {
        let client_id = self.client_id.clone().unwrap_or_else(wire::random_id);
        if !wire::valid_client_id(&client_id) {
            return Err(Error::Invalid(format!(
                "client id {client_id:?}: must not be empty or contain `/`, `:` or `@`"
            )));
        }
        let endpoint = Endpoint {
            dial,
            limit: self.limit(),
            workspace: self.workspace,
            token: self.token,
            keep_alive: self.settings.keep_alive(),
            backoff: self.backoff,
        };
        let (link, granted) = endpoint
            .open(&client_id, self.reconnection_token.as_deref())
            .await?;
        tracing::info!(
            name = self.name.as_deref(),
            "connected as {} to {}",
            granted.identity.address(),
            wire::redacted_url(&self.server_url)
        );
        let keep_alive = endpoint.keep_alive(&granted);
        let identity = granted.identity.clone();
        let services = Services::new(name_handle, None);
        let (engine, queue) =
            Client::engine_of(identity, self.settings, State::Connecting, services);
        engine.membership.adopt(granted);
        #[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
        let upgrade = self.rtc.map(super::direct::upgrade);
        #[cfg(not(all(feature = "webrtc", not(target_family = "wasm"))))]
        let upgrade = None;
        let shared = Arc::new(Shared {
            upgrade,
            ..Shared::default()
        });
        let restore = (!self.silent).then(|| {
            let (engine, shared) = (Arc::clone(&engine), Arc::clone(&shared));
            let restore = move || -> BoxFuture<'static, _> {
                let client = Client::for_setup(Arc::clone(&engine), Arc::clone(&shared));
                Box::pin(client.restore())
            };
            Box::new(restore) as Restore
        });
        let reconnect = Reconnect { endpoint, restore };
        let redial = RedialLoop::new(Arc::clone(&engine), queue, Some(reconnect));
        let keep_alive = Some(keep_alive);
        Ok(Client::start(link, engine, shared, keep_alive, redial))
    }

    /// Returns the dialer of the chosen transport.
    fn dialer(&self) -> Result<Arc<dyn Dial>, ConnectError> {
        let invalid = |e: wire::AddressError| {
            ConnectError::new(ConnectErrorKind::InvalidUrl, e.to_string())
                .with_url(&self.server_url)
        };
        let socket = || {
            let url = wire::socket_url(&self.server_url).map_err(invalid)?;
            Ok::<_, ConnectError>(websocket::Dialer::new(url, &self.socket))
        };
        #[cfg(feature = "http")]
        let http = || {
            let base = wire::http_url(&self.server_url).map_err(invalid)?;
            http::Dialer::new(&base, &self.socket)
        };
        Ok(match self.transport {
            Transport::WebSocket => Arc::new(socket()?),
            #[cfg(feature = "http")]
            Transport::Http => Arc::new(http()?),
            #[cfg(feature = "http")]
            Transport::Auto => Arc::new(Fallback::new(socket()?, http()?, self.limit())),
        })
    }
}

impl IntoFuture for ConnectOptions {
    type Output = Result<Client, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl From<&str> for ConnectOptions {
    /// Returns the options of [`connect`](connect()) with this URL.
    fn from(server_url: &str) -> Self {
        connect(server_url)
    }
}

impl From<String> for ConnectOptions {
    /// Returns the options of [`connect`](connect()) with this URL.
    fn from(server_url: String) -> Self {
        connect(server_url)
    }
}

impl From<&String> for ConnectOptions {
    /// Returns the options of [`connect`](connect()) with this URL.
    fn from(server_url: &String) -> Self {
        connect(server_url)
    }
}

impl std::fmt::Debug for ConnectOptions {
    /// Formats the options without the tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("server_url", &wire::redacted_url(&self.server_url))
            .field("workspace", &self.workspace)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Returns the value of an environment variable without white space around it. Returns `None` if
/// the variable is not set or its value is blank.
fn env(name: &str) -> Option<String> {
    trimmed(&std::env::var(name).ok()?)
}

/// Returns the string without white space around it, or `None` if only white space is in it.
fn trimmed(text: &str) -> Option<String> {
    let text = trim(text);
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns the string without white space around it, and without the byte order mark with which
/// editors on Windows begin a file.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == BYTE_ORDER_MARK)
}

const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_from_the_environment() {
        let var = |name: &str| match name {
            "HYPHA_SERVER_URL" => Some("http://h".to_owned()),
            "HYPHA_TOKEN" => Some("secret".to_owned()),
            "HYPHA_WORKSPACE" => Some("w".to_owned()),
            _ => None,
        };
        let connect = ConnectOptions::from_vars(var).unwrap();
        assert_eq!(
            (connect.token.as_deref(), connect.workspace.as_deref()),
            (Some("secret"), Some("w"))
        );
        assert!(!format!("{connect:?}").contains("secret"));
        let padded = ConnectOptions::from_vars(|name| Some(format!(" {name}\r\n"))).unwrap();
        assert_eq!(padded.server_url, "HYPHA_SERVER_URL");
        assert_eq!(padded.token.as_deref(), Some("HYPHA_TOKEN"));
        let error = ConnectOptions::from_vars(|_| Some(" \n".into())).unwrap_err();
        assert!(error.to_string().contains("HYPHA_SERVER_URL"));
        let error = ConnectOptions::from_vars(|_| None).unwrap_err();
        assert!(error.to_string().contains("HYPHA_SERVER_URL"));
    }

    #[test]
    fn tokens_and_urls_are_trimmed() {
        let connect = connect(" http://h\n")
            .token("secret\n")
            .reconnection_token(" again ");
        assert_eq!(connect.server_url, "http://h");
        assert_eq!(connect.token.as_deref(), Some("secret"));
        assert_eq!(connect.reconnection_token.as_deref(), Some("again"));
        let marked = "\u{feff}secret\r\n";
        assert_eq!(
            connect.clone().token(marked).token.as_deref(),
            Some("secret")
        );
        assert_eq!(super::connect("\u{feff}http://h").server_url, "http://h");
        let connect = connect.workspace(" lab\n");
        assert_eq!(connect.workspace.as_deref(), Some("lab"));
        let connect = connect.token(" ").reconnection_token("").workspace(" ");
        assert_eq!((connect.token, connect.reconnection_token), (None, None));
        assert_eq!(connect.workspace, None);
    }
}
