//! Direct connections to other clients over WebRTC data channels (`docs/protocol/06-webrtc.md`).
//!
//! A connection over a channel is a [`Client`] without a manager, like that of an in-process link.
//! The answering side shares the services of its connection to the server.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Client, CloseReason, DirectServiceLookup, Identity, Settings, Shared, Stats};
use crate::call::{Proxy, RemoteService};
use crate::engine::LinkPeer;
use crate::error::{ConnectError, ConnectErrorKind, Error, RejectKind, report};
use crate::runtime::{Instant, timeout};
use crate::service::{Connection, Engine, IncomingCall, Method, Service, Visibility, refusal};
use crate::transport::webrtc::{
    ChannelLimits, Description, IceConfig, IceServer as Server, OpenChannel, Pending,
};
use crate::workspace::ServiceInfo;
use hypha_wire::{Args, MemoryCharge, PeerMemory, Value, WireError, random_id, split_address};
use hypha_wire::{valid_client_id, valid_service_name};

/// STUN server of the Python and JavaScript clients.
const DEFAULT_STUN: &str = "stun:stun.l.google.com:19302";

/// Default maximum time to open a connection. The same as in the JavaScript client.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Method of a service that returns STUN and TURN servers.
const ICE_SERVERS: &str = "get_rtc_ice_servers";

/// Maximum time to fetch such a service and to call it.
const ICE_SERVICE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for which the answering side uses its result again, also if the call failed.
const ICE_SERVERS_AGE: Duration = Duration::from_secs(10);

/// Maximum number of URLs that are used of its result.
const MAX_ICE_URLS: usize = 8;

/// Maximum number of URLs that are checked, so that a long result does not block a thread.
const MAX_CHECKED_URLS: usize = 64;

/// Maximum size of a URL, in bytes. Host names have at most 253.
const MAX_URL: usize = 512;

/// Maximum size of a user name, in bytes (RFC 8489, section 14.3).
const MAX_USERNAME: usize = 513;

/// Maximum size of a password, in bytes.
const MAX_CREDENTIAL: usize = 1 << 10;

/// Default maximum number of connections that other clients open to this client.
const MAX_CONNECTIONS: usize = 64;

/// Part of the connections that one client may open: one of this number.
const SHARE_OF_CALLER: usize = 4;

/// Connection type in contexts of calls over a data channel.
const CONNECTION_TYPE: &str = "webrtc";

/// Key in the config of the signaling service. It says that services on its connections behave as
/// they do through the server, so that other clients may open connections automatically.
///
/// The other clients do not set it: on their connections, permissions and contexts differ, large
/// results are lost, and functions expire (`docs/protocol/06-webrtc.md#s8`).
const AUTOMATIC: &str = "automatic";

/// Method of the signaling service.
const OFFER: &str = "offer";

/// STUN or TURN server, which helps clients in different networks to find a path to each other.
///
/// # Examples
///
/// ```
/// use hypha_rpc::client::{IceServer, RtcOptions};
///
/// let options = RtcOptions::new().ice_servers([
///     IceServer::new("stun:stun.example.org:3478"),
///     IceServer::new("turn:turn.example.org:3478").credentials("user", "password"),
/// ]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer(Server);

impl IceServer {
    /// Creates a server from its URL: `stun:host[:port]` or `turn:host[:port]`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        IceServer(Server {
            urls: vec![url.into()],
            ..Server::default()
        })
    }

    /// Sets the user name and the password of a TURN server. Default: none.
    #[must_use]
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.0.username = user.into();
        self.0.credential = password.into();
        self
    }
}

impl fmt::Debug for IceServer {
    /// Omits the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IceServer").field(&self.0.urls).finish()
    }
}

/// Options of [`Client::register_rtc_service`], [`Client::get_rtc_service`] and
/// [`ConnectOptions::webrtc`](super::ConnectOptions::webrtc).
#[derive(Clone, Debug)]
#[must_use]
pub struct RtcOptions {
    ice_servers: Vec<IceServer>,
    ice_service: Option<String>,
    relay_only: bool,
    timeout: Duration,
    visibility: Visibility,
    max_connections: usize,
}

impl RtcOptions {
    /// Returns the default options.
    pub fn new() -> Self {
        RtcOptions {
            ice_servers: vec![IceServer::new(DEFAULT_STUN)],
            ice_service: None,
            relay_only: false,
            timeout: OPEN_TIMEOUT,
            visibility: Visibility::Protected,
            max_connections: MAX_CONNECTIONS,
        }
    }

    /// Sets the STUN and TURN servers. Default: `stun:stun.l.google.com:19302`, as in the Python
    /// and JavaScript clients.
    ///
    /// Clients on one machine or in one network need none. The servers are not published.
    pub fn ice_servers(mut self, servers: impl IntoIterator<Item = IceServer>) -> Self {
        self.ice_servers = servers.into_iter().collect();
        self
    }

