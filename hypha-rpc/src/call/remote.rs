//! Services of others: a snapshot of what `get_service` answered, with callable members.

use std::{collections::HashMap, fmt, sync::Arc};

use super::Call;
use crate::{
    client::Client,
    error::{CallSite, RejectKind, Rejection},
    wire::{Args, Map, MethodRef, Value, absolute},
    workspace::ServiceInfo,
};

/// A typed view of a service. `#[hypha_service]` generates one per contract; [`RemoteService`] is
/// the untyped one.
///
/// The constructors are here and not on the proxy itself, so that a proxy has only the methods of
/// its contract.
pub trait Proxy: Sized {
    /// The service id of the contract; empty if it has none.
    const SERVICE_ID: &'static str;

    /// The proxy for a service that has been fetched.
    fn from_service(service: RemoteService) -> Self;

    /// The service behind the proxy.
    fn service(&self) -> &RemoteService;
}

/// One callable member of a service.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) function: MethodRef,
    /// The absolute address of the owner.
    pub(crate) address: String,
    /// `service.method`, for messages.
    pub(crate) label: String,
}

impl Target {
    pub(crate) fn site(&self) -> CallSite {
        CallSite {
            method: self.label.clone(),
            peer: self.address.clone(),
        }
    }
}

/// A service of another client, without a contract: methods are called by name.
///
/// It is a snapshot of the moment it was fetched. Cloning is cheap; the connection stays open as
/// long as a clone exists.
#[derive(Clone)]
pub struct RemoteService {
    client: Client,
    inner: Arc<Description>,
}

/// What was fetched. It does not hold the connection, so the connection can keep one.
pub(crate) struct Description {
    id: String,
    members: Map,
    targets: HashMap<String, Arc<Target>>,
}

impl Description {
    /// Reads the map that a peer answered; relative addresses in it are of `workspace`.
    pub(crate) fn new(id: String, members: Map, workspace: &str) -> Self {
        let service = id.rsplit(':').next().unwrap_or(&id).to_owned();
        let mut targets = HashMap::new();
        collect(&members, "", &mut |path, function| {
            let address = absolute(&function.target, workspace).into_owned();
            let label = format!("{service}.{path}");
            targets.insert(
                path.to_owned(),
                Arc::new(Target {
                    function,
                    address,
                    label,
                }),
            );
        });
        Description {
            id,
            members,
            targets,
        }
    }
}

impl RemoteService {
    pub(crate) fn new(client: Client, inner: Arc<Description>) -> Self {
        RemoteService { client, inner }
    }

    pub(crate) fn description(&self) -> Arc<Description> {
        Arc::clone(&self.inner)
    }

    /// The full id, `workspace/client:service`.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// A plain member: `name`, `description`, `config`, or whatever the service offers.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.inner.members.get(key)
    }

    /// Everything in the service as it came, functions as maps of `_rtype` `method`.
    pub fn members(&self) -> &Map {
        &self.inner.members
    }

    /// The names of the methods; nested ones have dots.
    pub fn methods(&self) -> impl Iterator<Item = &str> {
        self.inner.targets.keys().map(String::as_str)
    }

    /// Whether there is a method of that name.
    pub fn has_method(&self, name: &str) -> bool {
        self.inner.targets.contains_key(name)
    }

    /// The schema of a method, `{name, description, parameters}`, if its owner gave one.
    pub fn schema(&self, method: &str) -> Option<&Value> {
        self.inner.targets.get(method)?.function.schema.as_ref()
    }

    /// The documentation of a method, if its owner gave any.
    pub fn doc(&self, method: &str) -> Option<&str> {
        self.inner.targets.get(method)?.function.doc.as_deref()
    }

    /// Calls a method. `args` comes from [`args!`](crate::args); `T` is what the result is read as,
    /// [`Value`] for anything.
    ///
    /// # Errors
    ///
    /// Awaiting the call gives an [`Error`](crate::Error); a method that the service does not have is
    /// [`Error::Rejected`](crate::Error::Rejected) without anything being sent.
    pub fn call<T>(&self, method: &str, args: Args) -> Call<T> {
        self.typed(method, args)
    }

    pub(crate) fn typed<T, E>(&self, method: &str, args: Args) -> Call<T, E> {
        let target = self
            .inner
            .targets
            .get(method)
            .map(Arc::clone)
            .ok_or_else(|| {
                let service = self.id().rsplit(':').next().unwrap_or_default();
                let mut known: Vec<&str> = self.methods().collect();
                known.sort_unstable();
                Rejection {
                    kind: RejectKind::UnknownMethod,
                    message: format!(
                        "the service has no such method (it has: {})",
                        known.join(", ")
                    ),
                    call: CallSite {
                        method: format!("{service}.{method}"),
                        peer: self.id().split(':').next().unwrap_or_default().to_owned(),
                    },
                }
            });
        Call::new(self.client.clone(), target, args)
    }

    /// What the service says of itself, as a service info (protocol 04 §4).
    ///
    /// # Errors
    ///
    /// If its members are of other types than the protocol says.
    pub fn info(&self) -> Result<ServiceInfo, crate::wire::DecodeError> {
        Value::Map(self.inner.members.clone()).decode_as()
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

/// Walks through the members; functions inside lists have their index as name.
fn collect(members: &Map, prefix: &str, found: &mut impl FnMut(&str, MethodRef)) {
    fn visit(value: &Value, path: &str, found: &mut impl FnMut(&str, MethodRef)) {
        match value {
            Value::Map(map) if map.get("_rtype").and_then(Value::as_str) == Some("method") => {
                if let Ok(function) = value.decode_as::<MethodRef>() {
                    found(path, function);
                }
            }
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

/// Starts a typed call; what generated proxies use.
#[doc(hidden)]
pub fn call<T, E>(service: &RemoteService, method: &'static str, args: Args) -> Call<T, E> {
    service.typed(method, args)
}
