//! Connecting: options, their defaults and environment variables, and the order of the first calls.

use std::{future::IntoFuture, path::Path, pin::Pin, sync::Arc, time::Duration};

use super::{
    Client, Core,
    connection::{Connection, Way},
    options::{KeepAlive, Options},
    state::{Backoff, State},
};
#[cfg(feature = "http")]
use crate::transport::{fallback::Fallback, http};
use crate::{
    call::Retry,
    error::{ConnectError, ConnectErrorKind, Error},
    transport::{Dial, SocketOptions, Transport, websocket},
};
use hypha_wire as wire;

/// Connects to a Hypha server.
///
/// `server_url` is `http://host[:port][/base]` or `https://..`, to which `/ws` is added, or a
/// `ws://` or `wss://` URL that is used as it is.
///
/// ```no_run
/// # async fn example() -> Result<(), hypha_rpc::Error> {
/// let hypha = hypha_rpc::connect("http://localhost:9527").await?;
/// println!("connected to {}", hypha.workspace());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Awaiting it gives [`Error::Connect`] with the reason, or the manager's refusal of the first calls.
/// There is no retry: what the server refuses at first, it refuses again. A token that may only read is
/// enough to connect; offering services fails then. Once it stands, a connection that is lost comes back by
/// itself ([`ConnectOptions::reconnect`]).
///
/// [`ConnectOptions::from_env`] takes the options from the environment variables of the other clients.
pub fn connect(server_url: impl Into<String>) -> ConnectOptions {
    ConnectOptions::new(server_url.into())
}

/// The options of a connection; it is made when this is awaited.
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
    keep_alive: KeepAlive,
    options: Options,
    backoff: Option<Backoff>,
    dial: Option<Arc<dyn Dial>>,
}

impl ConnectOptions {
    fn new(server_url: String) -> Self {
        let mut options = Options::default();
        if let Some(limit) = env("HYPHA_CONCURRENCY_LIMIT").and_then(|n| n.parse().ok()) {
            options.chunk_concurrency = limit;
        }
        ConnectOptions {
            server_url,
            workspace: None,
            token: None,
            client_id: None,
            reconnection_token: None,
            name: None,
            silent: false,
            connect_timeout: None,
            transport: Transport::default(),
            socket: SocketOptions::default(),
            keep_alive: KeepAlive {
                ping_interval: Duration::from_secs(20),
                ping_timeout: Duration::from_secs(20),
                token_refresh_interval: Duration::from_secs(7200),
            },
            options,
            backoff: Some(Backoff::default()),
            dial: None,
        }
    }

    /// The options in the environment variables that the other clients read: `HYPHA_SERVER_URL`
    /// (required), `HYPHA_WORKSPACE`, `HYPHA_CLIENT_ID`, `HYPHA_TOKEN`. If the first is not set, a
    /// file `.env` in the working directory is read before; variables that are set win over it.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if there is no server URL, or `.env` cannot be read.
    pub fn from_env() -> Result<Self, Error> {
        let mut file = Vec::new();
        if env("HYPHA_SERVER_URL").is_none() && Path::new(".env").exists() {
            let bad = |e: dotenvy::Error| Error::Invalid(format!("cannot read .env: {e}"));
            file = dotenvy::from_path_iter(".env")
                .and_then(|pairs| pairs.collect::<Result<Vec<_>, _>>())
                .map_err(bad)?;
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

    /// The workspace to work in; the user's own by default. Another one needs a token for it.
    pub fn workspace(mut self, workspace: impl Into<String>) -> Self {
        self.workspace = Some(workspace.into());
        self
    }

    /// Who this client is; anonymous without one.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The id of this client; random by default. It must not be in use in the workspace.
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = Some(id.into());
        self
    }

    /// Encrypts calls end to end with these keys, where the other side's key is known: that of a
    /// service is given to [`GetService::encryption_public_key`](super::GetService::encryption_public_key),
    /// callbacks carry theirs (protocol 07 §5). Off by default.
    #[cfg(feature = "encryption")]
    pub fn encryption(mut self, keys: crate::crypto::KeyPair) -> Self {
        self.options.encryption = Some(keys);
        self
    }

    /// Takes up a former connection's identity: the token it got from
    /// [`Client::reconnection_token`], with the same client id.
    pub fn reconnection_token(mut self, token: impl Into<String>) -> Self {
        self.reconnection_token = Some(token.into());
        self
    }

    /// A name for people, in this program's logs only.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The application this client belongs to; it is part of every service info.
    pub fn app_id(mut self, app_id: impl Into<String>) -> Self {
        self.options.app_id = app_id.into();
        self
    }

    /// How long a call may go without a sign of life from its callee, and how long connecting may
    /// take. 30 s by default.
    pub fn method_timeout(mut self, limit: Duration) -> Self {
        self.options.method_timeout = limit;
        self
    }

    /// How long connecting may take, if it is not the method timeout.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = Some(limit);
        self
    }

    /// Messages that are larger go in chunks of this many bytes; 262144 by default. Python peers lose
    /// messages of more than 512000 bytes, so larger values are cut to that less some room. Without
    /// this, peers that say that they take larger frames (Rust programs) get up to 1 MiB in one.
    pub fn long_message_chunk_size(mut self, bytes: usize) -> Self {
        const MOST: usize = 480 << 10;
        self.options.chunk_size = bytes.clamp(1, MOST);
        self.options.large_frame = 0;
        self
    }

