//! Objects handed out with a message: functions, streams and interfaces get a place where the
//! receiver can call them (`docs/protocol/03-values.md#s6` to `#s8`).

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Engine, Handler, IncomingCall, Registered, Service};
use crate::engine::{Failure, Identity, LastSeen, Response};
use hypha_wire::{Args, EncodeError, RemoteHandle, WireError};

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

    pub(crate) fn guarded(
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
        let before = self.0.before.lock().replace(next);
        Turn { before, begun }
    }

    pub(crate) fn handler(&self, turn: Turn) -> Handler {
        let handler = Arc::clone(&self.0.handler);
        let turn = Mutex::new(Some(turn));
        Arc::new(move |call| {
            let (handler, turn) = (Arc::clone(&handler), turn.lock().take());
            Box::pin(async move {
                let begun = match turn {
                    Some(Turn { before, begun }) => {
                        if let Some(before) = before {
                            // After an error it has begun and ended.
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

/// The live things of one message, as they get their names.
pub(crate) struct Exports<'a> {
    engine: &'a Arc<Engine>,
    identity: &'a Identity,
    /// The session in which the objects live.
    session: &'a str,
    /// The receiver, an absolute address.
    to: &'a str,
    direction: Direction,
    objects: HashMap<String, Exported>,
    handed_out: HandedOut,
}

/// Objects exported with a message. Dropping this withdraws them.
pub(crate) struct HandedOut {
    engine: Arc<Engine>,
    /// The session in which it is, if there is one.
    session: Option<String>,
    interfaces: Vec<String>,
    /// Objects of peers that were passed on.
    passed_on: Vec<Arc<RemoteHandle>>,
}

impl HandedOut {
    /// The message is on its way: what outlives it stays.
    pub(crate) fn sent(&mut self) {
        self.interfaces.clear();
        for remote in self.passed_on.drain(..) {
            remote.mark_released();
        }
    }

    /// No response ends the session: its objects stay until they are unused.
    pub(crate) fn stays(mut self) {
        self.sent();
        self.session = None;
    }
}

impl Drop for HandedOut {
    fn drop(&mut self) {
        for id in &self.interfaces {
            drop(self.engine.handlers.remove(id));
        }
        if let Some(session) = &self.session {
            self.engine.sessions.end(session);
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
        engine: &'a Arc<Engine>,
        identity: &'a Identity,
        session: &'a str,
        to: &'a str,
        direction: Direction,
    ) -> Self {
        Exports {
            engine,
            identity,
            session,
            to,
            direction,
            objects: HashMap::new(),
            handed_out: HandedOut {
                engine: Arc::clone(engine),
                session: None,
                interfaces: Vec::new(),
                passed_on: Vec::new(),
            },
        }
    }

    /// Returns the address of this client for receivers: results name the workspace, arguments do
    /// not.
    pub(crate) fn target(&self) -> String {
        match self.direction {
            Direction::Call => self.identity.client_id.clone(),
            Direction::Answer => self.identity.address(),
        }
    }

    /// Opens the session if a waiting `call` or an exported object needs it.
    pub(crate) fn keep(
        self,
        call: Option<(LastSeen, oneshot::Sender<Response>)>,
    ) -> Result<HandedOut, Failure> {
        let Exports {
            engine,
            session,
            to,
            objects,
            mut handed_out,
            ..
        } = self;
        if call.is_some() || !objects.is_empty() {
            if !objects.is_empty() {
                engine.room_for(objects.len())?;
            }
            engine.sessions.open(session, to, call, objects)?;
            handed_out.session = Some(session.to_owned());
        }
        Ok(handed_out)
    }

    /// Keeps an object under `id` in the session; returns the path by which it is called.
    pub(crate) fn place(&mut self, id: String, object: Exported) -> String {
        let method = format!("{}.{id}", self.session);
        self.objects.insert(id, object);
        method
    }

    /// Registers a service for the receiver only (`docs/protocol/03-values.md#s8`).
    pub(crate) fn offer(&mut self, service: Service) -> Result<(), EncodeError> {
        let id = service.id().to_owned();
        let registered = Registered::interface(service, self.to);
        let (services, lifecycle) = (&self.engine.handlers, &self.engine.lifecycle);
        let added = services.add(registered, false, lifecycle);
        added.map_err(|e| EncodeError::new(e.to_string()))?;
        self.handed_out.interfaces.push(id);
        Ok(())
    }

    /// Checks that peers may hold this much more.
    pub(crate) fn room_for_one(&self) -> Result<(), EncodeError> {
        self.engine.room_for(self.objects.len() + 1)
    }

    /// Notes that something of a peer is passed on: its owner need not be told when it is dropped
    /// here.
    pub(crate) fn pass_on(&mut self, remote: &Arc<RemoteHandle>) {
        self.handed_out.passed_on.push(Arc::clone(remote));
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        self.engine
    }

    pub(crate) fn identity(&self) -> &Identity {
        self.identity
    }

    pub(crate) fn session(&self) -> &str {
        self.session
    }

    pub(crate) fn direction(&self) -> Direction {
        self.direction
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