    /// Sets a service that gives STUN and TURN servers in addition to those of
    /// [`ice_servers`](Self::ice_servers), such as a coturn service with credentials that expire.
    /// Default: none. `id` has the forms of [`Client::get_service`].
    ///
    /// Its method `get_rtc_ice_servers()` returns a list of `{urls, username, credential}`, where
    /// `urls` is a URL or a list of them, and only TURN servers need the other members. It is
    /// called each time a connection is opened. The answering side calls it at most once in 10 s.
    /// Of the first 64 URLs, at most 8 are used. Invalid ones are ignored, and so are those with
    /// more than 512 bytes, with a user name of more than 513 bytes, or with a credential of more
    /// than 1 KiB.
    ///
    /// The client that answers under `id` chooses the TURN server, and that server learns the
    /// address of this machine. Use a full id `workspace/client:service` of a client that you
    /// trust.
    ///
    /// If the service cannot be called within 2 s, the connection has only the servers of
    /// [`ice_servers`](Self::ice_servers), and a warning is logged.
    ///
    /// # Examples
    ///
    /// ```
    /// use hypha_rpc::client::RtcOptions;
    ///
    /// let options = RtcOptions::new().ice_servers([]).ice_service("ws-operator/turn:coturn");
    /// ```
    pub fn ice_service(mut self, id: impl Into<String>) -> Self {
        self.ice_service = Some(id.into());
        self
    }

    /// Uses only paths through a TURN server, so that the peer does not learn the addresses of this
    /// machine. Default: `false`. Fails with the kind [`ConnectErrorKind::PeerConnection`] if no
    /// TURN server gives an address.
    ///
    /// Each side hides its own addresses with this option.
    pub fn relay_only(mut self, relay_only: bool) -> Self {
        self.relay_only = relay_only;
        self
    }

    /// Sets the maximum time to open a connection, including signaling. Default: 30 s.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Sets the visibility of the signaling service. Default: [`Visibility::Protected`]. Has no
    /// effect in [`Client::get_rtc_service`].
    ///
    /// Each service that is called over a connection has its own visibility, too.
    pub fn visibility(mut self, visibility: Visibility) -> Self {
        self.visibility = visibility;
        self
    }

    /// Sets the maximum number of connections that other clients may open at the same time. One
    /// client may open a quarter of them. Further offers are rejected with
    /// [`RejectKind::Busy`]. Default: 64. Has no effect in [`Client::get_rtc_service`].
    pub fn max_connections(mut self, most: usize) -> Self {
        self.max_connections = most;
        self
    }

    /// Asks for further servers if there is a service for it.
    async fn further_servers(&self, client: &Client) -> Vec<Server> {
        let Some(id) = &self.ice_service else {
            return Vec::new();
        };
        match timeout(ICE_SERVICE_TIMEOUT, client.fetch_ice_servers(id)).await {
            Ok(Ok(found)) => return found,
            Ok(Err(error)) => {
                tracing::warn!("the ICE servers of `{id}` are not used: {}", report(&error));
            }
            Err(_) => tracing::warn!(
                "the ICE servers of `{id}` are not used: there was no response within \
                 {ICE_SERVICE_TIMEOUT:?}"
            ),
        }
        Vec::new()
    }

    /// Returns the servers and the rules of a connection.
    fn ice(&self, further_servers: Vec<Server>) -> IceConfig {
        let servers = self.ice_servers.iter().map(|server| server.0.clone());
        IceConfig {
            servers: servers.chain(further_servers).collect(),
            relay_only: self.relay_only,
        }
    }
}

impl Default for RtcOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Direct connection to another client, opened by [`Client::get_rtc_service`].
///
/// Calls, callbacks, streams and files pass over it without the server. Clones share the
/// connection. It closes when [`disconnect`](Self::disconnect) is called, or when the last clone
/// and the last value received through it are dropped. It does not reconnect: calls then fail with
/// [`Error::Disconnected`]. A peer that no longer responds is noticed after 15 s.
///
/// It does not depend on the connection to the server, except for opening it.
#[derive(Clone)]
pub struct PeerConnection {
    client: Client,
    /// Address of the peer on the channel.
    peer: String,
}

impl PeerConnection {
    /// Fetches a service of the peer. `id` is the id without workspace and client.
    ///
    /// # Errors
    ///
    /// * [`Error::Invalid`] if `id` contains `:` or `/`.
    /// * [`Error::Rejected`] if the peer has no such service or this client may not use it.
    /// * The other errors of a [`Call`](crate::Call).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::{args, client::PeerConnection};
    /// # async fn example(peer: PeerConnection) -> Result<(), hypha_rpc::Error> {
    /// let camera = peer.get_service("camera")?.await?;
    /// let frame: bytes::Bytes = camera.call("snap", args!()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_service(&self, id: &str) -> Result<DirectServiceLookup, Error> {
        if !valid_service_name(id.split('@').next().unwrap_or_default()) {
            return Err(Error::Invalid(format!(
                "service id `{id}`: over a peer connection it has no workspace and no client"
            )));
        }
        let id = format!("{}:{id}", self.peer);
        Ok(self.client.get_remote_service(&id))
    }

    /// Fetches a service like [`get_service`](Self::get_service), and returns the typed proxy of a
    /// contract.
    ///
    /// # Errors
    ///
    /// The errors of [`get_service`](Self::get_service).
    pub async fn proxy<P: Proxy>(&self, id: &str) -> Result<P, Error> {
        Ok(P::from_service(self.get_service(id)?.await?))
    }

    /// Returns whether the connection is not closed.
    pub(super) fn is_open(&self) -> bool {
        !self.client.engine().lifecycle.is_closed()
    }

    /// Returns the connection, and the address of the peer on it.
    pub(super) fn route(&self) -> (Connection, String) {
        (self.client.connection.clone(), self.peer.clone())
    }

    /// Returns a client that does not keep the connection open.
    pub(super) fn unowned_client(&self) -> Client {
        self.client.unowned()
    }

    /// Waits until the connection is closed, and returns the reason.
    ///
    /// # Cancellation
    ///
    /// This method is cancel safe.
    pub async fn closed(&self) -> Arc<CloseReason> {
        self.client.closed().await
    }

    /// Returns the counters of this connection.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.client.stats()
    }

    /// Closes the connection. Pending calls fail, and the peer is told.
    ///
    /// Like [`Client::disconnect`], waits up to 5 s for running handlers, such as those of
    /// callbacks.
    pub async fn disconnect(&self) {
        self.client.disconnect().await;
    }
}

