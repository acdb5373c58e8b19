//! Services of this program, their methods, and the execution of incoming calls.
//!
//! Most programs describe a service with [`hypha_service`](crate::hypha_service), and only need the
//! [`Context`] of a call from this module. [`Service`] and [`Method`] build a service by hand, if
//! its methods are known only at run time. Register any service with
//! [`Client::register_service`](crate::Client::register_service).
//!
//! Each call runs in a separate task, concurrently with others, and sends heartbeats to its caller
//! while it runs. A panic becomes the error of its call.
//
// The engine calls this layer through `Handlers`, which `dispatch.rs` implements for `Services`:
//
//   registry, services   the services of a connection, behind one lock
//   permission           the rule for calling a service
//   dispatch, answer     from a request to its handler and its response
//   calls                the running handlers, for cancellation and the watchdog
//   export               functions, streams and interfaces in a sent message
//   builtin              the service that every client offers
//   info, record         descriptions of a service
//   thread               threads for methods and closures that block
//   macro_support        functions that generated code calls; misfit finds faults in arguments
//
// No lock is held while a handler runs or a service is dropped, because both may run code of the
// program.

mod answer;
mod builtin;
mod calls;
#[doc(hidden)]
pub mod closure;
mod context;
mod dispatch;
mod export;
mod incoming;
mod info;
mod intercept;
#[doc(hidden)]
pub mod macro_support;
mod misfit;
mod permission;
mod record;
mod registry;
mod service_type;
mod services;
mod thread;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use indexmap::IndexMap;

pub(crate) use builtin::registered as built_in;
pub(crate) use calls::{Calls, is_within_handler};
pub use context::Context;
pub(crate) use export::{Direction, Exported, Exports, HandedOut, handler};
#[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
pub(crate) use incoming::refusal;
pub use incoming::{Arguments, IncomingCall};
pub use intercept::Next;
#[doc(hidden)] // For the server.
pub use permission::is_open_to;
pub use record::{ContextRule, ServiceConfig, ServiceInfo, Visibility};
pub(crate) use registry::Registered;
pub(crate) use services::Services;
pub(crate) use thread::on_thread;

use hypha_wire::{Args, Map, Value, WireError};

/// The engine with its handlers: peers call the [`Services`].
pub(crate) type Engine = crate::engine::Engine<Services>;

/// A handle of a connection with this engine.
pub(crate) type Connection = crate::engine::Connection<Services>;

/// Default service type.
pub(crate) const GENERIC: &str = "generic";

/// Value that can be registered with [`Client::register_service`](crate::Client::register_service).
///
/// Implemented by [`Service`], by the `FooService<T>` that [`hypha_service`](crate::hypha_service)
/// generates for a trait `Foo`, and by a type with `#[hypha_service]` on its `impl` block.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service",
    label = "this type has no methods for callers",
    note = "register an implementation of a contract `Foo` as `FooService::new(..)`; a type without a contract needs `#[hypha_service]` on its `impl` block"
)]
pub trait IntoService {
    /// Typed proxy for callers, a [`Proxy`](crate::Proxy).
    type Proxy;

    /// Converts the value to a service that can be registered.
    fn into_service(self) -> Service;
}

/// A service: an id, a description, and members that are methods or plain values.
///
/// [`hypha_service`](crate::hypha_service) generates a service from a contract. Build a service by
/// hand if its methods are not known at compile time. The builder checks nothing: registration
/// fails for ids, member names and settings that the protocol does not allow.
///
/// # Examples
///
/// ```
/// use hypha_rpc::{Value, service::{IncomingCall, Method, Service, Visibility}};
///
/// let service = Service::new("greeter")
///     .description("Greets.")
///     .visibility(Visibility::Public)
///     .value("language", Value::from("en"))
///     .method(Method::new("greet", |call: IncomingCall| async move {
///         let name: String = call.args(&["name"])?.required(0)?;
///         call.reply(&format!("Hello {name}!"))
///     }));
/// assert_eq!(service.id(), "greeter");
/// ```
#[derive(Clone, Debug)]
pub struct Service {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) docs: Option<String>,
    pub(crate) service_type: String,
    pub(crate) visibility: Visibility,
    pub(crate) authorized_workspaces: Vec<String>,
    /// Public keys of the accepted callers, in lower case. Checked at registration.
    pub(crate) trusted_keys: Vec<String>,
    pub(crate) singleton: bool,
    pub(crate) send_backtraces: bool,
    pub(crate) flags: Vec<String>,
    pub(crate) require_context: bool,
    pub(crate) config: Map,
    /// Members by path. A dot in a path creates a nested map on the wire.
    pub(crate) members: IndexMap<String, Member>,
}

