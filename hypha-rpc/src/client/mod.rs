//! Connections to a server: options, the connection state, and the [`Client`] with its services,
//! lookups and events.
//!
//! [`connect`](connect()) returns [`ConnectOptions`]. Awaiting them returns a [`Client`]. One task
//! per connection carries its messages and reconnects automatically. Programs observe the
//! connection with [`Client::states`] and [`Client::closed`].
//
// The engine knows neither services nor the manager. This layer makes the first calls of a
// connection (`connect`), and repeats them on each new link (`Client::restore`). It also closes the
// connection in steps. The two locks in `Shared` are never held across an await.

mod connect;
#[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
mod direct;
mod find;
mod list;
mod login;
mod register;
#[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
mod webrtc;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::mpsc;

pub use crate::backoff::Backoff;
pub use crate::engine::{
    CloseReason, Event, EventKind, EventStream, Identity, Settings, State, StateWatcher, Stats,
};
pub use connect::{ConnectOptions, connect};
pub use find::{DirectServiceLookup, ServiceLookup};
#[doc(hidden)] // For programs that embed a server.
pub use hypha_wire::{MemoryCharge, PeerMemory};
pub use list::ListServices;
pub use login::{LoginOptions, LoginPage, LoginProfile, LogoutOptions, login, logout};
pub use register::RegisterService;
#[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
#[cfg_attr(docsrs, doc(cfg(feature = "webrtc")))]
pub use webrtc::{IceServer, PeerConnection, RtcOptions};

use crate::call::{Call, Description, Direct, Proxy, RemoteService, Target, failure, name_handle};
use crate::engine::{Closed, Failure, KeepAlive, QueuedFrame, RedialLoop};
use crate::error::{CallSite, Error, RejectKind, Rejection, from_wire};
use crate::runtime::Runtime;
use crate::service::{self, Connection, Engine, IntoService, Services, is_within_handler};
use crate::transport::BoxLink;
use crate::workspace::{ManagerError, UserInfo, WorkspaceManagerProxy};
use hypha_wire::keys::{BUILT_IN, PING, SERVICES};
use hypha_wire::{Args, Map, MethodRef, PromiseKind, Value, WireError};

/// Maximum size of a frame that servers accept, in bytes
/// (`docs/protocol/01-transport-websocket.md#s5`).
const MAX_SERVER_FRAME: usize = 16 << 20;

/// Grace period for running handlers in [`Client::disconnect`].
const GRACE: Duration = Duration::from_secs(5);

/// Timeout for unregistering the services in [`Client::disconnect`]. It is short, because the
/// server removes the services anyway when the link closes.
const UNREGISTER_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for a handler to clean up, from its cancellation until it is dropped.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// Connection to a Hypha server.
///
/// Returned by [`connect`](crate::connect()). Clones share the connection. The connection closes
/// when [`disconnect`](Client::disconnect) is called or the last clone is dropped. Proxies and
/// fetched services contain a clone.
///
/// After a lost link, the client reconnects and registers its services again. Calls made in the
/// meantime wait; see [`ConnectOptions::reconnect`].
///
/// # Examples
///
/// ```no_run
/// use hypha_rpc::prelude::*;
///
/// struct Desk;
///
/// #[hypha_service(id = "desk")]
/// impl Desk {
///     /// Double a number.
///     pub async fn double(&self, n: i64) -> i64 {
///         2 * n
///     }
/// }
///
/// # async fn example() -> Result<(), Error> {
/// let client = hypha_rpc::connect("http://localhost:9527").await?;
/// client.register_service(Desk).await?;
/// let desk: DeskProxy = client.proxy("desk").await?;
/// assert_eq!(desk.double(2).await?, 4);
/// client.disconnect().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    connection: Connection,
    shared: Arc<Shared>,
}

/// State shared by all clones of a [`Client`]. The state is not part of the engine, because the
/// functions of the manager hold the engine. Storing them in the engine would create a reference
/// cycle.
#[derive(Default)]
struct Shared {
    /// The fetched manager and its address.
    manager: Mutex<Option<(String, Arc<Description>)>>,
    /// Event types to which the client is subscribed. The client subscribes to them again on each
    /// new link.
    subscriptions: Mutex<BTreeSet<String>>,
    /// Opens direct connections to providers. `None` if all calls pass through the server.
    upgrade: Option<Upgrade>,
}

