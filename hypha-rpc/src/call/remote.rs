//! Types for the services of other clients. A service is the response to `get_service`, with
//! members that can be called.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::resident::METHOD;
use super::target::Target;
use super::{Call, Function};
use crate::error::{CallSite, Error, RejectKind, Rejection};
use crate::schema::MethodSchemas;
use crate::service::{Connection, IntoService, Service, ServiceInfo};
use hypha_wire::keys::{RTYPE, SERVICES};
use hypha_wire::{Args, ConnectionRef, Map, MethodRef, Value, absolute_address};

/// Typed view of a service. [`hypha_service`](crate::hypha_service) generates a typed view for each
/// contract. [`RemoteService`] is the untyped view.
///
/// The constructors are in this trait so that the only inherent methods of a proxy are the methods
/// of its contract.
///
/// # Examples
///
/// ```no_run
/// use hypha_rpc::prelude::*;
///
/// /// Arithmetic.
/// #[hypha_service]
/// trait Calculator {
///     async fn add(&self, a: f64, b: f64) -> f64;
/// }
///
/// # async fn example(service: RemoteService) -> Result<(), Error> {
/// let calculator = CalculatorProxy::from_service(service);
/// let sum = calculator.add(1.0, 2.0).await?;
/// println!("{sum} from {}", calculator.service().id());
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the proxy of a service",
    label = "this has no methods that call a service",
    note = "`#[hypha_service]` on a trait `Foo` makes `FooProxy`; `RemoteService` is the proxy of any service"
)]
pub trait Proxy: Sized {
    /// Service id in the contract. Empty if the contract sets no id.
    const SERVICE_ID: &'static str;
    /// Name of the contract's trait or type. Empty if there is no contract.
    #[doc(hidden)]
    const CONTRACT: &'static str = "";

    /// Adds the schemas of the contract's methods.
    #[doc(hidden)]
    fn describe(_: &mut MethodSchemas) {}

    /// Creates the proxy of a fetched service.
    fn from_service(service: RemoteService) -> Self;

    /// Returns the service behind the proxy.
    fn service(&self) -> &RemoteService;
}

/// Service of another client. A program calls the methods of the service by name.
///
/// Returned by [`Client::get_service`](crate::Client::get_service). If the contract is known at
/// compile time, use a generated [proxy](crate::hypha_service) instead. A received object with
/// functions is also a `RemoteService`.
///
/// The list of methods is not updated after the service was fetched. Cloning is cheap. Each clone
/// keeps the connection open. A service found by the workspace manager stays usable after a lost
/// link and after a restart of its provider. If a call fails because the service has moved, the
/// call looks up the service once and is sent again.
///
/// # Examples
///
/// ```no_run
/// # use hypha_rpc::{args, Client};
/// # async fn example(client: Client) -> Result<(), hypha_rpc::Error> {
/// let microscope = client.get_service("microscope").await?;
/// for method in microscope.methods() {
///     println!("{method}");
/// }
/// let focus: f64 = microscope.call("focus", args!(step = 0.1)).await?;
/// # let _ = focus;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RemoteService {
    /// Connection of the service. `None` if each function of the service has its own connection.
    connection: Option<Connection>,
    inner: Arc<Description>,
    locator: Option<Arc<ServiceLocator>>,
}

/// Function that looks up a service again.
pub(crate) type Find =
    Box<dyn Fn(Connection) -> BoxFuture<'static, Result<Description, Error>> + Send + Sync>;

/// Function that returns the direct connection to the client at an address, and the address of
/// that client on it. Returns `None` while there is no such connection.
pub(crate) type Direct = Arc<dyn Fn(&str) -> Option<(Connection, String)> + Send + Sync>;

/// Current location of a service. The clones of a [`RemoteService`] and the calls of the service
/// share the location.
pub(crate) struct ServiceLocator {
    find: Find,
    direct: Option<Direct>,
    /// Latest known description of the service. A lookup holds the lock. So other calls wait for
    /// the result of this lookup, and do not start their own lookups.
    newest: Mutex<Arc<Description>>,
}

impl ServiceLocator {
    fn new(find: Find, direct: Option<Direct>, found: Arc<Description>) -> Arc<Self> {
        Arc::new(ServiceLocator {
            find,
            direct,
            newest: Mutex::new(found),
        })
    }

