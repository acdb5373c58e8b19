//! Exports the functions, streams and interfaces of a message. Exporting an object assigns it a
//! path under which the receiver can call the object (`docs/protocol/03-values.md#s6` to `#s8`).
//!
//! [`Exports`] collects the objects while a message is encoded. [`Exports::keep`] opens the session
//! of the objects just before the message is sent, so that the receiver can use the objects
//! immediately. `keep` returns a [`HandedOut`]. Dropping the [`HandedOut`] withdraws the objects,
//! which happens when the message is not sent or when the call ends.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Engine, Handler, IncomingCall, Registered, Service};
use crate::engine::{Failure, Identity, LastSeen, Response};
use hypha_wire::{Args, EncodeError, RemoteHandle, WireError};

/// Function or other object in a session. A peer may call the object. Cloning this value is cheap.
#[derive(Clone)]
pub(crate) struct Exported(Arc<Inner>);

struct Inner {
    handler: Handler,
    name: String,
    /// Receiver that resolves when the previous call has started. Lock order: the lock of the
    /// sessions comes before this lock. No other code runs while this lock is held.
    before: Mutex<Option<oneshot::Receiver<()>>>,
    /// Dropped when the object is removed from its session, even while a call of the object runs.
    _guard: Option<Arc<dyn Any + Send + Sync>>,
}

/// Position of a call in the order of calls of one object.
pub(crate) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    begun: oneshot::Sender<()>,
}

impl Exported {
    /// Creates an object. Logs and errors contain `name`.
    pub(crate) fn new(handler: Handler, name: impl Into<String>) -> Self {
        Self::guarded(handler, name, None)
    }

    /// Creates an object that owns `guard`. Dropping the object drops `guard`.
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

    /// Assigns a call its position in the order of calls. Calls run concurrently, but they start in
    /// the order in which they arrive. Otherwise, a callback that reports progress could receive an
    /// older value after a newer value.
    pub(crate) fn turn(&self) -> Turn {
        let (begun, next) = oneshot::channel();
        let before = self.0.before.lock().replace(next);
        Turn { before, begun }
    }

    /// Returns the handler of one call. This handler first waits until the previous call has
    /// started, that is, until the first poll of the previous call has returned.
    pub(crate) fn handler(&self, turn: Turn) -> Handler {
        let handler = Arc::clone(&self.0.handler);
        let turn = Mutex::new(Some(turn));
        Arc::new(move |call| {
            let (handler, turn) = (Arc::clone(&handler), turn.lock().take());
            Box::pin(async move {
                let begun = match turn {
                    Some(Turn { before, begun }) => {
                        if let Some(before) = before {
                            // The previous call sends no value. It drops the sender when it has
                            // started or ended, so the result of `await` is always an error.
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

/// The functions, streams and interfaces of one message, while the message is encoded.
pub(crate) struct Exports<'a> {
    engine: &'a Arc<Engine>,
    identity: &'a Identity,
    /// Session that the objects belong to.
    session: &'a str,
    /// Absolute address of the receiver.
    to: &'a str,
    direction: Direction,
    objects: HashMap<String, Exported>,
    handed_out: HandedOut,
}

/// Objects exported with a message. Dropping this value withdraws the objects.
pub(crate) struct HandedOut {
    engine: Arc<Engine>,
    /// Session of the objects, if there is one.
    session: Option<String>,
    interfaces: Vec<String>,
    /// Objects of other peers that this message passes on to its receiver.
    passed_on: Vec<Arc<RemoteHandle>>,
}

impl HandedOut {
    /// Records that the message was sent. From now on, interfaces remain registered until the
    /// receiver disconnects, and the receiver releases the objects that were passed on to it.
    pub(crate) fn sent(&mut self) {
        self.interfaces.clear();
        for remote in self.passed_on.drain(..) {
            remote.mark_released();
        }
    }

    /// Keeps the objects of a response. The session of these objects ends when the receiver
    /// releases the objects, or when the objects have not been used for too long. The session of a
    /// request, in contrast, ends with the response.
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

/// Kind of message that contains the exports.
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

    /// Returns the address at which receivers reach this client. The address contains the workspace
    /// in results, but not in arguments.
    pub(crate) fn target(&self) -> String {
        match self.direction {
            Direction::Call => self.identity.client_id.clone(),
            Direction::Answer => self.identity.address(),
        }
    }

    /// Opens the session, if the message is a call that waits for a response, or contains exported
    /// objects. Call this method before the message is sent, because the receiver may use an object
    /// before this program runs again.
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

    /// Stores an object under `id` in the session. Returns the path at which the receiver can call
    /// the object.
    pub(crate) fn place(&mut self, id: String, object: Exported) -> String {
        let method = format!("{}.{id}", self.session);
        self.objects.insert(id, object);
        method
    }

    /// Registers a service that only the receiver may call (`docs/protocol/03-values.md#s8`).
    pub(crate) fn offer(&mut self, service: Service) -> Result<(), EncodeError> {
        let id = service.id().to_owned();
        let registered = Registered::interface(service, self.to);
        let (services, lifecycle) = (&self.engine.handlers, &self.engine.lifecycle);
        let added = services.add(registered, false, lifecycle);
        added.map_err(|e| EncodeError::new(e.to_string()))?;
        self.handed_out.interfaces.push(id);
        Ok(())
    }

    /// Fails if one more object would exceed the maximum number of objects that peers may hold.
    pub(crate) fn room_for_one(&self) -> Result<(), EncodeError> {
        self.engine.room_for(self.objects.len() + 1)
    }

    /// Records that this message contains an object of another peer. The receiver of the message
    /// may use the object, so this client must not ask the owner of the object to release it.
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

/// Converts an async closure to a handler.
pub(crate) fn handler<F, Fut>(run: F) -> Handler
where
    F: Fn(IncomingCall) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Args, WireError>> + Send + 'static,
{
    Arc::new(move |call| -> BoxFuture<'static, _> { Box::pin(run(call)) })
}