/// Function that opens a direct connection to the provider at an address, and waits for a limited
/// time until it is open.
type Upgrade = Box<dyn Fn(&Client, &str) -> BoxFuture<'static, Direct> + Send + Sync>;

/// Methods of the workspace manager. They are the same for all clients of a server.
#[doc(hidden)]
#[derive(Clone)]
pub struct KnownManager {
    address: String,
    description: Arc<Description>,
}

impl fmt::Debug for KnownManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownManager")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Returns the manager at `address`, if it was fetched.
    fn manager(&self, address: &str) -> Option<Arc<Description>> {
        let manager = self.manager.lock();
        let manager = manager.as_ref().filter(|(known, _)| known == address);
        manager.map(|(_, description)| Arc::clone(description))
    }
}

impl Client {
    /// Creates a client on a link that needs no handshake, for a client in a server or a test.
    ///
    /// Only the built-in service is registered, and only locally. The connection closes with the
    /// link. Use [`Settings::in_process`] for links within one process.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    #[must_use]
    pub fn from_link(link: BoxLink, identity: Identity, settings: Settings) -> Client {
        Self::sharing(link, identity, settings, None)
    }

    /// Creates a client on a link that needs no handshake. Peers may also call the services of
    /// `shared`.
    pub(crate) fn sharing(
        link: BoxLink,
        identity: Identity,
        settings: Settings,
        shared: Option<&Arc<Engine>>,
    ) -> Client {
        let keep_alive = Some(settings.keep_alive());
        let shared = shared.map(Arc::downgrade);
        let services = Services::new(name_handle, shared);
        let (engine, queue) = Client::engine_of(identity, settings, State::Connected, services);
        let redial = RedialLoop::new(Arc::clone(&engine), queue, None);
        Self::start(link, engine, Arc::default(), keep_alive, redial)
    }

    /// Creates the engine of a client, with the built-in service.
    fn engine_of(
        identity: Identity,
        settings: Settings,
        state: State,
        services: Services,
    ) -> (Arc<Engine>, mpsc::Receiver<QueuedFrame>) {
        let address = identity.address();
        let (engine, queue) = Engine::new(identity, settings, state, services);
        let built_in = service::built_in(Arc::downgrade(&engine), &address);
        let built_in = Some(Arc::new(built_in));
        engine
            .handlers
            .restore(BUILT_IN, built_in, &engine.lifecycle);
        (engine, queue)
    }

    /// Starts the task that keeps a client connected, and returns the client.
    fn start(
        link: BoxLink,
        engine: Arc<Engine>,
        shared: Arc<Shared>,
        keep_alive: Option<KeepAlive>,
        redial: RedialLoop<Services>,
    ) -> Client {
        redial.start(link, keep_alive);
        Client {
            connection: Connection::owning(engine),
            shared,
        }
    }

    /// Returns a handle for the calls of the connection setup. The handle does not keep the
    /// connection open.
    fn for_setup(engine: Arc<Engine>, shared: Arc<Shared>) -> Client {
        Client {
            connection: Connection::for_setup(engine),
            shared,
        }
    }

    /// Frees the memory held for the peer at the absolute address `peer`, and fails the calls to
    /// that peer, as if the server had reported that the peer is disconnected.
    #[doc(hidden)] // For clients inside a server, which knows of a disconnect before the event.
    pub fn peer_gone(&self, peer: &str) {
        self.engine().peer_gone(peer);
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        self.connection.engine()
    }