impl fmt::Debug for PeerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerConnection")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Session description on the wire.
#[derive(Debug, Deserialize, Serialize)]
struct WireDescription {
    sdp: String,
    #[serde(rename = "type")]
    kind: String,
    /// Workspace of the answering client. Only in an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workspace: Option<String>,
}

/// STUN or TURN server on the wire.
#[derive(Debug, Deserialize)]
struct WireIceServer {
    urls: Urls,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    credential: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Urls {
    One(String),
    Many(Vec<String>),
}

impl WireIceServer {
    fn urls(&self) -> &[String] {
        match &self.urls {
            Urls::One(url) => std::slice::from_ref(url),
            Urls::Many(urls) => urls,
        }
    }

    fn username(&self) -> &str {
        self.username.as_deref().unwrap_or_default()
    }

    fn credential(&self) -> &str {
        self.credential.as_deref().unwrap_or_default()
    }

    /// Returns whether the credentials are not too large.
    fn has_usable_credentials(&self) -> bool {
        self.username().len() <= MAX_USERNAME && self.credential().len() <= MAX_CREDENTIAL
    }
}

/// Returns the servers of a result that are used: one for each URL, because one invalid URL makes
/// the whole server invalid.
fn usable_servers(found: &[WireIceServer]) -> Vec<Server> {
    let urls = found
        .iter()
        .flat_map(|server| server.urls().iter().map(move |url| (server, url)));
    urls.take(MAX_CHECKED_URLS)
        .filter(|(server, url)| url.len() <= MAX_URL && server.has_usable_credentials())
        .map(|(server, url)| Server {
            urls: vec![url.clone()],
            username: server.username().to_owned(),
            credential: server.credential().to_owned(),
        })
        .filter(Server::is_valid)
        .take(MAX_ICE_URLS)
        .collect()
}

impl From<Description> for WireDescription {
    fn from(Description { sdp, kind }: Description) -> Self {
        WireDescription {
            sdp,
            kind,
            workspace: None,
        }
    }
}

impl From<WireDescription> for Description {
    fn from(WireDescription { sdp, kind, .. }: WireDescription) -> Self {
        Description { sdp, kind }
    }
}

impl Client {
    /// Registers a signaling service, through which other clients open direct connections to this
    /// client. Returns its record.
    ///
    /// A connection gives access to all services of this client. Visibility, authorized workspaces
    /// and trusted keys apply as they do through the server, and each handler receives a
    /// [`Context`](crate::Context): its address, workspace and user are those of the client that
    /// opened the connection, as authenticated by the server at that time. They stay valid until
    /// the connection is closed.
    ///
    /// Connections stay open if the service is unregistered or the link to the server is lost. They
    /// close with [`disconnect`](Self::disconnect).
    ///
    /// # Errors
    ///
    /// The errors of [`RegisterService`](super::RegisterService).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::client::RtcOptions;
    /// # use hypha_rpc::{Client, service::Service};
    /// # async fn example(client: Client, camera: Service) -> Result<(), hypha_rpc::Error> {
    /// client.register_service(camera).await?;
    /// client.register_rtc_service("camera-rtc", RtcOptions::new()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn register_rtc_service(
        &self,
        id: impl Into<String>,
        options: RtcOptions,
    ) -> Result<ServiceInfo, Error> {
        let answerer = Arc::new(Answerer::new(self, options.clone()));
        let offer = Method::new(OFFER, move |call: IncomingCall| {
            let answerer = Arc::clone(&answerer);
            async move { answerer.offer(&call).await }
        });
        let service = Service::new(id)
            .description("Opens direct connections over WebRTC.")
            .visibility(options.visibility)
            .require_context(true)
            .config(AUTOMATIC, true)
            .method(offer.doc("Answer the offer of a peer connection."));
        self.register_service(service).await
    }

