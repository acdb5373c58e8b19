//! Client for programs without async.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use super::iter::{Events, States};
use super::runtime::{keep, wait, wait_for};
use crate::call::{Proxy, RemoteService};
use crate::client::{
    CloseReason, ConnectOptions, DirectServiceLookup, Identity, ListServices, RegisterService,
    ServiceLookup, State, Stats,
};
use crate::error::Error;
use crate::service::IntoService;
use crate::workspace::{ServiceQuery, UserInfo, WorkspaceManagerProxy};
use hypha_wire::Value;

/// Connects to a Hypha server, and waits for the connection on this thread.
///
/// `options` is the URL of the server, or the [`ConnectOptions`] that
/// [`hypha_rpc::connect`](crate::connect()) returns. The connection runs on the background runtime
/// of the [module](super).
///
/// # Errors
///
/// The errors of [`hypha_rpc::connect`](crate::connect()), and [`Error::Invalid`] on a thread of a
/// tokio runtime.
///
/// # Examples
///
/// ```no_run
/// use hypha_rpc::blocking;
///
/// # fn main() -> Result<(), hypha_rpc::Error> {
/// let client = blocking::connect("http://localhost:9527")?;
/// println!("connected to {}", client.workspace());
///
/// let options = hypha_rpc::connect("https://hypha.example.org").token("a token");
/// let other = blocking::connect(options)?;
/// # let _ = other;
/// # Ok(())
/// # }
/// ```
pub fn connect(options: impl Into<ConnectOptions>) -> Result<Client, Error> {
    let options = options.into();
    let connecting = async {
        let client = options.into_future().await?;
        keep(client.engine());
        Ok(Client { client })
    };
    let instead = "`hypha_rpc::connect(..).await`";
    wait("`blocking::connect`", instead, connecting)
}

/// Connection to a Hypha server, for programs without async.
///
/// Returned by [`connect`]. Has the methods of the asynchronous
/// [`hypha_rpc::Client`](crate::Client) as plain functions; calls, lookups and registrations end
/// with `.wait()`. Clones share the connection, which closes when
/// [`disconnect`](Client::disconnect) is called or the last clone is dropped. Proxies and fetched
/// services hold a clone.
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
///     pub fn double(&self, n: i64) -> i64 {
///         2 * n
///     }
/// }
///
/// # fn main() -> Result<(), Error> {
/// let client = hypha_rpc::blocking::connect("http://localhost:9527")?;
/// client.register_service(Desk).wait()?;
/// let desk: DeskProxy = client.proxy("desk").wait()?;
/// assert_eq!(desk.double(2).wait()?, 4);
/// client.disconnect()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    client: crate::Client,
}

impl From<crate::Client> for Client {
    /// Wraps a client of an asynchronous program, for use on threads outside of its runtime. The
    /// connection stays on that runtime.
    fn from(client: crate::Client) -> Self {
        Client { client }
    }
}

impl Client {
    /// Returns the client for asynchronous code of the same program. Both clients share the
    /// connection.
    #[must_use]
    pub fn as_async(&self) -> &crate::Client {
        &self.client
    }

    /// Returns the workspace of this client.
    #[must_use]
    pub fn workspace(&self) -> String {
        self.client.workspace()
    }

    /// Returns the id of this client.
    #[must_use]
    pub fn client_id(&self) -> String {
        self.client.client_id()
    }

    /// Returns the user of this connection.
    #[must_use]
    pub fn user(&self) -> UserInfo {
        self.client.user()
    }