    /// Returns a handle that does not keep the connection open.
    fn unowned(&self) -> Client {
        Client {
            connection: self.connection.unowned(),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Returns the workspace of this client.
    #[must_use]
    pub fn workspace(&self) -> String {
        self.engine().identity().workspace.clone()
    }

    /// Returns the id of this client.
    #[must_use]
    pub fn client_id(&self) -> String {
        self.engine().identity().client_id.clone()
    }

    /// Returns the authenticated user of this client.
    #[must_use]
    pub fn user(&self) -> UserInfo {
        self.engine().identity().user.clone()
    }

    /// Returns the identity that the server assigned during the handshake
    /// (`docs/protocol/01-transport-websocket.md#s3`).
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        self.engine().identity()
    }

    /// Returns the public key with which peers encrypt calls to this client, or `None` without
    /// [`ConnectOptions::encryption`].
    #[cfg(feature = "encryption")]
    #[cfg_attr(docsrs, doc(cfg(feature = "encryption")))]
    #[must_use]
    pub fn public_key(&self) -> Option<crate::crypto::PublicKey> {
        self.engine().secrecy.public_key()
    }

    /// Returns the latest reconnection token. A later connection with the same client id can use
    /// the token to resume this identity ([`ConnectOptions::reconnection_token`]).
    ///
    /// The token is a credential: keep it out of logs.
    #[must_use]
    pub fn reconnection_token(&self) -> Option<String> {
        self.engine().membership.reconnection_token()
    }

    /// Returns the state of the connection.
    #[must_use]
    pub fn state(&self) -> State {
        self.engine().lifecycle.state()
    }

    /// Returns a stream of connection states, starting with the current state. A slow reader misses
    /// states that begin and end between two of its reads.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::{client::State, Client};
    /// # async fn example(client: Client) {
    /// let mut states = client.states();
    /// tokio::spawn(async move {
    ///     while let Some(state) = states.next().await {
    ///         match state {
    ///             State::Backoff { attempt, .. } => {
    ///                 println!("offline, attempt {attempt} follows");
    ///             }
    ///             other => println!("{other:?}"),
    ///         }
    ///     }
    /// });
    /// # }
    /// ```
    #[must_use]
    pub fn states(&self) -> StateWatcher {
        StateWatcher::new(self.engine().lifecycle.subscribe())
    }

    /// Waits until the connection is permanently closed, and returns the reason. A lost link does
    /// not close the connection if the client reconnects.
    ///
    /// # Cancellation
    ///
    /// This method is cancel safe.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::{client::CloseReason, Client};
    /// # async fn example(client: Client) {
    /// match &*client.closed().await {
    ///     CloseReason::Requested => println!("disconnected"),
    ///     reason => println!("lost: {reason}"),
    /// }
    /// # }
    /// ```
    pub async fn closed(&self) -> Arc<CloseReason> {
        let mut state = self.engine().lifecycle.subscribe();
        // Fails only if the sender was dropped, which cannot happen: `self` owns the sender.
        let _ = state.wait_for(State::is_closed).await;
        self.engine().lifecycle.close_reason()
    }

    /// Returns the counters of this connection.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::Client;
    /// # fn example(client: &Client) {
    /// let stats = client.stats();
    /// println!("{} calls, {} failed", stats.calls_made, stats.call_errors);
    /// # }
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine().stats()
    }

    /// Registers a service in the workspace. The request is sent when the returned value is
    /// awaited.
    ///
    /// [`RegisterService`] has options that change the service, and lists the errors. After each
    /// reconnect, the service is registered again, until it is unregistered or the connection is
    /// closed.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::{service::{Service, Visibility}, Client};
    /// # async fn example(client: Client, service: Service) -> Result<(), hypha_rpc::Error> {
    /// let info = client
    ///     .register_service(service)
    ///     .visibility(Visibility::Public)
    ///     .overwrite(true)
    ///     .await?;
    /// println!("registered as {}", info.id);
    /// # Ok(())
    /// # }
    /// ```
    pub fn register_service(&self, service: impl IntoService) -> RegisterService {
        RegisterService::new(self.clone(), service.into_service())
    }