    /// How many incoming calls may run at the same time; 4096 by default. Further ones are refused
    /// with [`RejectKind::Busy`](crate::error::RejectKind::Busy).
    pub fn max_concurrent_calls(mut self, most: usize) -> Self {
        self.options.max_concurrent_calls = most;
        self
    }

    /// How often the server is asked for a sign of life, 20 s by default; zero turns it off. The
    /// server drops a client that sends nothing for 600 s.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.keep_alive.ping_interval = interval;
        self
    }

    /// How long the server may take to give it, 20 s by default.
    pub fn ping_timeout(mut self, limit: Duration) -> Self {
        self.keep_alive.ping_timeout = limit;
        self
    }

    /// How often a new reconnection token is fetched, 7200 s by default, at most two thirds of its
    /// life time; zero turns it off.
    pub fn token_refresh_interval(mut self, interval: Duration) -> Self {
        self.keep_alive.token_refresh_interval = interval;
        self
    }

    /// A header of the upgrade request; may be given several times.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.socket.headers.push((name.into(), value.into()));
        self
    }

    /// Accepts any certificate and host name of the server. For servers with self-signed
    /// certificates on a network you trust; it makes every other network unsafe.
    pub fn danger_accept_invalid_certificates(mut self, accept: bool) -> Self {
        self.socket.accept_invalid_certificates = accept;
        self
    }

    /// Connects without telling the workspace manager: this client can call, but it is in no list and
    /// nobody can find its services.
    pub fn silent(mut self, silent: bool) -> Self {
        self.silent = silent;
        self
    }

    /// What carries the messages; a WebSocket by default.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Opens the links of this connection in another way, for tests and for networks of one's own. The server
    /// URL is not used then.
    pub fn dial(mut self, dial: impl Dial) -> Self {
        self.dial = Some(Arc::new(dial));
        self
    }

    /// When a lost connection is tried again; `None` for never: the connection is over with its first
    /// link then. By default without end, as [`Backoff::default`] says.
    ///
    /// Calls that are in flight when the link is lost fail with
    /// [`Error::Disconnected`], or are made again if they are
    /// [idempotent](crate::Call::idempotent). Calls that are made meanwhile wait, within their limits.
    /// Services are registered again before the state reads
    /// [`Connected`](super::State::Connected).
    pub fn reconnect(mut self, backoff: impl Into<Option<Backoff>>) -> Self {
        self.backoff = backoff.into();
        self
    }

    /// What calls of this connection do about passing failures, unless they say otherwise; nothing by
    /// default.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.options.retry = retry;
        self
    }

    /// All limits at once, in place of those set before.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    async fn run(self) -> Result<Client, Error> {
        let limit = self.limit();
        let url = self.server_url.clone();
        let connecting = async {
            let silent = self.silent;
            let client = self.open().await?;
            if !silent {
                client.for_setup().announce().await?;
            }
            client.core().connected();
            Ok(client)
        };
        match tokio::time::timeout(limit, connecting).await {
            // The transport knows it by another scheme.
            Ok(Err(Error::Connect(e))) if e.kind() == ConnectErrorKind::InvalidUrl => {
                Err(e.with_url(&url).into())
            }
            Ok(outcome) => outcome,
            Err(_) => {
                let late = ConnectError::new(ConnectErrorKind::Timeout, format!("{limit:?}"));
                Err(late.with_url(&url).into())
            }
        }
    }

    /// For one attempt.
    fn limit(&self) -> Duration {
        self.connect_timeout.unwrap_or(self.options.method_timeout)
    }

    async fn open(self) -> Result<Client, Error> {
        let dial = match &self.dial {
            Some(dial) => Arc::clone(dial),
            None => self.dialer()?,
        };
        let client_id = self.client_id.clone().unwrap_or_else(wire::random_id);
        if !wire::valid_client_id(&client_id) {
            return Err(Error::Invalid(format!(
                "client id `{client_id}`: only letters, digits, `-`, `_` and `.`"
            )));
        }
        let way = Way {
            dial,
            limit: self.limit(),
            workspace: self.workspace,
            token: self.token,
            silent: self.silent,
            keep_alive: self.keep_alive,
            backoff: self.backoff,
        };
        let (link, granted) = way
            .open(&client_id, self.reconnection_token.as_deref())
            .await?;
        tracing::info!(
            name = self.name.as_deref(),
            "connected as {} to {}",
            granted.identity.address(),
            self.server_url
        );
        let keep_alive = way.keep_alive(&granted);
        let identity = granted.identity.clone();
        let (core, queue) = Core::new(identity, self.options, State::Connecting);
        core.adopt(granted);
        Ok(Client::start(link, core, Some(keep_alive), |core| {
            Connection::new(core, queue, Some(way))
        }))
    }

    fn dialer(&self) -> Result<Arc<dyn Dial>, ConnectError> {
        let invalid = |e: wire::AddressError| {
            ConnectError::new(ConnectErrorKind::InvalidUrl, e.to_string())
                .with_url(&self.server_url)
        };
        let socket = || {
            let url = wire::socket_url(&self.server_url).map_err(invalid)?;
            let options = self.socket.clone();
            Ok::<_, ConnectError>(websocket::Dialer { url, options })
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
            Transport::Auto => Arc::new(Fallback::new(socket()?, http()?)),
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

impl std::fmt::Debug for ConnectOptions {
    /// Without the tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("server_url", &self.server_url)
            .field("workspace", &self.workspace)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

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
        let error = ConnectOptions::from_vars(|_| None).unwrap_err();
        assert!(error.to_string().contains("HYPHA_SERVER_URL"));
    }
}