    /// Returns the identity that the server assigned when the connection was made.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        self.client.identity()
    }

    /// Returns the public key for calls to this client, or `None` without
    /// [`ConnectOptions::encryption`].
    #[cfg(feature = "encryption")]
    #[cfg_attr(docsrs, doc(cfg(feature = "encryption")))]
    #[must_use]
    pub fn public_key(&self) -> Option<crate::crypto::PublicKey> {
        self.client.public_key()
    }

    /// Returns the newest reconnection token; see
    /// [`Client::reconnection_token`](crate::Client::reconnection_token).
    ///
    /// The token is a credential: keep it out of logs.
    #[must_use]
    pub fn reconnection_token(&self) -> Option<String> {
        self.client.reconnection_token()
    }

    /// Returns the state of the connection.
    #[must_use]
    pub fn state(&self) -> State {
        self.client.state()
    }

    /// Returns an iterator over the states of the connection, starting with the current state. A
    /// reader misses states that begin and end between two of its reads.
    pub fn states(&self) -> States {
        States::new(self.client.states())
    }

    /// Returns the counters of this connection.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.client.stats()
    }

    /// Prepares the registration of a service in the workspace; [`RegisterService::wait`] registers
    /// it.
    ///
    /// A service whose methods are plain `fn`s runs on threads for blocking work, see the
    /// [module](super). The client registers the service again after each reconnect.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::{blocking::Client, service::{Service, Visibility}};
    /// # fn example(client: Client, service: Service) -> Result<(), hypha_rpc::Error> {
    /// let info = client
    ///     .register_service(service)
    ///     .visibility(Visibility::Public)
    ///     .wait()?;
    /// println!("registered as {}", info.id);
    /// # Ok(())
    /// # }
    /// ```
    pub fn register_service(&self, service: impl IntoService) -> RegisterService {
        self.client.register_service(service)
    }

    /// Unregisters a service of this client; `service` is its full or short id.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::unregister_service`](crate::Client::unregister_service), and
    /// [`Error::Invalid`] on a thread of a tokio runtime.
    pub fn unregister_service(&self, service: &str) -> Result<(), Error> {
        let unregistering = self.client.unregister_service(service);
        wait_as("unregister_service", unregistering)
    }

    /// Prepares a lookup through the workspace manager; [`ServiceLookup::wait`] returns the
    /// service.
    ///
    /// [`Client::get_service`](crate::Client::get_service) documents ids and errors.
    pub fn get_service(&self, id: impl Into<String>) -> ServiceLookup<RemoteService> {
        self.client.get_service(id)
    }

    /// Prepares a lookup of a contract's service; [`ServiceLookup::wait`] returns the typed proxy.
    ///
    /// The methods of the proxy return calls. [`wait`](crate::Call::wait) makes such a call:
    /// `calculator.add(1.0, 2.0).wait()?`.
    pub fn proxy<P: Proxy>(&self, id: impl Into<String>) -> ServiceLookup<P> {
        self.client.proxy(id)
    }

    /// Prepares a lookup at the client that offers the service, without the workspace manager;
    /// [`DirectServiceLookup::wait`] returns the service.
    ///
    /// [`Client::get_remote_service`](crate::Client::get_remote_service) documents ids and errors.
    pub fn get_remote_service(&self, id: &str) -> DirectServiceLookup {
        self.client.get_remote_service(id)
    }

    /// Prepares a list of the services that match `query` and are visible to this client;
    /// [`ListServices::wait`] fetches the list. With `None`, lists the services of the client's own
    /// workspace.
    pub fn list_services(&self, query: impl Into<Option<ServiceQuery>>) -> ListServices {
        self.client.list_services(query)
    }

    /// Returns the proxy of the server's workspace manager. The first call fetches the proxy and
    /// caches it.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::manager`](crate::Client::manager), and [`Error::Invalid`] on a
    /// thread of a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::blocking::Client;
    /// # fn example(client: Client) -> anyhow::Result<()> {
    /// // A token for another program in this workspace.
    /// let token = client.manager()?.generate_token(None).wait()?;
    /// # let _ = token;
    /// # Ok(())
    /// # }
    /// ```
    pub fn manager(&self) -> Result<WorkspaceManagerProxy, Error> {
        wait_as("manager", self.client.manager())
    }

    /// Subscribes to events of these types; [`events`](Self::events) reads them. The client
    /// subscribes again after each reconnect.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::subscribe`](crate::Client::subscribe), and [`Error::Invalid`] on a
    /// thread of a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::blocking::Client;
    /// # fn example(client: Client) -> Result<(), hypha_rpc::Error> {
    /// client.subscribe(["service_added"])?;
    /// for event in client.events("service_added") {
    ///     println!("{:?}", event?.data());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe<I, S>(&self, kinds: I) -> Result<(), Error>
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        wait_as("subscribe", self.client.subscribe(kinds))
    }

    /// Returns an iterator over the events of one type.
    ///
    /// [`Client::events`](crate::Client::events) lists the events that the client itself creates.
    /// At most 1024 unread events are queued. Further events are dropped and counted in
    /// [`stats`](Self::stats).
    pub fn events(&self, kind: &str) -> Events {
        Events::new(self.client.events(kind))
    }

    /// Sends an event to one client (`client` or `workspace/client`), or with `*` to every client
    /// of the workspace that has subscribed to `kind`. Waits for room in the send queue.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::emit`](crate::Client::emit), and [`Error::Invalid`] on a thread of a
    /// tokio runtime.
    pub fn emit(&self, kind: &str, to: &str, data: impl Into<Value>) -> Result<(), Error> {
        wait_as("emit", self.client.emit(kind, to, data))
    }

    /// Pings a client (`client` or `workspace/client`) and waits at most `timeout` for its
    /// response.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::ping`](crate::Client::ping), and [`Error::Invalid`] on a thread of a
    /// tokio runtime.
    pub fn ping(&self, client: &str, timeout: Duration) -> Result<(), Error> {
        wait_as("ping", self.client.ping(client, timeout))
    }

    /// Waits until the connection is closed permanently, and returns the reason. Does not return if
    /// a lost link is restored.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] on a thread of a tokio runtime.
    pub fn closed(&self) -> Result<Arc<CloseReason>, Error> {
        let closed = self.client.closed();
        wait_for("`blocking::Client::closed`", "`Client::closed`", closed)
    }

    /// Closes the connection like [`shutdown`](Self::shutdown) with a grace period of 5 s.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] on a thread of a tokio runtime. The connection then stays open.
    pub fn disconnect(&self) -> Result<(), Error> {
        wait_as("disconnect", async {
            self.client.disconnect().await;
            Ok(())
        })
    }

    /// Waits at most `grace` for the running handlers, then closes the connection.
    ///
    /// Returns immediately if called from a handler of this connection. A plain `fn` that still
    /// runs after the grace period runs to its end, but its result is lost.
    /// [`Client::shutdown`](crate::Client::shutdown) documents the steps.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] on a thread of a tokio runtime. The connection then stays open.
    pub fn shutdown(&self, grace: Duration) -> Result<(), Error> {
        wait_as("shutdown", async {
            self.client.shutdown(grace).await;
            Ok(())
        })
    }

    /// Serves until Ctrl-C or SIGTERM, then shuts down gracefully.
    ///
    /// [`Client::run_until_ctrl_c`](crate::Client::run_until_ctrl_c) documents the steps, and the
    /// effect of a second signal.
    ///
    /// # Errors
    ///
    /// [`Error::Disconnected`] with the reason if the connection ends permanently before a signal;
    /// [`Error::Invalid`] if the signals cannot be watched, and on a thread of a tokio runtime.
    pub fn run_until_ctrl_c(&self) -> Result<(), Error> {
        wait_as("run_until_ctrl_c", self.client.run_until_ctrl_c())
    }
}

/// Waits for `future`, the result of the asynchronous client's method named `method`.
fn wait_as<T>(method: &str, future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let what = format!("`blocking::Client::{method}`");
    wait(&what, &format!("`Client::{method}`"), future)
}