    /// Opens a direct connection to the client with the signaling service `id`, which that client
    /// registered with [`register_rtc_service`](Self::register_rtc_service) or, in other
    /// languages, the function of that name. `id` has the forms of
    /// [`get_service`](Self::get_service).
    ///
    /// The two clients exchange their addresses through the server, and then find a network path to
    /// each other. The connection is encrypted. Its certificates are verified with fingerprints
    /// that are exchanged through the server, too.
    ///
    /// # Errors
    ///
    /// * The errors of [`get_service`](Self::get_service) for the signaling service, and the errors
    ///   of a [`Call`](crate::Call) to it.
    /// * [`Error::Connect`] with the kind [`ConnectErrorKind::PeerConnection`] if no network path
    ///   was found, or the connection is not open within [`RtcOptions::timeout`].
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::client::RtcOptions;
    /// # use hypha_rpc::{Client, args};
    /// # async fn example(client: Client) -> Result<(), hypha_rpc::Error> {
    /// let peer = client.get_rtc_service("camera-rtc", RtcOptions::new()).await?;
    /// let camera = peer.get_service("camera")?.await?;
    /// let frame: bytes::Bytes = camera.call("snap", args!()).await?;
    /// peer.disconnect().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_rtc_service(
        &self,
        id: impl Into<String>,
        options: RtcOptions,
    ) -> Result<PeerConnection, Error> {
        let id = id.into();
        let limit = options.timeout;
        let opening = async {
            let signaling = self.fetch(&id).await?;
            self.open_peer_connection(&signaling, &options).await
        };
        named(timeout(limit, opening).await, &id, limit)
    }

    /// Registers the signaling service of a client that opens and accepts direct connections
    /// automatically. A rejection is not an error: a client that may not register services still
    /// opens connections.
    pub(super) async fn answer_automatically(&self, options: RtcOptions) -> Result<(), Error> {
        let id = signaling_id(&self.client_id());
        match self.register_rtc_service(id, options).await {
            Err(Error::Rejected(refusal)) => {
                tracing::warn!("this client cannot accept direct connections: {refusal}");
                Ok(())
            }
            outcome => outcome.map(drop),
        }
    }

    /// Opens a connection to the client at `provider`. Returns `None` if that client does not
    /// accept automatic connections.
    pub(super) async fn open_automatically(
        &self,
        provider: &str,
        options: RtcOptions,
    ) -> Result<Option<PeerConnection>, Error> {
        let Some((_, client_id)) = split_address(provider) else {
            return Ok(None);
        };
        let id = format!("{provider}:{}", signaling_id(client_id));
        let limit = options.timeout;
        let opening = async {
            let signaling = match self.fetch(&id).await {
                Err(Error::Rejected(refusal)) => {
                    tracing::debug!("{provider} accepts no direct connections: {refusal}");
                    return Ok(None);
                }
                fetched => fetched?,
            };
            let config = signaling.get("config");
            if config.and_then(|config| config.get(AUTOMATIC)) != Some(&Value::from(true)) {
                return Ok(None);
            }
            let opened = self.open_peer_connection(&signaling, &options).await;
            opened.map(Some)
        };
        named(timeout(limit, opening).await, &id, limit)
    }

    /// Calls a service that returns STUN and TURN servers.
    async fn fetch_ice_servers(&self, id: &str) -> Result<Vec<Server>, Error> {
        let service = self.fetch(id).await?;
        let found: Vec<WireIceServer> = service.call(ICE_SERVERS, Args::new(0, 0)).await?;
        Ok(usable_servers(&found))
    }

    async fn open_peer_connection(
        &self,
        signaling: &RemoteService,
        options: &RtcOptions,
    ) -> Result<PeerConnection, Error> {
        let label = random_id();
        let ice = options.ice(options.further_servers(self).await);
        let (pending, channel, offer) = Pending::offer(&label, &ice).await?;
        let mut args = Args::new(1, 0);
        args.push("params", &WireDescription::from(offer));
        let answer: WireDescription = signaling.call(OFFER, args).await?;
        let (provider, _) = signaling.id().split_once(':').unwrap_or_default();
        let provider_workspace = split_address(provider).map_or("", |(workspace, _)| workspace);
        // Servers never forward a workspace with a slash, so addresses would not be readable.
        let workspace = answer.workspace.clone();
        let workspace = workspace
            .filter(|workspace| !workspace.contains('/'))
            .unwrap_or_else(|| provider_workspace.to_owned());
        let opened = pending.accepted(channel, label, &answer.into()).await?;
        let peer = format!("{workspace}/{}", opened.label);
        let caller = LinkPeer {
            address: provider.to_owned(),
            workspace: provider_workspace.to_owned(),
            // The server tells only the user of a caller.
            user: Default::default(),
        };
        let engine = self.engine();
        let memory = engine.settings.memory.clone();
        let settings = channel_settings(engine, opened.limits, caller, memory);
        let mut identity = identity(&workspace, &random_id());
        identity.user = engine.identity().user.clone();
        Ok(PeerConnection {
            client: Client::from_link(opened.link, identity, settings),
            peer,
        })
    }
}

/// Returns the id of the signaling service of a client that accepts connections automatically.
fn signaling_id(client_id: &str) -> String {
    format!("{client_id}-rtc")
}

/// Converts the outcome of an attempt to open a connection through the signaling service `id`.
fn named<T>(
    outcome: Result<Result<T, Error>, impl Sized>,
    id: &str,
    limit: Duration,
) -> Result<T, Error> {
    let late = |_| Err(unopened(format!("it was not open within {limit:?}")).into());
    outcome.unwrap_or_else(late).map_err(|error| match error {
        Error::Connect(error) => error.with_peer(id).into(),
        other => other,
    })
}

