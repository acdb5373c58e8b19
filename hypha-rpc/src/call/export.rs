//! What this program hands out with a message: functions, streams and interfaces get a place where the
//! receiver can call them (protocol 03 §6 to §8).

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex},
};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::{
    Failure, Heard, function::LocalFunction, object::LocalInterface, producer::LocalStream,
    stream::relayed_stream,
};
use crate::{
    client::{Core, Identity, Response, lock},
    service::{Handler, IncomingCall, Registered},
};
use hypha_wire::{
    Args, EncodeError, Handle, HandleKind, MethodRef, PromiseKind, RemoteHandle, Value, WireError,
    random_id,
};

/// Something of this program that is live in a value.
pub(crate) enum Resident {
    Function(LocalFunction),
    Stream(LocalStream),
    Interface(Box<LocalInterface>),
}

/// Something that a peer may call as a part of a session.
#[derive(Clone)]
pub(crate) struct Exported(Arc<Inner>);

struct Inner {
    handler: Handler,
    name: String,
    /// Ends when the call before has begun.
    before: Mutex<Option<oneshot::Receiver<()>>>,
    /// Dropped with the object's place in its session, also while a call of it runs.
    _guard: Option<Arc<dyn Any + Send + Sync>>,
}

/// The place of a call among those of the same object.
pub(crate) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    begun: oneshot::Sender<()>,
}

impl Exported {
    pub(crate) fn new(handler: Handler, name: impl Into<String>) -> Self {
        Self::guarded(handler, name, None)
    }

