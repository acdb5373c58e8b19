//! Types for functions in arguments and results. A function is either a closure of this program
//! that peers may call, or a function of a peer that this program received.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Call;
use super::resident::{LocalFunction, METHOD, Resident};
use super::target::Target;
use crate::engine::Failure;
use crate::error::{CallSite, CodecError, Error, ServiceError};
use crate::schema::KIND;
use crate::service::{Connection, Context, Handler, IncomingCall, handler};
use hypha_wire::keys::{RDOC, RNAME, RSCHEMA, RTYPE, SERVICES};
use hypha_wire::{Args, EncodeError, Handle, HandleKind, Map, MethodRef, Value, WireError};

/// Function that can be an argument, a result, or a part of an argument or result.
///
/// Every peer that receives a function made by [`new`](Self::new) can call the function. A function
/// in an argument expires when the call ends. A function in a result expires when its receiver
/// disconnects, or when the receiver has not called the function for ten minutes
/// (`docs/protocol/02-messages.md#s10`). A call of an expired function fails immediately with
/// [`RejectKind::Expired`](crate::error::RejectKind::Expired).
///
/// [`Callback`](crate::Callback) is a typed function. Prefer callbacks in contracts.
///
/// # Examples
///
/// ```
/// # use hypha_rpc::{args, Function, RemoteService};
/// # async fn example(service: RemoteService) -> Result<(), hypha_rpc::Error> {
/// let double = Function::new(|call| async move {
///     let n: i64 = call.args(&["n"])?.required(0)?;
///     call.reply(&(2 * n))
/// });
/// let doubled: Vec<i64> = service.call("map", args!(double, vec![1, 2, 3])).await?;
///
/// let counter: Function = service.call("make_counter", args!()).await?;
/// let one: i64 = counter.call(args!()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq)]
pub struct Function {
    handle: Handle,
}

/// Returns a function of this program that forwards each call to `handle`. The forwarding is
/// necessary if the owner of `handle` is connected to another server, because the receiver cannot
/// reach that owner.
pub(super) fn relayed_function(handle: Handle) -> Result<Resident, EncodeError> {
    let function = Function { handle };
    let reference = function.reference();
    let reference = reference.map_err(|e| EncodeError::new(e.to_string()))?;
    let relay = move |call: IncomingCall| {
        let function = function.clone();
        async move { forward(&function, call).await }
    };
    Ok(Resident::Function(LocalFunction {
        handler: handler(relay),
        name: reference.name,
        doc: reference.doc,
        schema: reference.schema,
    }))
}

/// Forwards a call to a function of a peer, and returns its result.
pub(super) async fn forward(function: &Function, call: IncomingCall) -> Result<Args, WireError> {
    let mut args = Args::new(call.raw_args().positional(), 0);
    for (index, value) in call.values()?.into_iter().enumerate() {
        match value {
            (None, value) => args.push(positional_name(index), &value),
            (Some(name), value) => args.push_named(&name, &value),
        }
    }
    let result: Result<Value, Error> = function.call(args).await;
    call.reply(&result.map_err(|e| e.to_wire())?)
}

pub(super) fn positional_name(index: usize) -> &'static str {
    const NAMES: [&str; 8] = [
        "argument 1",
        "argument 2",
        "argument 3",
        "argument 4",
        "argument 5",
        "argument 6",
        "argument 7",
        "argument 8",
    ];
    NAMES.get(index).copied().unwrap_or("a later argument")
}