fn unopened(detail: String) -> ConnectError {
    ConnectError::new(ConnectErrorKind::PeerConnection, detail)
}

/// Returns the identity of a client on a data channel. There is no manager on it.
fn identity(workspace: &str, client_id: &str) -> Identity {
    let mut identity = Identity::new(workspace, client_id);
    identity.connection_type = CONNECTION_TYPE;
    identity
}

/// Returns the settings of a connection over a data channel. Timeouts and limits are those of the
/// connection to the server.
fn channel_settings(
    engine: &Engine,
    limits: ChannelLimits,
    caller: LinkPeer,
    memory: Option<Arc<dyn PeerMemory>>,
) -> Settings {
    Settings {
        chunk_bytes: limits.chunk,
        large_frame_bytes: 0,
        max_frame_bytes: limits.message,
        link_peer: Some(Arc::new(caller)),
        memory,
        // The layers below detect a lost peer. The watchdog cannot help either, because their task
        // belongs to the runtime of the program.
        ping_interval: Duration::ZERO,
        token_refresh_interval: Duration::ZERO,
        stall_timeout: Duration::ZERO,
        #[cfg(feature = "encryption")]
        encryption: engine.secrecy.keys(),
        ..engine.settings.clone()
    }
}

/// The signaling service of a client, and the connections that were opened through it.
struct Answerer {
    engine: Weak<Engine>,
    /// State for the calls of this client. A service must not own it.
    shared: Weak<Shared>,
    options: RtcOptions,
    slots: Arc<Semaphore>,
    /// Maximum number of connections of one client.
    most_of_caller: usize,
    accounts: Arc<Accounts>,
    recent_servers: RecentServers,
}

/// Servers of the last call of a service for ICE servers. Other clients choose the times of their
/// offers, but not the rate of the calls.
#[derive(Default)]
struct RecentServers(tokio::sync::Mutex<Option<(Instant, Vec<Server>)>>);

impl RecentServers {
    /// Returns the servers of the last call, or the outcome of `fetch` if it is too old. At most
    /// one call is in flight.
    async fn get(&self, fetch: impl Future<Output = Vec<Server>>) -> Vec<Server> {
        let mut last = self.0.lock().await;
        if let Some((at, servers)) = &*last {
            if at.elapsed() < ICE_SERVERS_AGE {
                return servers.clone();
            }
        }
        let servers = fetch.await;
        *last = Some((Instant::now(), servers.clone()));
        servers
    }
}

/// Connections and memory of the callers, by their address.
#[derive(Debug)]
struct Accounts {
    usage: Mutex<HashMap<String, Usage>>,
    /// Maximum memory of all callers, in bytes. One caller may use half of it.
    max_bytes: usize,
    /// Accounts of the whole program, which are charged too.
    outer: Option<Arc<dyn PeerMemory>>,
}

/// Resources that one caller uses.
#[derive(Debug, Default)]
struct Usage {
    connections: usize,
    bytes: usize,
}

/// Place of one connection. Dropping it makes room for another one.
struct Seat {
    accounts: Arc<Accounts>,
    caller: String,
    _slot: OwnedSemaphorePermit,
}

impl Accounts {
    /// Changes the usage of a caller. Forgets callers that use nothing.
    fn change<T>(&self, caller: &str, change: impl FnOnce(&mut Usage) -> T) -> T {
        let mut usage = self.usage.lock();
        let entry = usage.entry(caller.to_owned()).or_default();
        let outcome = change(entry);
        if entry.connections == 0 && entry.bytes == 0 {
            usage.remove(caller);
        }
        outcome
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.accounts
            .change(&self.caller, |usage| usage.connections -= 1);
    }
}

/// Memory account of one caller for all of its connections. The address in messages is that of the
/// connection, which the caller chooses, so it is not used.
#[derive(Debug)]
struct CallerMemory {
    accounts: Arc<Accounts>,
    caller: String,
}

/// Memory charged to a caller.
struct Charge {
    accounts: Arc<Accounts>,
    caller: String,
    bytes: usize,
    _outer: Option<MemoryCharge>,
}

impl Drop for Charge {
    fn drop(&mut self) {
        let bytes = self.bytes;
        self.accounts
            .change(&self.caller, |usage| usage.bytes -= bytes);
    }
}

impl PeerMemory for CallerMemory {
    fn charge(&self, _: &str, bytes: usize) -> Result<MemoryCharge, String> {
        let outer = self.accounts.outer.as_ref();
        let outer = outer.map(|outer| outer.charge(&self.caller, bytes));
        let outer = outer.transpose()?;
        let mut usage = self.accounts.usage.lock();
        let all: usize = usage.values().map(|usage| usage.bytes).sum();
        let of_caller = usage.get(&self.caller).map_or(0, |usage| usage.bytes);
        let most = self.accounts.max_bytes;
        if all.saturating_add(bytes) > most || of_caller.saturating_add(bytes) > most / 2 {
            return Err(format!(
                "the peer connections of {} occupy {of_caller} bytes, those of all clients {all} \
                 of {most}",
                self.caller
            ));
        }
        usage.entry(self.caller.clone()).or_default().bytes += bytes;
        drop(usage);
        Ok(Box::new(Charge {
            accounts: Arc::clone(&self.accounts),
            caller: self.caller.clone(),
            bytes,
            _outer: outer,
        }))
    }
}