    /// Returns the direct connection to the owner of a method, and the address of the owner on it.
    pub(crate) fn direct(&self, target: &Target) -> Option<(Connection, String)> {
        let direct = self.direct.as_ref()?;
        // Other functions exist only in a session of the connection through the server.
        let of_service = target.parent.is_none() && target.function.method.starts_with(SERVICES);
        of_service.then(|| direct(&target.address)).flatten()
    }

    /// Looks up the service again after a call of `target` has failed. Returns the new target.
    /// Returns `None` if the address has not changed, or if the lookup failed.
    pub(crate) async fn find_again(
        &self,
        connection: &Connection,
        target: &Target,
    ) -> Option<Arc<Target>> {
        let path = target.label.split_once('.').map_or("", |(_, path)| path);
        let elsewhere = |found: &Description| match found.member(path) {
            Some(Member::Target(found)) if found.address != target.address => {
                Some(Arc::clone(found))
            }
            _ => None,
        };
        let mut newest = self.newest.lock().await;
        if let Some(found) = elsewhere(&newest) {
            return Some(found);
        }
        let found = (self.find)(connection.clone()).await.inspect_err(|e| {
            tracing::debug!("`{}` was not found again: {e}", newest.id);
        });
        *newest = Arc::new(found.ok()?);
        elsewhere(&newest)
    }

    /// Returns the method at the latest known address of the service.
    fn moved(&self, method: &str) -> Option<Arc<Target>> {
        // `try_lock` fails while another call looks up the service. This call then uses the old
        // address and fails. Afterwards, this call waits in `find_again` for the result of the same
        // lookup.
        match self.newest.try_lock().ok()?.member(method)? {
            Member::Target(target) => Some(Arc::clone(target)),
            Member::Function(_) => None,
        }
    }
}

/// Description of a service at the time when the service was fetched.
pub(crate) struct Description {
    id: String,
    members: Map,
    targets: HashMap<String, Member>,
}

/// One callable member of a service.
enum Member {
    /// Member that is called through the connection of the service.
    Target(Arc<Target>),
    /// Function of this program, or a function with its own connection.
    Function(Function),
}

impl Description {
    /// Parses the map that a peer returned. `workspace` is the workspace of the relative addresses
    /// in the map.
    pub(crate) fn new(id: String, members: Map, workspace: &str) -> Self {
        let service = id.rsplit(':').next().unwrap_or(&id).to_owned();
        let mut targets = HashMap::new();
        collect(&members, "", &mut |path, value| {
            let label = match service.as_str() {
                "" => path.to_owned(),
                service => format!("{service}.{path}"),
            };
            let member = match value {
                Value::Handle(handle) if handle.raw().is_none() => match value.decode_as() {
                    Ok(function) => Member::Function(function),
                    Err(_) => return,
                },
                _ => {
                    let Some(raw) = raw(value) else { return };
                    let Ok(function) = Value::Map(raw.clone()).decode_as::<MethodRef>() else {
                        return;
                    };
                    let address = absolute_address(&function.target, workspace).into_owned();
                    let parent = match value {
                        Value::Handle(handle) => handle.parent().map(str::to_owned),
                        _ => None,
                    };
                    Member::Target(Arc::new(Target {
                        function,
                        address,
                        label,
                        parent,
                    }))
                }
            };
            targets.insert(path.to_owned(), member);
        });
        Description {
            id,
            members,
            targets,
        }
    }

    /// Returns a copy that contains only the methods of kind [`Member::Target`]. The other members
    /// would keep the connection open.
    pub(crate) fn without_members(&self) -> Self {
        let targets = self.targets.iter().filter_map(|(path, member)| {
            let Member::Target(target) = member else {
                return None;
            };
            Some((path.clone(), Member::Target(Arc::clone(target))))
        });
        Description {
            id: self.id.clone(),
            members: Map::new(),
            targets: targets.collect(),
        }
    }

    /// Returns the address of the provider of a service that the manager found.
    pub(crate) fn provider(&self) -> Option<&str> {
        self.id.split_once(':').map(|(provider, _)| provider)
    }

    /// Returns the method with this name. `name` is the key of the method in the map of the
    /// service. If the case of the keys was converted, `name` may also be the original name of the
    /// method.
    fn member(&self, name: &str) -> Option<&Member> {
        self.targets.get(name).or_else(|| {
            let service = self.id.rsplit(':').next().unwrap_or_default();
            let is_meant = |member: &&Member| match member {
                Member::Target(target) => {
                    let path = target.function.method.strip_prefix(SERVICES);
                    let path = path.and_then(|path| path.strip_prefix(service));
                    path.and_then(|path| path.strip_prefix('.')) == Some(name)
                }
                Member::Function(_) => false,
            };
            self.targets.values().find(is_meant)
        })
    }
}