    /// Unregisters a service of this client. `service` is the full or the short id.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if this client has no such service. If the manager returns an error, that
    /// error is returned and the service stays registered. Unregistering a service that the manager
    /// does not know is not an error.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::Client;
    /// # async fn example(client: Client) -> Result<(), hypha_rpc::Error> {
    /// client.unregister_service("calculator").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn unregister_service(&self, service: &str) -> Result<(), Error> {
        let id = service.rsplit(':').next().unwrap_or(service);
        let id = id.split('@').next().unwrap_or(id);
        if self.engine().handlers.get(id).is_none() || id == BUILT_IN {
            return Err(Error::Invalid(format!("Service not found: {id}")));
        }
        if self.engine().identity().manager_id.is_some() {
            let full = format!("{}:{id}", self.engine().identity().address());
            let told = self.manager().await?.unregister_service(full).await;
            match told.map_err(refused("unregister_service")) {
                Err(Error::Rejected(refusal)) if refusal.kind == RejectKind::UnknownService => {}
                told => told?,
            }
        }
        self.engine().handlers.remove(id);
        Ok(())
    }

    /// Returns the proxy of the server's workspace manager. The first call fetches the manager, and
    /// later calls use the cached manager.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] on a link without a manager, [`Error::Disconnected`] if the connection is
    /// closed, and the other errors of a [`Call`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::Client;
    /// # async fn example(client: Client) -> anyhow::Result<()> {
    /// // A token for another program in this workspace.
    /// let token = client.manager().await?.generate_token(None).await?;
    /// let other = hypha_rpc::connect("http://localhost:9527")
    ///     .workspace(client.workspace())
    ///     .token(token)
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn manager(&self) -> Result<WorkspaceManagerProxy, Error> {
        let identity = self.engine().identity();
        let Some(address) = identity.manager_address() else {
            return Err(Error::Invalid(
                "this connection has no workspace manager".into(),
            ));
        };
        // On a closed connection, ignore the cached manager, so that the request returns the error.
        let is_closed = self.engine().lifecycle.is_closed();
        let known = self.shared.manager(&address).filter(|_| !is_closed);
        let description = match known {
            Some(description) => description,
            None => {
                // Fetch with an unowned handle: the client caches the manager, and the functions of
                // the manager would otherwise keep the connection open. Two concurrent callers may
                // both fetch the manager, which costs only a second request.
                let fetched = self
                    .unowned()
                    .get_remote_service(&format!("{address}:default"))
                    .await?
                    .description();
                *self.shared.manager.lock() = Some((address, Arc::clone(&fetched)));
                fetched
            }
        };
        Ok(WorkspaceManagerProxy::from_service(RemoteService::new(
            self.connection.clone(),
            description,
        )))
    }

    /// Returns the workspace manager, if this client fetched it.
    #[doc(hidden)]
    #[must_use]
    pub fn known_manager(&self) -> Option<KnownManager> {
        let (address, description) = self.shared.manager.lock().clone()?;
        let description = Arc::new(description.without_members());
        Some(KnownManager {
            address,
            description,
        })
    }

    /// Caches the workspace manager that another client of the same server fetched.
    #[doc(hidden)]
    pub fn adopt_manager(&self, known: &KnownManager) {
        let KnownManager {
            address,
            description,
        } = known;
        *self.shared.manager.lock() = Some((address.clone(), Arc::clone(description)));
    }

    /// Subscribes to events of these types. Read the events with [`events`](Self::events). The
    /// subscription is repeated after each reconnect.
    ///
    /// # Errors
    ///
    /// If the manager rejects one of the types, returns the error of the manager and subscribes to
    /// none of the types. The other errors are those of [`manager`](Self::manager).
    ///
    /// # Cancellation
    ///
    /// Dropping the future may leave the types subscribed until the next reconnect.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::Client;
    /// # async fn example(client: Client) -> Result<(), hypha_rpc::Error> {
    /// client.subscribe(["service_added", "service_removed"]).await?;
    /// let mut added = client.events("service_added");
    /// while let Some(event) = added.next().await {
    ///     println!("{:?}", event.data());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn subscribe<I, S>(&self, kinds: I) -> Result<(), Error>
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        let kinds: Vec<String> = kinds.into_iter().map(Into::into).collect();
        let manager = self.manager().await?;
        let subscribed = manager.subscribe(kinds.clone().into()).await;
        subscribed.map(drop).map_err(refused("subscribe"))?;
        self.shared.subscriptions.lock().extend(kinds);
        Ok(())
    }

    /// Returns a stream of the events of one type. The events come from the server if this client
    /// is subscribed to the type, from other clients, and from this client itself.
    ///
    /// This client itself emits these events, with the same names as in Python and JavaScript:
    ///
    /// | type | when | data |
    /// | --- | --- | --- |
    /// | `connected` | after a reconnect and all registrations | connection info from the server |
    /// | `disconnected` | the link was lost, or the connection was closed | `reason` |
    /// | `manager_refreshed` | the manager was fetched after a reconnect | `manager_id` |
    /// | `services_registered` | services re-registered | `total`, `registered`, `failed` (ids) |
    /// | `services_registration_failed` | a service was rejected | `error`, `total_services` |
    ///
    /// At most 1024 unread events are queued. Further events are dropped and counted in
    /// [`stats`](Self::stats). The stream ends when the connection closes.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::Client;
    /// # async fn example(client: Client) {
    /// let mut lost = client.events("disconnected");
    /// while let Some(event) = lost.next().await {
    ///     println!("offline: {:?}", event.data().get("reason"));
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn events(&self, kind: &str) -> EventStream {
        self.engine().events.read(kind)
    }

    /// Sends an event to the client `to` (`client` or `workspace/client`). With `*`, sends it to
    /// all clients of the workspace that are subscribed to `kind`.
    ///
    /// # Errors
    ///
    /// [`Error::Codec`] if the data cannot be encoded or is larger than 16 MiB, the maximum that
    /// servers accept; [`Error::Disconnected`] if the connection is closed. Delivery is not
    /// confirmed.
    ///
    /// # Cancellation
    ///
    /// The method waits for room in the send queue. If the future is dropped before it completes,
    /// the event is not sent.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::Client;
    /// # async fn example(client: Client) -> Result<(), hypha_rpc::Error> {
    /// // To one client, and to all clients of the workspace that subscribed to `news`.
    /// client.emit("news", "desk", "two plates are free").await?;
    /// client.emit("news", "*", "two plates are free").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn emit(&self, kind: &str, to: &str, data: impl Into<Value>) -> Result<(), Error> {
        let event = Map::from_iter([
            ("type".to_owned(), Value::from(kind)),
            ("to".to_owned(), Value::from(to)),
            ("data".to_owned(), data.into()),
        ]);
        let site = || CallSite {
            method: format!("event {kind}"),
            peer: to.to_owned(),
        };
        let frame = hypha_wire::to_vec(&event).map_err(|e| failure(Failure::Encode(e), site()))?;
        // Events are never sent in chunks. The server closes a connection that sends a larger
        // frame.
        if frame.len() > MAX_SERVER_FRAME {
            return Err(Error::Codec(crate::error::CodecError::unsendable(
                format!(
                    "an event of {} bytes; servers accept at most {MAX_SERVER_FRAME}",
                    frame.len()
                ),
                site(),
            )));
        }
        let queued = self.engine().outbound.enqueue(frame.into()).await;
        queued.map_err(|Closed| failure(self.engine().lifecycle.over(), site()))
    }

    /// Pings a client (`client` or `workspace/client`) and waits at most `timeout` for its
    /// response.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] if the client is not connected, [`Error::Timeout`] if it does not
    /// respond in time, and the other errors of a [`Call`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// #
    /// # use hypha_rpc::Client;
    /// # async fn example(client: Client) -> Result<(), hypha_rpc::Error> {
    /// client.ping("desk", Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ping(&self, client: &str, timeout: Duration) -> Result<(), Error> {
        let to =
            hypha_wire::absolute_address(client, &self.engine().identity().workspace).into_owned();
        let mut args = Args::new(1, 0);
        args.push("msg", "ping");
        let answer: String = self
            .request(&to, PING, PromiseKind::Full, args, Some(timeout))
            .await?;
        if answer == "pong" {
            Ok(())
        } else {
            Err(Error::Invalid(format!(
                "{to} answered `{answer}` to a ping"
            )))
        }
    }

    /// Calls a method without fetching its service. `method` is the path of the method at the
    /// callee.
    async fn request<T: serde::de::DeserializeOwned + 'static>(
        &self,
        to: &str,
        method: &str,
        promise: PromiseKind,
        args: Args,
        total: Option<Duration>,
    ) -> Result<T, Error> {
        let target = Target {
            function: MethodRef {
                method: method.to_owned(),
                promise,
                ..MethodRef::default()
            },
            address: to.to_owned(),
            label: method.strip_prefix(SERVICES).unwrap_or(method).to_owned(),
            parent: None,
        };
        let call = Call::new(self.connection.clone(), Arc::new(target), args);
        match total {
            Some(limit) => call.timeout(limit).await,
            None => call.await,
        }
    }

    /// Closes the connection like [`shutdown`](Self::shutdown), with a grace period of 5 s.
    pub async fn disconnect(&self) {
        self.shutdown(GRACE).await;
    }

    /// Closes the connection when the running handlers have completed, or after `grace`.
    ///
    /// The services are unregistered, and further calls of them are rejected. After the grace
    /// period, running handlers are cancelled
    /// ([`Context::cancellation`](crate::Context::cancellation)), and dropped one second later.
    /// Then all pending calls fail and the link is closed.
    ///
    /// A handler of this connection may call this method. The method then returns immediately,
    /// because waiting for the handler that called it would never end. The connection is closed in
    /// the background after the handler has responded.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, the remaining steps are skipped. Call the method again to
    /// continue.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use hypha_rpc::Client;
    /// # async fn example(client: Client) {
    /// // Running calls have a minute to finish.
    /// client.shutdown(Duration::from_secs(60)).await;
    /// # }
    /// ```
    pub async fn shutdown(&self, grace: Duration) {
        let engine = self.engine();
        if is_within_handler(engine) {
            engine.admission.leave();
            let client = self.clone();
            crate::runtime::spawn(async move { client.close_within(grace).await });
            return;
        }
        if Runtime::try_current().is_err() {
            // The timers need a runtime. The connection has a runtime unless it never started.
            let Some(runtime) = engine.tasks.runtime() else {
                return engine.close(CloseReason::Requested);
            };
            let client = self.clone();
            // An error means that the runtime was shut down, which closes the connection.
            let _ = runtime
                .spawn(async move { client.close_within(grace).await })
                .await;
            return;
        }
        self.close_within(grace).await;
    }

    /// Closes the connection. Cancels running handlers after the grace period.
    async fn close_within(&self, grace: Duration) {
        self.close_in_order(grace, false).await;
    }

    /// Closes the connection. With `cancel_now`, running handlers are cancelled immediately instead
    /// of after the grace period, and peers may read streams and files until the end of this
    /// period.
    ///
    /// Rejects new calls before it unregisters the services: a call that arrives in between gets a
    /// retryable error instead of a handler that would be dropped.
    async fn close_in_order(&self, grace: Duration, cancel_now: bool) {
        let engine = self.engine();
        if !engine.lifecycle.is_closed() {
            let begin = crate::runtime::Instant::now();
            engine.admission.leave();
            if cancel_now {
                engine.handlers.calls.cancel(|_| true);
            }
            // Ignore a timeout: the server removes the services when the link closes.
            let _ = crate::runtime::timeout(grace.min(UNREGISTER_TIMEOUT), self.withdraw()).await;
            if !engine.drain(grace.saturating_sub(begin.elapsed())).await {
                engine.handlers.calls.cancel(|_| true);
                if !engine.drain(CANCEL_GRACE).await {
                    tracing::warn!("handlers that still ran after {grace:?} are dropped");
                }
            } else if cancel_now && !engine.idle(grace.saturating_sub(begin.elapsed())).await {
                tracing::warn!("streams and files that were still read after {grace:?} are closed");
            }
        }
        engine.close(CloseReason::Requested);
        engine.lifecycle.ended().await;
    }

    /// Registers services and subscriptions again on a new link
    /// (`docs/protocol/01-transport-websocket.md#s7`).
    async fn restore(self) -> Result<(), Error> {
        self.announce().await?;
        let manager = self.identity().manager_id.clone();
        let data = Map::from_iter([("manager_id".into(), manager.into())]);
        self.engine().events.tell("manager_refreshed", data);
        self.register_again().await?;
        self.subscribe_again().await;
        Ok(())
    }

    /// Unregisters all services at the manager, so that callers no longer find them.
    async fn withdraw(&self) {
        let identity = self.engine().identity();
        if identity.manager_id.is_none() || !self.engine().lifecycle.is_connected() {
            return;
        }
        let Ok(manager) = self.manager().await else {
            return;
        };
        let mut services = self.engine().handlers.listed();
        if identity.connection_type == "http_streaming" {
            // The server keeps the built-in service of an HTTP client after its stream ends
            // (docs/protocol/05-http-transport.md#sa8).
            services.extend(self.engine().handlers.get(BUILT_IN));
        }
        let taken_back = services.iter().map(|service| {
            let id = format!("{}:{}", identity.address(), service.service.id());
            let manager = manager.clone();
            async move {
                if let Err(e) = manager.unregister_service(id).await {
                    tracing::debug!("a service could not be unregistered: {e}");
                }
            }
        });
        futures_util::future::join_all(taken_back).await;
    }

    /// Serves until Ctrl-C or SIGTERM, then closes the connection.
    ///
    /// The first signal cancels running handlers immediately
    /// ([`Context::cancellation`](crate::Context::cancellation)), and also streams that hold the
    /// context. They have 5 s to complete. Peers may read streams and files during this time, as
    /// long as they pause for at most 0.5 s between two reads. The other steps are those of
    /// [`shutdown`](Self::shutdown).
    ///
    /// A second signal exits the process with code 130, also after this method has returned: a
    /// blocking handler cannot be dropped, and the runtime waits for it at the end of `main`.
    ///
    /// # Errors
    ///
    /// [`Error::Disconnected`] with the reason if the connection closes before a signal arrives;
    /// [`Error::Invalid`] if signal handlers cannot be installed.
    ///
    /// # Cancellation
    ///
    /// Dropping the future leaves the connection open. Afterwards Ctrl-C no longer ends the
    /// process, because tokio keeps its signal handlers.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::{service::Service, Client};
    /// # async fn example(client: Client, service: Service) -> Result<(), hypha_rpc::Error> {
    /// client.register_service(service).await?;
    /// client.run_until_ctrl_c().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(not(target_family = "wasm"))]
    pub async fn run_until_ctrl_c(&self) -> Result<(), Error> {
        let unwatched = |e: std::io::Error| Error::Invalid(format!("cannot watch signals: {e}"));
        let mut signals = StopSignals::new().map_err(unwatched)?;
        tokio::select! {
            _ = self.closed() => return Err(failure(
                self.engine().lifecycle.over(),
                CallSite { method: "connection".into(), peer: String::new() },
            )),
            stop = signals.next() => stop.map_err(unwatched)?,
        }
        exit_at(signals).map_err(unwatched)?;
        self.close_in_order(GRACE, true).await;
        Ok(())
    }
}