impl Answerer {
    fn new(client: &Client, options: RtcOptions) -> Self {
        let engine = client.engine();
        let most = options.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Answerer {
            engine: Arc::downgrade(engine),
            shared: Arc::downgrade(&client.shared),
            slots: Arc::new(Semaphore::new(most)),
            most_of_caller: most.div_ceil(SHARE_OF_CALLER),
            accounts: Arc::new(Accounts {
                usage: Mutex::default(),
                max_bytes: engine.settings.max_chunk_bytes,
                outer: engine.settings.memory.clone(),
            }),
            recent_servers: RecentServers::default(),
            options,
        }
    }

    /// Reserves a place for a connection of `caller`.
    fn seat(&self, caller: &str) -> Result<Seat, String> {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            return Err("this client has too many peer connections".to_owned());
        };
        let most = self.most_of_caller;
        self.accounts.change(caller, |usage| {
            if usage.connections >= most {
                return Err(format!("{caller} has {most} peer connections already"));
            }
            usage.connections += 1;
            Ok(())
        })?;
        Ok(Seat {
            accounts: Arc::clone(&self.accounts),
            caller: caller.to_owned(),
            _slot: slot,
        })
    }

    /// Answers an offer, and starts the task that serves the connection.
    async fn offer(&self, call: &IncomingCall) -> Result<Args, WireError> {
        let offer: WireDescription = call.args(&["params"])?.required(0)?;
        let context = call.context();
        let caller = LinkPeer {
            address: context.from().to_owned(),
            workspace: context.workspace().to_owned(),
            user: context.user().clone(),
        };
        let seat = self.seat(&caller.address);
        let seat = seat.map_err(|full| refusal(RejectKind::Busy, "RuntimeError", full))?;
        let engine = self.engine.upgrade();
        let engine = engine.ok_or_else(|| WireError::new("RPC connection closed"))?;
        let client = Client {
            connection: Connection::borrowing(Arc::clone(&engine)),
            // The state is gone if the program has dropped its client, but not all services.
            shared: self.shared.upgrade().unwrap_or_default(),
        };
        let limit = self.options.timeout;
        let answering = async {
            // An offer that is refused does not make this client call the service.
            let offer = Description::from(offer).checked_offer()?;
            let further = self.options.further_servers(&client);
            let ice = self.options.ice(self.recent_servers.get(further).await);
            Pending::answer(offer, &ice).await
        };
        let answered = timeout(limit, answering).await;
        let answered = answered
            .unwrap_or_else(|_| Err(unopened(format!("there was no answer within {limit:?}"))));
        let (pending, limits, answer) =
            answered.map_err(|e| WireError::new(report(&e.with_peer(&caller.address))))?;
        let mut answer = WireDescription::from(answer);
        answer.workspace = Some(engine.identity().workspace.clone());
        let connection = Arc::downgrade(&engine);
        engine.spawn(async move {
            let address = caller.address.clone();
            if let Err(error) = serve(connection, pending, limits, caller, limit, &seat).await {
                tracing::debug!("{}", report(&error.with_peer(&address)));
            }
        });
        call.reply(&answer)
    }
}

/// Serves a connection until it is closed.
async fn serve(
    engine: Weak<Engine>,
    pending: Pending,
    limits: ChannelLimits,
    caller: LinkPeer,
    limit: Duration,
    seat: &Seat,
) -> Result<(), ConnectError> {
    let opened = timeout(limit, pending.accept(limits)).await;
    let opened = opened
        .unwrap_or_else(|_| Err(unopened(format!("no channel was opened within {limit:?}"))))?;
    let OpenChannel { link, label, .. } = opened;
    // The label becomes a part of addresses.
    if !valid_client_id(&label) {
        let label: String = label.chars().take(64).collect();
        return Err(unopened(format!(
            "the channel label `{label}` is not valid"
        )));
    }
    let Some(shared) = engine.upgrade() else {
        return Ok(());
    };
    let memory = CallerMemory {
        accounts: Arc::clone(&seat.accounts),
        caller: seat.caller.clone(),
    };
    let settings = channel_settings(&shared, limits, caller, Some(Arc::new(memory)));
    let identity = identity(&shared.identity().workspace, &label);
    let client = Client::sharing(link, identity, settings, Some(&shared));
    // The connection must not keep the shared one alive.
    drop(shared);
    client.closed().await;
    Ok(())
}

#[cfg(test)]
impl PeerConnection {
    /// Creates a connection over the link of a client.
    pub(super) fn over(client: Client, peer: &str) -> Self {
        PeerConnection {
            client,
            peer: peer.to_owned(),
        }
    }