impl RemoteService {
    pub(crate) fn new(connection: Connection, inner: Arc<Description>) -> Self {
        RemoteService {
            connection: Some(connection),
            inner,
            locator: None,
        }
    }

    /// Creates a service that was found by the workspace manager. Its calls use the direct
    /// connection to the provider while there is one.
    pub(crate) fn found(
        connection: Connection,
        find: Find,
        direct: Option<Direct>,
        inner: Arc<Description>,
    ) -> Self {
        RemoteService {
            connection: Some(connection),
            locator: Some(ServiceLocator::new(find, direct, Arc::clone(&inner))),
            inner,
        }
    }

    /// Creates a service from an object in a received value. Each function of the object has its
    /// own connection.
    pub(crate) fn from_members(members: Map) -> Self {
        let connection = first_connection(&members).and_then(|c| Connection::of(&c));
        let id = members.get("id").and_then(Value::as_str);
        let id = id.unwrap_or_default().to_owned();
        RemoteService {
            connection,
            inner: Arc::new(Description::new(id, members, "")),
            locator: None,
        }
    }

    /// Returns the connection to the owner of the service, if the connection is known.
    #[cfg(all(feature = "blocking", feature = "testing"))]
    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    pub(crate) fn description(&self) -> Arc<Description> {
        Arc::clone(&self.inner)
    }

    /// Returns the full id, `workspace/client:service`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Returns a member that is not a method: `name`, `description`, `config`, or other published
    /// data.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.inner.members.get(key)
    }

    /// Returns all received members of the service. A function among the members can be converted
    /// to a [`Function`](crate::Function).
    #[must_use]
    pub fn members(&self) -> &Map {
        &self.inner.members
    }

    /// Returns the names of the methods. The name of a nested method has dots, such as
    /// `camera.snap`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::RemoteService;
    /// # fn example(service: &RemoteService) {
    /// for method in service.methods() {
    ///     println!("{method}: {}", service.doc(method).unwrap_or_default());
    /// }
    /// # }
    /// ```
    pub fn methods(&self) -> impl Iterator<Item = &str> {
        self.inner.targets.keys().map(String::as_str)
    }

    /// Returns whether the service has a method with this name.
    #[must_use]
    pub fn has_method(&self, name: &str) -> bool {
        self.inner.member(name).is_some()
    }

    /// Returns the schema of a method, `{name, description, parameters}`, if the owner published
    /// one.
    #[must_use]
    pub fn schema(&self, method: &str) -> Option<Value> {
        match self.inner.member(method)? {
            Member::Target(target) => target.function.schema.clone(),
            Member::Function(function) => function.schema(),
        }
    }

    /// Returns the documentation of a method, if the owner published it.
    #[must_use]
    pub fn doc(&self, method: &str) -> Option<String> {
        match self.inner.member(method)? {
            Member::Target(target) => target.function.doc.clone(),
            Member::Function(function) => function.doc(),
        }
    }

    /// Returns a method as a value that can be sent to peers. Returns `None` if the service has no
    /// such method.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::{args, Error, RemoteService};
    /// # async fn example(camera: RemoteService, segmenter: RemoteService) -> Result<(), Error> {
    /// let snap = camera.function("snap").ok_or_else(|| Error::Invalid("no camera".into()))?;
    /// segmenter.call::<()>("watch", args!(snap)).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn function(&self, method: &str) -> Option<Function> {
        let mut found = None;
        collect(&self.inner.members, "", &mut |path, value| {
            if path == method {
                found = value.decode_as().ok();
            }
        });
        found
    }

    /// Calls a method by name. The request is sent when the returned [`Call`] is awaited.
    ///
    /// Create the arguments with [`args!`](crate::args). The result is decoded into `T`; use
    /// [`Value`] for any type. Types are checked at run time: the callee checks the arguments, and
    /// this program checks the result.
    ///
    /// ```no_run
    /// # use hypha_rpc::{args, RemoteService};
    /// # async fn example(service: RemoteService) -> Result<(), hypha_rpc::Error> {
    /// let sum: f64 = service.call("add", args!(1, b = 2.5)).await?;
    /// let length = service.call::<u64>("length", args!("text")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Awaiting the call fails with any [`Error`](crate::Error) of a [`Call`]. If the service has
    /// no such method, the call fails with [`Error::Rejected`](crate::Error::Rejected) without
    /// sending a request.
    ///
    /// # Cancellation
    ///
    /// Dropping the call abandons the request; see [`Call`].
    pub fn call<T>(&self, method: &str, args: Args) -> Call<T> {
        self.typed(method, args)
    }

    pub(crate) fn typed<T, E>(&self, method: &str, args: Args) -> Call<T, E> {
        match (self.inner.member(method), &self.connection) {
            (Some(Member::Target(target)), Some(connection)) => {
                let moved = self
                    .locator
                    .as_ref()
                    .and_then(|locator| locator.moved(method));
                let target = moved.unwrap_or_else(|| Arc::clone(target));
                Call::new(connection.clone(), target, args).found_by(self.locator.as_ref())
            }
            (Some(Member::Target(_)), None) => Call::invalid("the service has no connection"),
            (Some(Member::Function(function)), _) => function.typed(args),
            (None, _) => {
                let service = self.id().rsplit(':').next().unwrap_or_default();
                let mut known: Vec<&str> = self.methods().collect();
                known.sort_unstable();
                Call::refused(Rejection {
                    kind: RejectKind::UnknownMethod,
                    message: format!(
                        "the service has no such method (it has: {})",
                        known.join(", ")
                    ),
                    call: CallSite {
                        method: format!("{service}.{method}"),
                        peer: self.id().split(':').next().unwrap_or_default().to_owned(),
                    },
                })
            }
        }
    }

    /// Returns the published description of the service (`docs/protocol/04-services.md#s4`).
    ///
    /// # Errors
    ///
    /// Fails if the type of a member differs from the type in the protocol.
    pub fn info(&self) -> Result<ServiceInfo, hypha_wire::DecodeError> {
        Value::Map(self.inner.members.clone()).decode_as()
    }
}