/// Converts an error of the manager to an [`Error`] without a type. Errors that programs usually
/// handle become rejections with a kind. `method` is the name of the called method.
pub(crate) fn refused(method: &'static str) -> impl Fn(Error<ManagerError>) -> Error {
    move |error| match error {
        Error::Service(error) => {
            let call = CallSite {
                method: method.to_owned(),
                peer: "workspace manager".to_owned(),
            };
            let kind = match &error {
                ManagerError::Permission(_) => Some(RejectKind::PermissionDenied),
                ManagerError::Key(text) if text.contains("not found") => {
                    Some(RejectKind::UnknownService)
                }
                ManagerError::Assertion(text) if text.contains("Multiple services found") => {
                    Some(RejectKind::Ambiguous)
                }
                // The provider of the service did not respond to the manager.
                ManagerError::Timeout(_) | ManagerError::Connection(_) => {
                    Some(RejectKind::PeerNotConnected)
                }
                _ => None,
            };
            match kind {
                Some(kind) => {
                    let message = error.message().to_owned();
                    Error::Rejected(Rejection {
                        kind,
                        message,
                        call,
                    })
                }
                None => from_wire(WireError::new(error.to_string()), call),
            }
        }
        other => other.untyped(),
    }
}

/// Exit code after a second signal. Shells report an interrupt as 128 plus the number of SIGINT, 2.
#[cfg(not(target_family = "wasm"))]
const INTERRUPTED: i32 = 130;

