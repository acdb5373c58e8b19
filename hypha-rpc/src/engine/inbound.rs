//! Routes each received frame to a waiting call, a handler or an event reader.
//!
//! The driver calls [`Engine::receive`] for every frame. This function decodes only the first
//! segment of a message. The function never waits and never runs code of the program, because all
//! later messages of the connection would then wait. The function passes responses to the table of
//! sessions, passes events to their readers, and starts a new task for each call.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hypha_wire::keys::{BUILT_IN_METHODS, SERVICES};
use hypha_wire::{Message, Value, split_address};

use super::admission::Aim;
use super::session_table::AnswerLookup;
use super::sessions::Response;
use super::stats::{add, count};
use super::{Busy, CloseReason, Engine, Progress};

/// Handles incoming calls. `service::Services` implements this trait. The implementation is a type
/// parameter of the engine instead of a trait object, so that incoming calls need no dynamic
/// dispatch.
pub(crate) trait Handlers: Sized + Send + Sync + 'static {
    /// Function, stream or other object that peers may call as part of a session.
    type Object: Clone + Send + 'static;

    /// Result of looking up the callee of a call. The result is a handler, or the reason why the
    /// call is rejected.
    type Callee: Send + 'static;

    /// Finds the callee of a message. The driver calls this function, so the function must not
    /// wait.
    fn find(engine: &Engine<Self>, message: &Message) -> Self::Callee;

    /// Runs a call in a separate task, and sends its response.
    fn run(
        engine: &Arc<Engine<Self>>,
        message: Message,
        found: Self::Callee,
    ) -> impl Future<Output = ()> + Send;

    /// Rejects a call that exceeds a limit. The driver calls this function, so the function must
    /// not wait.
    fn refuse(engine: &Engine<Self>, message: &Message, busy: Busy);

    /// A call whose handler is running.
    type Running: AsRef<Progress> + Send + Sync + 'static;

    /// Returns the calls whose handlers are running.
    #[cfg_attr(target_family = "wasm", allow(dead_code, reason = "for the watchdog"))]
    fn running(&self) -> Vec<Arc<Self::Running>>;

    /// Adds a heartbeat of a call to the send queue, without waiting.
    #[cfg_attr(target_family = "wasm", allow(dead_code, reason = "for the watchdog"))]
    fn heartbeat(engine: &Engine<Self>, call: &Self::Running);

    /// Returns the number of interfaces. An interface is a service that only one peer may call.
    fn interfaces(&self) -> usize;

    /// Releases the objects that the disconnected `peer` received, and cancels the handlers that
    /// run calls of this peer.
    fn peer_gone(&self, peer: &str);

    /// Cancels the contexts of all running calls.
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

    /// Handles one message. The message comes from one frame or was joined from chunks. The
    /// permissions of a message depend on its sender, so `message` must contain the sender that the
    /// server has written.
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

    /// Passes a response to the waiting caller. If the response belongs to a notice, records that
    /// the notice was acknowledged.
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
                // An error means that the caller has dropped its future.
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
        // Increment the count before waking the monitor. The monitor marks itself as sleeping
        // before it reads the count. So either the monitor sees the new count, or this function
        // wakes the monitor.
        count(&self.counters.calls_received);
        self.activity.begin();
        // Find the callee before starting the task. The callee may be a callback in an argument of
        // another call, and the next message may be the response to that call. This response
        // removes the callback, possibly before the task runs.
        let found = H::find(self, &message);
        let aim = match message.method().unwrap_or_default() {
            method if method.starts_with(BUILT_IN_METHODS) => Aim::BuiltIn,
            method if method.starts_with(SERVICES) => Aim::Service,
            _ => Aim::Object,
        };
        let from = message.from().unwrap_or_default();
        match self.admission.admit(aim, from, message.len()) {
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

    /// Closes the connection if the workspace manager tells this client to disconnect
    /// (`docs/protocol/01-transport-websocket.md#s11`). The function checks the sender of the
    /// message, because any client can send such a message.
    fn dismissed(&self, message: &Message) {
        let manager = self.identity().manager_address();
        if manager.is_none() || message.from() != manager.as_deref() {
            return;
        }
        let main = message.main().unwrap_or_default();
        let reason = main.get("reason").and_then(Value::as_str);
        self.close(CloseReason::Dismissed(reason.unwrap_or("no reason").into()));
    }

    /// Fails the calls to a client that has disconnected. The function accepts the event only from
    /// the server. Otherwise, any client could end the calls of other clients. Only messages from
    /// the server have no sender address (`docs/protocol/02-messages.md#s12`).
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

/// Guard that decrements the number of running handlers when the task of the handler ends or is
/// aborted.
struct Running<'a, H: Handlers>(&'a Engine<H>);

impl<H: Handlers> Drop for Running<'_, H> {
    fn drop(&mut self) {
        self.0.counters.running.fetch_sub(1, Ordering::Relaxed);
    }
}