#[derive(Clone, Debug)]
pub(crate) enum Member {
    Method(Method),
    Value(Value),
}

impl Service {
    /// Creates an empty service.
    ///
    /// `id` is the part after the `:` of a full service id. Registration fails if it contains one
    /// of the characters `. : @ /`.
    pub fn new(id: impl Into<String>) -> Self {
        Service {
            id: id.into(),
            name: None,
            description: None,
            docs: None,
            service_type: GENERIC.into(),
            visibility: Visibility::default(),
            authorized_workspaces: Vec::new(),
            trusted_keys: Vec::new(),
            singleton: false,
            send_backtraces: false,
            flags: Vec::new(),
            require_context: false,
            config: Map::new(),
            members: IndexMap::new(),
        }
    }

    /// Returns the service id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the description that was set with [`description`](Service::description), if any.
    #[must_use]
    pub fn description_text(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Replaces the id, for example to register the same contract several times.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets the display name. Default: the id.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the description of the service, at most 1024 characters (a limit of the servers).
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Sets the documentation, a string of any length. Default: none.
    #[must_use]
    pub fn docs(mut self, text: impl Into<String>) -> Self {
        self.docs = Some(text.into());
        self
    }

    /// Sets the service type. Default: `generic`.
    #[must_use]
    pub fn service_type(mut self, name: impl Into<String>) -> Self {
        self.service_type = name.into();
        self
    }

    /// Sets the visibility of the service. Default: [`Visibility::Protected`].
    #[must_use]
    pub fn visibility(mut self, visibility: Visibility) -> Self {
        self.visibility = visibility;
        self
    }

    /// Sets additional workspaces whose clients may find and call this protected service. Default:
    /// none.
    #[must_use]
    pub fn authorized_workspaces<I, S>(mut self, workspaces: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.authorized_workspaces = workspaces.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the public keys of the accepted callers, each as 64 hexadecimal digits. Default: all
    /// callers are accepted.
    ///
    /// The service rejects calls that are not encrypted with one of these keys. This client
    /// therefore needs its own keys (feature `encryption`, `ConnectOptions::encryption`); without
    /// them, all calls are rejected. Registration checks the format of the keys.
    #[must_use]
    pub fn trusted_keys<I, S>(mut self, keys: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let keys = keys.into_iter();
        self.trusted_keys = keys.map(|key| key.as_ref().to_ascii_lowercase()).collect();
        self
    }

    /// Sets whether the workspace may contain only one service with this id. Default: `false`.
    ///
    /// The manager refuses the registration if another client has a service with this id, and
    /// refuses other registrations while this service is registered.
    #[must_use]
    pub fn singleton(mut self, singleton: bool) -> Self {
        self.singleton = singleton;
        self
    }

    /// Sends the stack frames of `anyhow` errors to callers, as part of the trace. Default:
    /// `false`, because frames contain names of source files and functions.
    ///
    /// Errors have frames only if the environment variable `RUST_BACKTRACE` is set. The chain of
    /// causes is always sent.
    #[must_use]
    pub fn send_backtraces(mut self, send: bool) -> Self {
        self.send_backtraces = send;
        self
    }

    /// Sets flags: arbitrary strings that are stored in the service record. Default: none.
    #[must_use]
    pub fn flags<I, S>(mut self, flags: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.flags = flags.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the config key that states whether the service's methods use the caller's context.
    /// Default: `false`, or `true` if a method [needs it](Method::needs_context).
    ///
    /// The key has no effect in this program: handlers always get the context.
    #[must_use]
    pub fn require_context(mut self, required: bool) -> Self {
        self.require_context = required;
        self
    }

    /// Adds a key to the config of the service.
    ///
    /// Registration fails for keys that have their own setter, such as `visibility`, and for keys
    /// that only servers write.
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.config.insert(key.into(), value.into());
        self
    }

    /// Adds a method, or replaces the method with the same name.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.require_context |= method.needs_context;
        self.members
            .insert(method.name.clone(), Member::Method(method));
        self
    }

    /// Replaces the handler of the method `name`, if the method exists, and keeps its description.
    #[doc(hidden)]
    #[must_use]
    pub fn with_handler<F, Fut>(mut self, name: &str, handler: F) -> Self
    where
        F: Fn(IncomingCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Args, WireError>> + Send + 'static,
    {
        if let Some(Member::Method(method)) = self.members.get_mut(name) {
            method.handler = Arc::new(move |call| Box::pin(handler(call)));
        }
        self
    }

    /// Adds the methods and other members of `other`. They replace members with the same names.
    #[doc(hidden)]
    #[must_use]
    pub fn with_members_of(mut self, other: Service) -> Self {
        self.require_context |= other.require_context;
        self.members.extend(other.members);
        self
    }

    /// Adds a plain member: data that peers read from the service. Its value is fixed when the
    /// service is registered.
    #[must_use]
    pub fn value(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.members.insert(key.into(), Member::Value(value.into()));
        self
    }
}

/// Function that runs one call and returns the encoded result, or the error to send.
pub(crate) type Handler =
    Arc<dyn Fn(IncomingCall) -> BoxFuture<'static, Result<Args, WireError>> + Send + Sync>;

/// One method of a [`Service`].
#[derive(Clone)]
pub struct Method {
    pub(crate) name: String,
    pub(crate) doc: Option<String>,
    pub(crate) schema: Option<Value>,
    pub(crate) needs_context: bool,
    pub(crate) blocking: bool,
    pub(crate) handler: Handler,
}

impl Method {
    /// Creates a method. A name with dots creates a nested member.
    ///
    /// Each call runs in a separate task, concurrently with others. A panic becomes the error of
    /// its call.
    ///
    /// # Cancellation
    ///
    /// The future is dropped at its current await when the connection ends. If only the caller
    /// stops waiting, the future keeps running. It can observe the end of the wait with
    /// [`Context::cancellation`].
    pub fn new<F, Fut>(name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(IncomingCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Args, WireError>> + Send + 'static,
    {
        Method {
            name: name.into(),
            doc: None,
            schema: None,
            needs_context: false,
            blocking: false,
            handler: Arc::new(move |call| Box::pin(handler(call))),
        }
    }

    pub(crate) fn handler(&self) -> Handler {
        Arc::clone(&self.handler)
    }

    /// Creates a method that blocks its thread, for example for a long computation, or to wait for
    /// a file or an instrument. The method runs in tokio's pool of blocking threads, and heartbeats
    /// prevent a timeout at the caller.
    ///
    /// The number of blocking methods that run at the same time is limited to
    /// `max_blocking_threads` of the runtime (default: 512). Further calls wait for a thread. A
    /// panic becomes the error of its call.
    ///
    /// # Cancellation
    ///
    /// A blocking method cannot be cancelled. If the connection ends, the method still runs to its
    /// end, and its result is lost. The shutdown of the runtime waits for the method.
    ///
    /// # Examples
    ///
    /// ```
    /// use hypha_rpc::service::{IncomingCall, Method, Service};
    ///
    /// let service = Service::new("files").method(Method::blocking("size", |call: IncomingCall| {
    ///     let path: &str = call.args(&["path"])?.required(0)?;
    ///     let file = std::fs::metadata(path).map_err(|error| call.fail(error.to_string()))?;
    ///     call.reply(&file.len())
    /// }));
    /// ```
    pub fn blocking<F>(name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(IncomingCall) -> Result<Args, WireError> + Send + Sync + 'static,
    {
        let handler = Arc::new(handler);
        let method = Method::new(name, move |call: IncomingCall| {
            let handler = Arc::clone(&handler);
            async move {
                let label = call.label().to_owned();
                on_thread(&label, move || handler(call)).await?
            }
        });
        Method {
            blocking: true,
            ..method
        }
    }

    /// Sets the documentation that clients show. Default: none.
    #[must_use]
    pub fn doc(mut self, text: impl Into<String>) -> Self {
        self.doc = Some(text.into());
        self
    }

    /// Sets the function schema `{name, description, parameters}`
    /// (`docs/protocol/04-services.md#s5`). Default: none.
    #[must_use]
    pub fn schema(mut self, schema: serde_json::Value) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Sets whether the method uses the caller's [`Context`]. If any method uses the context,
    /// [`Service::require_context`] is set in the config of the service. Default: `false`.
    #[must_use]
    pub fn needs_context(mut self, needed: bool) -> Self {
        self.needs_context = needed;
        self
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Method")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