/// Exits the process at the next signal. A thread of its own waits for the signal, because handlers
/// may block the runtime, and the runtime may end before the process.
#[cfg(not(target_family = "wasm"))]
#[allow(clippy::exit, reason = "the documented effect of a second signal")]
fn exit_at(mut signals: StopSignals) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new().name("hypha-signals".to_owned());
    thread.spawn(move || {
        if runtime.block_on(signals.next()).is_ok() {
            tracing::warn!("stopped by a second signal: running handlers are dropped");
            std::process::exit(INTERRUPTED);
        }
    })?;
    Ok(())
}

/// Signals that ask the program to stop.
#[cfg(unix)]
struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl StopSignals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(StopSignals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal.
    async fn next(&mut self) -> std::io::Result<()> {
        tokio::select! {
            _ = self.interrupt.recv() => Ok(()),
            _ = self.terminate.recv() => Ok(()),
        }
    }
}

/// Signals that ask the program to stop.
#[cfg(not(any(unix, target_family = "wasm")))]
struct StopSignals;

#[cfg(not(any(unix, target_family = "wasm")))]
impl StopSignals {
    #[allow(clippy::unnecessary_wraps, reason = "it can fail on other systems")]
    fn new() -> std::io::Result<Self> {
        Ok(StopSignals)
    }

    /// Waits for the next signal.
    async fn next(&mut self) -> std::io::Result<()> {
        tokio::signal::ctrl_c().await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.engine().identity().address())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