impl IntoService for Service {
    type Proxy = RemoteService;

    fn into_service(self) -> Service {
        self
    }
}

impl Proxy for RemoteService {
    const SERVICE_ID: &'static str = "";

    fn from_service(service: RemoteService) -> Self {
        service
    }

    fn service(&self) -> &RemoteService {
        self
    }
}

impl fmt::Debug for RemoteService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteService")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// Returns the map that represents a function of a peer, or `None` for any other value.
fn raw(value: &Value) -> Option<&Map> {
    let map = match value {
        Value::Handle(handle) => handle.raw()?,
        Value::Map(map) => map,
        _ => return None,
    };
    (map.get(RTYPE).and_then(Value::as_str) == Some(METHOD)).then_some(map)
}

/// Calls `found` for each function among the members, with the path and the value of the function.
/// If the function is in a list, the path contains the index in the list.
fn collect(members: &Map, prefix: &str, found: &mut impl FnMut(&str, &Value)) {
    fn visit(value: &Value, path: &str, found: &mut impl FnMut(&str, &Value)) {
        match value {
            Value::Handle(_) => found(path, value),
            Value::Map(_) if raw(value).is_some() => found(path, value),
            Value::Map(map) => collect(map, &format!("{path}."), found),
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    visit(item, &format!("{path}.{index}"), found);
                }
            }
            _ => {}
        }
    }
    for (key, member) in members {
        visit(member, &format!("{prefix}{key}"), found);
    }
}

/// Returns the connection of the first function that a peer owns.
fn first_connection(members: &Map) -> Option<Arc<dyn ConnectionRef>> {
    let mut connection = None;
    collect(members, "", &mut |_, value| {
        if let (None, Value::Handle(handle)) = (&connection, value) {
            connection = handle.connection();
        }
    });
    connection
}

impl Serialize for RemoteService {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.inner.members)
    }
}

impl<'de> Deserialize<'de> for RemoteService {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Map(members) => Ok(RemoteService::from_members(members)),
            other => Err(D::Error::custom(format_args!(
                "expected an object with functions, got {}",
                other.kind()
            ))),
        }
    }
}

/// Starts a typed call. Generated proxies use it.
#[doc(hidden)]
pub fn call<T, E>(service: &RemoteService, method: &'static str, args: Args) -> Call<T, E> {
    service.typed(method, args)
}