    /// Serves the other end of such a link, with the services of `host`. The caller is `ws/caller`.
    pub(super) fn served(link: crate::transport::memory::MemoryLink, host: &Client) -> Client {
        let caller = LinkPeer {
            address: "ws/caller".into(),
            workspace: "ws".into(),
            user: Default::default(),
        };
        let limits = ChannelLimits {
            message: 64 << 10,
            chunk: 60 << 10,
        };
        let settings = channel_settings(host.engine(), limits, caller, None);
        let shared = Some(host.engine());
        Client::sharing(Box::new(link), identity("ws", "channel"), settings, shared)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use futures_util::{SinkExt, StreamExt};
    use hypha_wire::{Map, Message, PromiseKind, Stamp, to_vec};

    use super::*;
    use crate::args;
    use crate::transport::data_channel::DataChannelLink;
    use crate::transport::data_channel::tests::pair;
    use crate::transport::{Frame, memory};
    use crate::workspace::UserInfo;

    const LIMITS: ChannelLimits = ChannelLimits {
        message: 64 << 10,
        chunk: 60 << 10,
    };

    /// Forwards messages of a caller that writes another workspace and user into each of them, as
    /// only a server may. Fails if a message exceeds the limit of the channel.
    async fn forge(mut caller: memory::MemoryLink, mut channel: DataChannelLink) {
        let user = to_vec(&UserInfo {
            id: "root".into(),
            ..UserInfo::default()
        });
        let user = user.expect("encodes");
        loop {
            let (is_of_caller, frame) = tokio::select! {
                frame = caller.next() => (true, frame),
                frame = channel.next() => (false, frame),
            };
            let Some(Ok(Frame::Binary(data))) = frame else {
                return;
            };
            assert!(data.len() <= LIMITS.message, "{} bytes", data.len());
            let sent = if is_of_caller {
                let message = Message::parse(data).expect("is a message");
                let stamp = Stamp {
                    to: message.to().expect("has a receiver"),
                    from: message.from().expect("has a sender"),
                    ws: "ws",
                    user: &user,
                };
                let forged = message.stamped(&stamp).into_bytes();
                channel.send(Frame::Binary(forged)).await
            } else {
                caller.send(Frame::Binary(data)).await
            };
            if sent.is_err() {
                return;
            }
        }
    }

    /// A host with services, and a caller from another workspace on a channel to it.
    struct Channel {
        host: Client,
        caller: Client,
        /// Dropping these would close the connections.
        _open: (Client, memory::MemoryLink),
    }

    /// Opens a channel. The address of the caller on it is in the workspace of the host, as with
    /// all clients.
    async fn channel() -> Channel {
        let (link, server) = memory::pair(16);
        let host = Identity::new("ws", "host");
        let host = Client::from_link(Box::new(link), host, Settings::in_process());
        let open = Service::new("open")
            .visibility(Visibility::Public)
            .method(Method::new("context", |call: IncomingCall| async move {
                let map = call.context().to_map();
                let user = map.get("user").and_then(|user| user.get("id"));
                let context = call.context();
                let seen = [
                    context.from(),
                    context.workspace(),
                    context.user().id.as_str(),
                ];
                let text = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
                let mapped = [
                    text("from"),
                    text("ws"),
                    user.and_then(Value::as_str).map(str::to_owned),
                ];
                call.reply(&(seen, mapped))
            }))
            .method(Method::new("echo", |call: IncomingCall| async move {
                let data: hypha_wire::Binary = call.args(&["data"])?.required(0)?;
                call.reply(&data)
            }));
        let get = |call: IncomingCall| async move { call.reply("secret") };
        let secret = Service::new("secret").method(Method::new("get", get));
        let locked = Service::new("locked")
            .visibility(Visibility::Public)
            .trusted_keys(["0".repeat(64)])
            .method(Method::new("get", get));
        for service in [open, secret, locked] {
            host.register_service(service).await.expect("registers");
        }
        let (theirs, ours) = pair(16);
        let caller = LinkPeer {
            address: "other/caller".into(),
            workspace: "other".into(),
            user: UserInfo {
                id: "guest".into(),
                ..UserInfo::default()
            },
        };
        let settings = channel_settings(host.engine(), LIMITS, caller, None);
        let link = Box::new(DataChannelLink::new(ours));
        let served = Client::sharing(link, identity("ws", "PEER1"), settings, Some(host.engine()));
        let (link, forged) = memory::pair(16);
        crate::runtime::spawn(forge(forged, DataChannelLink::new(theirs)));
        let settings = Settings {
            chunk_bytes: LIMITS.chunk,
            large_frame_bytes: 0,
            max_frame_bytes: LIMITS.message,
            ..Settings::in_process()
        };
        let caller = Client::from_link(Box::new(link), Identity::new("ws", "me"), settings);
        Channel {
            host,
            caller,
            _open: (served, server),
        }
    }

    #[tokio::test]
    async fn the_caller_is_that_of_the_offer() {
        let channel = channel().await;
        let caller = &channel.caller;
        let open = caller
            .get_remote_service("ws/PEER1:open")
            .await
            .expect("is public");
        let seen: [[String; 3]; 2] = open.call("context", args!()).await.expect("responds");
        assert_eq!(seen, [["other/caller", "other", "guest"]; 2]);
        // Requests and responses in chunks, too.
        let data = Bytes::from(vec![7; 1 << 20]);
        let echoed: Bytes = open
            .call("echo", args!(data.clone()))
            .await
            .expect("responds");
        assert_eq!(echoed, data);
    }

    #[tokio::test]
    async fn services_have_their_permissions_on_a_channel() {
        let channel = channel().await;
        let caller = &channel.caller;
        let denied = |outcome: Result<Value, Error>| match outcome {
            Err(Error::Rejected(refusal)) => {
                assert_eq!(refusal.kind, RejectKind::PermissionDenied, "{refusal}")
            }
            other => panic!("{other:?}"),
        };
        let fetched = caller.get_remote_service("ws/PEER1:secret").await;
        denied(fetched.map(|_| Value::Null));
        // A caller need not fetch a service before it calls a method.
        for method in ["services.secret.get", "services.locked.get"] {
            let star = PromiseKind::Star;
            let called = caller.request("ws/PEER1", method, star, Args::new(0, 0), None);
            denied(called.await);
        }
    }

    #[tokio::test]
    async fn services_are_those_of_the_host_at_any_time() {
        let Channel { host, caller, .. } = &channel().await;
        let fetch = || async { caller.get_remote_service("ws/PEER1:late").await };
        fetch().await.expect_err("is not registered");
        let late = Service::new("late").visibility(Visibility::Public);
        host.register_service(late).await.expect("registers");
        fetch().await.expect("is registered");
        host.unregister_service("late").await.expect("unregisters");
        fetch().await.expect_err("is unregistered");
    }

    #[tokio::test]
    async fn a_message_larger_than_the_link_is_an_error() {
        let (link, _other) = memory::pair(16);
        let settings = Settings {
            max_frame_bytes: 1000,
            ..Settings::in_process()
        };
        let client = Client::from_link(Box::new(link), Identity::new("ws", "me"), settings);
        let mut args = Args::new(1, 0);
        args.push("data", &"x".repeat(2000));
        let star = PromiseKind::Star;
        let sent = client.request::<Map>("ws/you", "services.s.f", star, args, None);
        let error = sent.await.expect_err("is too large");
        let text = report(&error).to_string();
        assert!(text.contains("at most 1000"), "{text}");
    }

    #[test]
    fn a_result_with_servers_is_limited() {
        let server = |urls: Vec<String>, username: usize, credential: usize| WireIceServer {
            urls: Urls::Many(urls),
            username: Some("u".repeat(username)),
            credential: Some("c".repeat(credential)),
        };
        let turn = |n: usize| format!("turn:192.0.2.1:{n}");
        let used = |found: &[WireIceServer]| -> Vec<String> {
            let servers = usable_servers(found);
            servers.into_iter().flat_map(|server| server.urls).collect()
        };
        let small = server((1..20).map(turn).collect(), MAX_USERNAME, MAX_CREDENTIAL);
        let first: Vec<_> = (1..=MAX_ICE_URLS).map(turn).collect();
        assert_eq!(used(&[small]), first);
        let long = format!("turn:{}", "h".repeat(MAX_URL));
        let mixed = [
            server(vec![turn(1)], MAX_USERNAME + 1, 1),
            server(vec![turn(2)], 1, MAX_CREDENTIAL + 1),
            server(vec![long, "nonsense".into(), turn(3)], 1, 1),
            WireIceServer {
                urls: Urls::One("stun:192.0.2.1".into()),
                username: None,
                credential: None,
            },
        ];
        assert_eq!(used(&mixed), [turn(3), "stun:192.0.2.1".into()]);
        // The URLs behind the first ones are not looked at, of one server or of several.
        let many = vec![String::from("x"); MAX_CHECKED_URLS - 1];
        let found = [server(many, 1, 1), server(vec![turn(1), turn(2)], 1, 1)];
        assert_eq!(used(&found), [turn(1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn servers_are_fetched_once_in_ten_seconds() {
        let recent = RecentServers::default();
        let calls = AtomicUsize::new(0);
        let get = || {
            recent.get(async {
                calls.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(2)).await;
                Vec::new()
            })
        };
        // Only one of them calls the service.
        tokio::join!(get(), get(), get());
        get().await;
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        tokio::time::sleep(ICE_SERVERS_AGE).await;
        // A call that ends early has no effect on the others.
        let cancelled = timeout(Duration::from_secs(1), get());
        let (cancelled, _) = tokio::join!(cancelled, get());
        assert!(cancelled.is_err());
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    }

    fn accounts() -> Arc<Accounts> {
        Arc::new(Accounts {
            usage: Mutex::default(),
            max_bytes: 100,
            outer: None,
        })
    }

    #[test]
    fn a_caller_may_use_half_of_the_memory() {
        let accounts = accounts();
        let memory = |caller: &str| CallerMemory {
            accounts: Arc::clone(&accounts),
            caller: caller.to_owned(),
        };
        let (a, b, c) = (memory("ws/a"), memory("ws/b"), memory("ws/c"));
        // Another connection of a client has the same account.
        let held = (a.charge("x/1", 30), memory("ws/a").charge("x/2", 20));
        a.charge("x/3", 1).expect_err("a has half of the memory");
        let other = b.charge("x/1", 50).expect("there is room");
        c.charge("x/1", 1).expect_err("there is no room");
        drop(held);
        c.charge("x/1", 50).expect("there is room again");
        drop(other);
        assert!(accounts.usage.lock().is_empty());
    }
}
