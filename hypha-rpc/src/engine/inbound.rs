//! Routes received frames to a waiting call, a handler or an event reader.
//!
//! The driver calls [`Engine::receive`] for every frame. The function decodes only the first
//! segment. It never waits and never runs code of the program, because all later messages of the
//! connection would otherwise wait. It passes responses to the table of sessions, events to their
//! readers, and each call to a new task.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hypha_wire::keys::{BUILT_IN_METHODS, SERVICES};
use hypha_wire::{Message, Value, split_address};

use super::session_table::AnswerLookup;
use super::sessions::Response;
use super::stats::{add, count};
use super::{Busy, CloseReason, Engine, Progress};

/// Dispatch of incoming calls, implemented by `service::Services`. It is a type parameter of the
/// engine instead of a trait object, so that an incoming call costs no indirection.
pub(crate) trait Handlers: Sized + Send + Sync + 'static {
    /// Function, stream or other object that peers may call as part of a session.
    type Object: Clone + Send + 'static;

    /// Result of looking up a call: a handler, or the reason why the call is rejected.
    type Callee: Send + 'static;

    /// Finds the callee of a message. Called by the driver, so it must not wait.
    fn find(engine: &Engine<Self>, message: &Message) -> Self::Callee;

    /// Runs a call in a separate task, and sends its response.
    fn run(
        engine: &Arc<Engine<Self>>,
        message: Message,
        found: Self::Callee,
    ) -> impl Future<Output = ()> + Send;

    /// Rejects a call that exceeds a limit. Called by the driver, so it must not wait.
    fn refuse(engine: &Engine<Self>, message: &Message, busy: Busy);

    /// A call whose handler is running.
    type Running: AsRef<Progress> + Send + Sync + 'static;

    /// Returns the calls whose handlers are running.
    #[cfg_attr(target_family = "wasm", allow(dead_code, reason = "for the watchdog"))]
    fn running(&self) -> Vec<Arc<Self::Running>>;

    /// Queues a heartbeat of a call, without waiting.
    #[cfg_attr(target_family = "wasm", allow(dead_code, reason = "for the watchdog"))]
    fn heartbeat(engine: &Engine<Self>, call: &Self::Running);

    /// Returns the number of interfaces, services that only one peer may call.
    fn interfaces(&self) -> usize;

    /// Releases the objects that the disconnected `peer` received, and cancels the handlers of its
    /// calls.
    fn peer_gone(&self, peer: &str);

    /// Cancels the contexts of all running handlers.
    fn cancel_all(&self);

    /// Drops all services.
    fn clear(&self);
}

impl<H: Handlers> Engine<H> {
    /// Handles one frame from the link.
    pub(super) fn receive(self: &Arc<Self>, frame: Bytes) {
        count(&self.counters.frames_received);
        add(&self.counters.bytes_received, frame.len());
        match Message::parse(frame) {
            Ok(message) => self.dispatch(message),
            Err(e) => {
                count(&self.counters.dropped_malformed);
                tracing::debug!("dropped a message: {e}");
            }
        }
    }

    /// Handles one message, from a frame or joined from chunks. Permissions depend on the sender,
    /// so the message must contain the sender that the server wrote.
    pub(crate) fn dispatch(self: &Arc<Self>, message: Message) {
        match message.kind() {
            "method" => self.dispatch_method(message),
            "" => count(&self.counters.dropped_malformed),
            kind => {
                match kind {
                    "client_disconnected" => self.client_disconnected(&message),
                    "force-exit" => self.dismissed(&message),
                    _ => {}
                }
                if !self
                    .events
                    .deliver(&message, self.settings.max_decoded_bytes)
                {
                    count(&self.counters.dropped_events);
                }
            }
        }
    }