impl Function {
    /// Creates a function that runs `run` for every call.
    ///
    /// Calls start in order of arrival and run concurrently. If the closure panics, only the call
    /// that caused the panic fails.
    pub fn new<F, Fut>(run: F) -> Self
    where
        F: Fn(IncomingCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Args, WireError>> + Send + 'static,
    {
        Self::local(LocalFunction {
            handler: handler(run),
            name: None,
            doc: None,
            schema: None,
        })
    }

    pub(crate) fn local(function: LocalFunction) -> Self {
        Function {
            handle: Handle::local(Arc::new(Resident::Function(function))),
        }
    }

    /// Sets a name for the function. The peer that receives the function can show this name to
    /// users. Does nothing for a function of a peer.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        let Some(local) = self.as_local() else {
            return self;
        };
        let named = LocalFunction {
            handler: Arc::clone(&local.handler),
            name: Some(name.into()),
            doc: local.doc.clone(),
            schema: local.schema.clone(),
        };
        Self::local(named)
    }

    fn resident(&self) -> Option<&Resident> {
        match &self.handle.0 {
            HandleKind::Local(object) => object.downcast_ref(),
            HandleKind::Remote(_) => None,
        }
    }

    fn as_local(&self) -> Option<&LocalFunction> {
        match self.resident() {
            Some(Resident::Function(function)) => Some(function),
            _ => None,
        }
    }

    fn reference(&self) -> Result<MethodRef, hypha_wire::DecodeError> {
        let raw = self.handle.raw().cloned().unwrap_or_default();
        Value::Map(raw).decode_as()
    }

    /// Returns the name of the function, if its owner set one.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        match self.handle.raw() {
            None => self.as_local()?.name.clone(),
            Some(raw) => text(raw, RNAME),
        }
    }

    /// Returns the documentation of the function, if its owner published it.
    #[must_use]
    pub fn doc(&self) -> Option<String> {
        match self.handle.raw() {
            None => self.as_local()?.doc.clone(),
            Some(raw) => text(raw, RDOC),
        }
    }

    /// Returns the schema `{name, description, parameters}`, if the owner published one.
    #[must_use]
    pub fn schema(&self) -> Option<Value> {
        match self.handle.raw() {
            None => self.as_local()?.schema.clone(),
            Some(raw) => raw.get(RSCHEMA).filter(|s| !s.is_null()).cloned(),
        }
    }

    /// Calls the function. The request is sent when the returned [`Call`] is awaited.
    ///
    /// Create the arguments with [`args!`](crate::args). The result is decoded into `T`; use
    /// [`Value`] for any type. A function of this program runs in the task that awaits the call.
    ///
    /// # Errors
    ///
    /// Awaiting the call fails with any [`Error`](crate::Error) of a [`Call`].
    pub fn call<T>(&self, args: Args) -> Call<T> {
        self.typed(args)
    }

    pub(crate) fn typed<T, E>(&self, args: Args) -> Call<T, E> {
        match &self.handle.0 {
            HandleKind::Local(_) => match self.as_local() {
                Some(function) => Call::local(
                    Arc::clone(&function.handler),
                    function.name.clone().unwrap_or_else(|| "callback".into()),
                    args,
                ),
                None => Call::invalid("expected a function, got a stream"),
            },
            HandleKind::Remote(remote) => {
                let function = match self.reference() {
                    Ok(function) => function,
                    Err(e) => {
                        return Call::invalid(format!("a function that cannot be called: {e}"));
                    }
                };
                let address = function.target.clone();
                let label = label(&function);
                let target = Target {
                    function,
                    address,
                    label,
                    parent: remote.parent.clone(),
                };
                match Connection::of(&remote.connection) {
                    Some(connection) => {
                        Call::new(connection, Arc::new(target), args).holding(self.handle.clone())
                    }
                    None => Call::invalid("the function has no connection"),
                }
            }
        }
    }
}

fn text(raw: &Map, key: &str) -> Option<String> {
    let text = raw.get(key)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns the name of a function for messages that users read (`docs/protocol/03-values.md#s6`).
fn label(function: &MethodRef) -> String {
    if let Some(name) = function.name.as_ref().filter(|name| !name.is_empty()) {
        return name.clone();
    }
    match function.method.strip_prefix(SERVICES) {
        Some(path) => path.to_owned(),
        None => {
            let last = function.method.rsplit('.').next().unwrap_or_default();
            match last.rsplit_once('#') {
                Some((_, name)) => name.to_owned(),
                None => "callback".to_owned(),
            }
        }
    }
}

/// Runs a function of this program in the current task, without sending messages.
pub(super) async fn run_local<T: DeserializeOwned + 'static, E: ServiceError>(
    handler: Handler,
    label: String,
    args: Args,
) -> Result<T, Error<E>> {
    let site = CallSite {
        method: label.clone(),
        peer: String::new(),
    };
    let unsendable = |e| Error::Codec(CodecError::sending(e, site.clone()));
    let args = args.into_local().map_err(unsendable)?;
    let call = IncomingCall::new(Context::local(), args, label);
    let outcome: BoxFuture<'static, _> = handler(call);
    match outcome.await {
        Ok(result) => {
            let result = result.into_local().map_err(unsendable)?;
            let value = super::shared(&result, 0).unwrap_or_else(super::null);
            value.map_err(|e| Error::Codec(CodecError::receiving("the result", e, site)))
        }
        Err(error) => Err(crate::error::from_wire(error, site.clone())),
    }
}

/// Runs [`run_local`] with a total timeout.
pub(super) async fn run_local_within<T: DeserializeOwned + 'static, E: ServiceError>(
    handler: Handler,
    label: String,
    args: Args,
    total: Option<Duration>,
) -> Result<T, Error<E>> {
    let run = run_local(handler, label.clone(), args);
    let Some(limit) = total else { return run.await };
    Error::unless_in_runtime(&label)?;
    match crate::runtime::timeout(limit, run).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let call = CallSite {
                method: label,
                peer: String::new(),
            };
            Err(super::failure(Failure::Late { limit, sent: true }, call))
        }
    }
}

impl Serialize for Function {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.handle.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Function {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match value {
            Value::Handle(handle) => {
                let function = Function { handle };
                let is_function = match function.handle.raw() {
                    Some(raw) => raw.get(RTYPE).and_then(Value::as_str) == Some(METHOD),
                    None => function.as_local().is_some(),
                };
                if is_function {
                    return Ok(function);
                }
                Err(D::Error::custom("expected a function, got a stream"))
            }
            other => Err(D::Error::custom(format_args!(
                "expected a function, got {}",
                other.kind()
            ))),
        }
    }
}

impl JsonSchema for Function {
    fn schema_name() -> Cow<'static, str> {
        "Function".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "A function, which is called back.",
            (KIND): "function"
        })
    }
}

impl From<Function> for Value {
    fn from(function: Function) -> Self {
        Value::Handle(function.handle)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("name", &self.name())
            .field("of_this_program", &self.handle.raw().is_none())
            .finish_non_exhaustive()
    }
}