    pub(super) fn guarded(
        handler: Handler,
        name: impl Into<String>,
        guard: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Self {
        Exported(Arc::new(Inner {
            handler,
            name: name.into(),
            before: Mutex::new(None),
            _guard: guard,
        }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Takes a place. Calls run at the same time, but begin in the order in which they came: a
    /// callback that reports progress would jump back and forth otherwise.
    pub(crate) fn turn(&self) -> Turn {
        let (begun, next) = oneshot::channel();
        let before = lock(&self.0.before).replace(next);
        Turn { before, begun }
    }

    pub(crate) fn handler(&self, turn: Turn) -> Handler {
        let handler = Arc::clone(&self.0.handler);
        let turn = Mutex::new(Some(turn));
        Arc::new(move |call| {
            let (handler, turn) = (Arc::clone(&handler), lock(&turn).take());
            Box::pin(async move {
                let begun = match turn {
                    Some(Turn { before, begun }) => {
                        if let Some(before) = before {
                            // An error says as well that it has begun: it is over.
                            let _ = before.await;
                        }
                        Some(begun)
                    }
                    None => None,
                };
                let mut run = handler(call);
                if let Some(outcome) = futures_util::FutureExt::now_or_never(&mut run) {
                    return outcome;
                }
                drop(begun);
                run.await
            })
        })
    }
}

/// Names what is live in one message.
pub(crate) struct Exports<'a> {
    core: &'a Arc<Core>,
    identity: &'a Identity,
    /// The session in which the objects live.
    session: &'a str,
    /// The receiver, an absolute address.
    to: &'a str,
    direction: Direction,
    objects: HashMap<String, Exported>,
    handed_out: HandedOut,
}

/// What was handed out with a message, and ends with this.
pub(crate) struct HandedOut {
    core: Arc<Core>,
    /// The session in which it is, if there is one.
    session: Option<String>,
    interfaces: Vec<String>,
    /// What came from peers and was passed on.
    passed_on: Vec<Arc<RemoteHandle>>,
}

impl HandedOut {
    /// The message is on its way: what outlives it stays.
    pub(crate) fn sent(&mut self) {
        self.interfaces.clear();
        for remote in self.passed_on.drain(..) {
            remote.set_done();
        }
    }

    /// No answer will end the session: everything stays until nobody uses it.
    pub(crate) fn stays(mut self) {
        self.sent();
        self.session = None;
    }
}

impl Drop for HandedOut {
    fn drop(&mut self) {
        for id in &self.interfaces {
            drop(self.core.remove_service(id));
        }
        if let Some(session) = &self.session {
            self.core.end_session(session);
        }
    }
}

/// Where a message with exports goes.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    Call,
    Answer,
}

impl<'a> Exports<'a> {
    pub(crate) fn new(
        core: &'a Arc<Core>,
        identity: &'a Identity,
        session: &'a str,
        to: &'a str,
        direction: Direction,
    ) -> Self {
        Exports {
            core,
            identity,
            session,
            to,
            direction,
            objects: HashMap::new(),
            handed_out: HandedOut {
                core: Arc::clone(core),
                session: None,
                interfaces: Vec::new(),
                passed_on: Vec::new(),
            },
        }
    }

    /// How receivers address this client: results name the workspace, arguments do not.
    fn target(&self) -> String {
        match self.direction {
            Direction::Call => self.identity.client_id.clone(),
            Direction::Answer => self.identity.address(),
        }
    }

    /// What the receiver knows `live` by.
    pub(crate) fn name(&mut self, handle: &Handle) -> Result<Value, EncodeError> {
        match &handle.0 {
            HandleKind::Local(object) => {
                let resident = Arc::clone(object).downcast::<Resident>();
                self.resident(resident.map_err(|_| EncodeError::new("it cannot be sent"))?)
            }
            HandleKind::Remote(remote) => self.remote(remote),
        }
    }

    /// Opens the session, if something needs it: a `call` that waits, or what is handed out.
    pub(crate) fn keep(
        self,
        call: Option<(Heard, oneshot::Sender<Response>)>,
    ) -> Result<HandedOut, Failure> {
        let Exports {
            core,
            session,
            to,
            objects,
            mut handed_out,
            ..
        } = self;
        if call.is_some() || !objects.is_empty() {
            core.open_session(session, to, call, objects)?;
            handed_out.session = Some(session.to_owned());
        }
        Ok(handed_out)
    }

    fn resident(&mut self, resident: Arc<Resident>) -> Result<Value, EncodeError> {
        match &*resident {
            Resident::Function(function) => {
                let exported = Exported::new(
                    Arc::clone(&function.handler),
                    function.name.as_deref().unwrap_or("callback"),
                );
                let mut id = random_id();
                if let Some(name) = &function.name {
                    // A dot would end the part of the path.
                    id = format!("{id}#{}", name.replace('.', "_"));
                }
                let method = self.place(id, exported);
                Value::encode_from(&MethodRef {
                    server: self.identity.public_base_url.clone(),
                    target: self.target(),
                    method,
                    promise: PromiseKind::Star,
                    name: function.name.clone(),
                    is_async: None,
                    doc: function.doc.clone(),
                    schema: function.schema.clone(),
                    enc_pub: self.core.secrecy.key(),
                    // Those of a call end with it anyway.
                    release: matches!(self.direction, Direction::Answer),
                    cancel: false,
                })
            }
            Resident::Stream(stream) => {
                let source = stream.take().ok_or_else(|| {
                    EncodeError::new("a stream can be sent once, and this one was sent before")
                })?;
                let id = random_id();
                let at = super::producer::At {
                    core: Arc::downgrade(self.core),
                    session: self.session.to_owned(),
                    id: id.clone(),
                };
                let objects = source.objects(at).map(|(key, suffix, object)| {
                    let method = self.place(format!("{id}{suffix}"), object);
                    (key, Value::from(method))
                });
                let [next, close, batch] = objects;
                // Other clients do not say it of generators, but understand it: items are encrypted too.
                let key = self.core.secrecy.key();
                let key = key.map(|key| ("_renc_pub", Value::Bytes(key)));
                let entries = [
                    ("_rtype", Value::from("generator")),
                    ("_rserver", self.identity.public_base_url.clone().into()),
                    ("_rtarget", self.target().into()),
                    next,
                    close,
                    ("_rpromise", "*".into()),
                    ("_rdoc", "Remote generator".into()),
                    batch,
                ];
                let entries = entries.into_iter().chain(key);
                let entries = entries.map(|(key, value)| (key.to_owned(), value));
                Ok(Value::Map(entries.collect()))
            }
            Resident::Interface(interface) => self.interface(interface),
        }
    }

    fn place(&mut self, id: String, object: Exported) -> String {
        let method = format!("{}.{id}", self.session);
        self.objects.insert(id, object);
        method
    }

    /// A local service for this receiver only (03 §8).
    fn interface(&mut self, interface: &LocalInterface) -> Result<Value, EncodeError> {
        self.core.room_for(self.objects.len() + 1)?;
        let id = format!("_rintf_{}", random_id());
        let service = interface.service(&id, self.core);
        let mut map = service.members_map(self.identity, &self.target());
        map.insert("_rintf_service_id".into(), id.as_str().into());
        map.insert("_rintf".into(), true.into());
        let registered = Registered::interface(service, self.to);
        let added = self.core.add_service(registered, false);
        added.map_err(|e| EncodeError::new(e.to_string()))?;
        interface.placed(&id);
        self.handed_out.interfaces.push(id);
        Ok(Value::Map(map))
    }

    /// What came from a peer goes on as it is, if the receiver can reach its owner.
    fn remote(&mut self, remote: &Arc<RemoteHandle>) -> Result<Value, EncodeError> {
        let server = remote.raw.get("_rserver").and_then(Value::as_str);
        let own = self.identity.public_base_url.as_deref();
        if server.is_none() || server == own || own.is_none() {
            self.handed_out.passed_on.push(Arc::clone(remote));
            return Ok(Value::Map(remote.raw.clone()));
        }
        let handle = Handle(HandleKind::Remote(Arc::clone(remote)));
        let relay = if remote.raw.get("_rtype").and_then(Value::as_str) == Some("generator") {
            relayed_stream(handle)
        } else {
            LocalFunction::relay(handle)
        };
        self.resident(Arc::new(relay?))
    }
}

/// Makes a handler of a closure.
pub(crate) fn handler<F, Fut>(run: F) -> Handler
where
    F: Fn(IncomingCall) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Args, WireError>> + Send + 'static,
{
    Arc::new(move |call| -> BoxFuture<'static, _> { Box::pin(run(call)) })
}
