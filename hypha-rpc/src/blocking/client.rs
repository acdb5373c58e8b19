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
/// Fails with the errors of [`hypha_rpc::connect`](crate::connect()). Also fails with
/// [`Error::Invalid`] on a thread of a tokio runtime.
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
/// [`hypha_rpc::Client`](crate::Client) as functions without async. Call `.wait()` on the values
/// that represent calls, lookups and registrations. Clones share the connection. The connection
/// closes when [`disconnect`](Client::disconnect) is called or the last clone is dropped. Each
/// proxy and each fetched service holds a clone.
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
    /// Wraps the client of an asynchronous program, for use on threads outside of the program's
    /// tokio runtime. The connection still runs on that runtime.
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

    /// Returns the identity that the server assigned to this client for the current connection.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        self.client.identity()
    }

    /// Returns the public key with which other clients can encrypt calls to this client. Returns
    /// `None` if [`ConnectOptions::encryption`] is not set.
    #[cfg(feature = "encryption")]
    #[cfg_attr(docsrs, doc(cfg(feature = "encryption")))]
    #[must_use]
    pub fn public_key(&self) -> Option<crate::crypto::PublicKey> {
        self.client.public_key()
    }

    /// Returns the newest reconnection token; see
    /// [`Client::reconnection_token`](crate::Client::reconnection_token).
    ///
    /// The token is a credential. Do not write the token to logs.
    #[must_use]
    pub fn reconnection_token(&self) -> Option<String> {
        self.client.reconnection_token()
    }

    /// Returns the state of the connection.
    #[must_use]
    pub fn state(&self) -> State {
        self.client.state()
    }

    /// Returns an iterator over the states of the connection, starting with the current state. If
    /// the state changes more than once between two reads, the iterator only returns the latest
    /// state.
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
    /// Methods that are plain `fn`s run on threads for blocking work; see the [module](super). The
    /// client registers the service again after each reconnect.
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

    /// Unregisters a service of this client. `service` is the full id or the short id of the
    /// service.
    ///
    /// # Errors
    ///
    /// Fails with the errors of [`Client::unregister_service`](crate::Client::unregister_service).
    /// Also fails with [`Error::Invalid`] on a thread of a tokio runtime.
    pub fn unregister_service(&self, service: &str) -> Result<(), Error> {
        let unregistering = self.client.unregister_service(service);
        wait_as("unregister_service", unregistering)
    }

    /// Prepares a lookup through the workspace manager; [`ServiceLookup::wait`] returns the
    /// service.
    ///
    /// See [`Client::get_service`](crate::Client::get_service) for the forms of `id` and the
    /// errors.
    pub fn get_service(&self, id: impl Into<String>) -> ServiceLookup<RemoteService> {
        self.client.get_service(id)
    }

    /// Prepares a lookup of a service with a contract; [`ServiceLookup::wait`] returns the typed
    /// proxy.
    ///
    /// The methods of the proxy return calls. [`wait`](crate::Call::wait) makes such a call:
    /// `calculator.add(1.0, 2.0).wait()?`.
    pub fn proxy<P: Proxy>(&self, id: impl Into<String>) -> ServiceLookup<P> {
        self.client.proxy(id)
    }

    /// Prepares a request for a service of another client. The request goes directly to that
    /// client, without the workspace manager. [`DirectServiceLookup::wait`] returns the service.
    ///
    /// See [`Client::get_remote_service`](crate::Client::get_remote_service) for the forms of `id`
    /// and the errors.
    pub fn get_remote_service(&self, id: &str) -> DirectServiceLookup {
        self.client.get_remote_service(id)
    }

    /// Prepares a request for the list of services that match `query` and are visible to this
    /// client. [`ListServices::wait`] fetches the list. If `query` is `None`, the list contains the
    /// services of this client's own workspace.
    pub fn list_services(&self, query: impl Into<Option<ServiceQuery>>) -> ListServices {
        self.client.list_services(query)
    }

    /// Returns the proxy of the server's workspace manager. The first call fetches the proxy, and
    /// later calls return the cached proxy.
    ///
    /// # Errors
    ///
    /// Fails with the errors of [`Client::manager`](crate::Client::manager). Also fails with
    /// [`Error::Invalid`] on a thread of a tokio runtime.
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

    /// Subscribes to events of these types. Read the events with [`events`](Self::events). The
    /// client subscribes again after each reconnect.
    ///
    /// # Errors
    ///
    /// Fails with the errors of [`Client::subscribe`](crate::Client::subscribe). Also fails with
    /// [`Error::Invalid`] on a thread of a tokio runtime.
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
    /// See [`Client::events`](crate::Client::events) for the events that the client itself creates.
    /// At most 1024 unread events are queued. Further events are dropped and counted in
    /// [`stats`](Self::stats).
    pub fn events(&self, kind: &str) -> Events {
        Events::new(self.client.events(kind))
    }

    /// Sends an event to one client or to several clients. `to` is the address of a client
    /// (`client` or `workspace/client`), or `*` for all clients of the workspace that have
    /// subscribed to `kind`. Waits for room in the send queue.
    ///
    /// # Errors
    ///
    /// Fails with the errors of [`Client::emit`](crate::Client::emit). Also fails with
    /// [`Error::Invalid`] on a thread of a tokio runtime.
    pub fn emit(&self, kind: &str, to: &str, data: impl Into<Value>) -> Result<(), Error> {
        wait_as("emit", self.client.emit(kind, to, data))
    }

    /// Pings a client (`client` or `workspace/client`) and waits at most `timeout` for its
    /// response.
    ///
    /// # Errors
    ///
    /// Fails with the errors of [`Client::ping`](crate::Client::ping). Also fails with
    /// [`Error::Invalid`] on a thread of a tokio runtime.
    pub fn ping(&self, client: &str, timeout: Duration) -> Result<(), Error> {
        wait_as("ping", self.client.ping(client, timeout))
    }

    /// Waits until the connection is closed permanently, and returns the reason. Does not return
    /// when the link to the server is lost but the client restores it.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Invalid`] on a thread of a tokio runtime.
    pub fn closed(&self) -> Result<Arc<CloseReason>, Error> {
        let closed = self.client.closed();
        wait_for("`blocking::Client::closed`", "`Client::closed`", closed)
    }

    /// Closes the connection in the same way as [`shutdown`](Self::shutdown) with a grace period of
    /// 5 s.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Invalid`] on a thread of a tokio runtime. The connection then stays
    /// open.
    pub fn disconnect(&self) -> Result<(), Error> {
        wait_as("disconnect", async {
            self.client.disconnect().await;
            Ok(())
        })
    }

    /// Waits at most `grace` for the running handlers, then closes the connection.
    ///
    /// If a handler of this connection calls this method, the method returns immediately. A plain
    /// `fn` that still runs after the grace period runs to its end, but its result is not sent.
    /// [`Client::shutdown`](crate::Client::shutdown) documents the steps.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Invalid`] on a thread of a tokio runtime. The connection then stays
    /// open.
    pub fn shutdown(&self, grace: Duration) -> Result<(), Error> {
        wait_as("shutdown", async {
            self.client.shutdown(grace).await;
            Ok(())
        })
    }

    /// Serves until Ctrl-C or SIGTERM, then shuts down gracefully.
    ///
    /// [`Client::run_until_ctrl_c`](crate::Client::run_until_ctrl_c) documents the steps and the
    /// effect of a second signal.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Disconnected`] if the connection is closed permanently before a signal
    /// arrives. The error contains the reason. Fails with [`Error::Invalid`] on a thread of a tokio
    /// runtime, and if the program cannot watch for the signals.
    pub fn run_until_ctrl_c(&self) -> Result<(), Error> {
        wait_as("run_until_ctrl_c", self.client.run_until_ctrl_c())
    }
}

/// Waits for `future`. `method` is the name of the method of the asynchronous client that returned
/// `future`.
fn wait_as<T>(method: &str, future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let what = format!("`blocking::Client::{method}`");
    wait(&what, &format!("`Client::{method}`"), future)
}