    fn dispatch_method(self: &Arc<Self>, message: Message) {
        let (Some(method), Some(from)) = (message.method(), message.from()) else {
            return count(&self.counters.dropped_malformed);
        };
        if split_address(from).is_none() {
            return count(&self.counters.dropped_malformed);
        }
        if method.starts_with(SERVICES) {
            return self.begin_call(message);
        }
        match method.rsplit_once('.') {
            Some((session, "heartbeat")) => {
                let is_known =
                    self.sessions.heartbeat(session, from) || self.notices.knows(session, from);
                if !is_known {
                    count(&self.counters.dropped_late);
                }
            }
            Some((session, "resolve")) => self.answer(&message, session, from, Response::Resolve),
            Some((session, "reject")) => self.answer(&message, session, from, Response::Reject),
            _ => self.begin_call(message),
        }
    }

    /// Passes a response to the waiting caller, or records it as the acknowledgment of a notice.
    fn answer(
        &self,
        message: &Message,
        session: &str,
        from: &str,
        response: fn(Message) -> Response,
    ) {
        match self.sessions.answer(session, from) {
            AnswerLookup::Final(waiting, ended) => {
                drop(ended);
                // An error means that the caller dropped its future in the meantime.
                let _ = waiting.send(response(message.clone()));
            }
            AnswerLookup::Unknown => {
                let response = response(message.clone());
                let is_rejected = matches!(response, Response::Reject(_));
                if !self.acknowledged(message, session, from, is_rejected) {
                    count(&self.counters.dropped_late);
                }
            }
            AnswerLookup::Stranger => count(&self.counters.dropped_stranger),
        }
    }

    fn begin_call(self: &Arc<Self>, message: Message) {
        // Count before waking the monitor. The monitor marks itself as sleeping before it reads the
        // count, so it either sees this call in the count or is woken here.
        count(&self.counters.calls_received);
        self.activity.begin();
        // Look up the callee before the task starts: the next message may be the response to the
        // call that owns a callback. That response removes the callback, possibly before the task
        // runs.
        let found = H::find(self, &message);
        let built_in = message
            .method()
            .is_some_and(|m| m.starts_with(BUILT_IN_METHODS));
        let from = message.from().unwrap_or_default();
        match self.admission.admit(built_in, from, message.len()) {
            Ok(permit) => {
                let engine = Arc::clone(self);
                self.spawn(async move {
                    engine.counters.running.fetch_add(1, Ordering::Relaxed);
                    let running = Running(&engine);
                    H::run(&engine, message, found).await;
                    drop(running);
                    drop(permit);
                });
            }
            Err(busy) => {
                count(&self.counters.refused_busy);
                H::refuse(self, &message, busy);
            }
        }
    }

    /// Closes the connection if the manager tells this client to disconnect
    /// (`docs/protocol/01-transport-websocket.md#s11`). Checks the sender, because any client can
    /// send this message.
    fn dismissed(&self, message: &Message) {
        let manager = self.identity().manager_address();
        if manager.is_none() || message.from() != manager.as_deref() {
            return;
        }
        let main = message.main().unwrap_or_default();
        let reason = main.get("reason").and_then(Value::as_str);
        self.close(CloseReason::Dismissed(reason.unwrap_or("no reason").into()));
    }

    /// Fails the calls to a client that disconnected. Accepts the event only from the server:
    /// otherwise any client could end the calls of others. The server is the only sender without an
    /// address (`docs/protocol/02-messages.md#s12`).
    fn client_disconnected(&self, message: &Message) {
        if message.from().is_some() || message.user().is_some() {
            return;
        }
        let Ok(main) = message.main() else { return };
        let Some(data) = main.get("data") else { return };
        let text = |key: &str| data.get(key).and_then(Value::as_str);
        let (Some(id), workspace) = (text("id"), text("workspace")) else {
            return;
        };
        let peer = match workspace {
            // Servers send `id` with or without the workspace (docs/protocol/04-services.md#s11).
            Some(ws) => {
                let prefix = format!("{ws}/");
                format!("{prefix}{}", id.strip_prefix(&prefix).unwrap_or(id))
            }
            None => id.to_owned(),
        };
        self.peer_gone(&peer);
    }
}

/// Guard that decrements the number of running handlers, even if the task is aborted.
struct Running<'a, H: Handlers>(&'a Engine<H>);

impl<H: Handlers> Drop for Running<'_, H> {
    fn drop(&mut self) {
        self.0.counters.running.fetch_sub(1, Ordering::Relaxed);
    }
}
