//! From a received message to a running handler and its answer (protocol 02 §7).
//!
//! The driver calls [`Core::receive`] for every frame. It looks only at the first segment, never
//! waits and never runs user code: answers go to the table of sessions, events to their readers,
//! and calls to a task of their own, where everything else happens.

use std::{panic::AssertUnwindSafe, sync::Arc, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use tracing::Instrument as _;

use super::{
    Context, Handler, IncomingCall, Visibility,
    answer::{AnswerTo, workspace_of},
    incoming::refusal,
};
use crate::{
    call::{Answer, BUILT_IN, Direction, Exports, Failure, Found, HandedOut},
    client::{BUILT_IN_CALLS, CloseReason, Core, Response, Side, Telling, count},
    error::RejectKind,
};
use hypha_wire::{
    Args, ConnectionRef, DecodeError, EncodeError, Extra, Handle, Message, Origin, ReplyMode, Rope,
    Stamp, Value, WireError, absolute, random_id, split_address,
};

/// A method that is done within this time sends no heartbeat; the caller's patience is at least
/// twice the interval that it asked for.
const FIRST_HEARTBEAT: Duration = Duration::from_millis(250);

/// A service description up to this size is sent in one frame.
const LARGEST_DESCRIPTION: usize = 256 << 10;

impl Core {
    /// Takes one frame from the link.
    pub(crate) fn receive(self: &Arc<Self>, frame: Bytes) {
        count(&self.counters.frames_received);
        crate::client::add(&self.counters.bytes_received, frame.len());
        match Message::parse(frame) {
            Ok(message) => self.dispatch(message),
            Err(e) => {
                count(&self.counters.dropped_malformed);
                tracing::debug!("dropped a message: {e}");
            }
        }
    }

    /// Takes a message that came in chunks. Who sent it is what the server stamped on the call of
    /// `process`, never what the chunks say.
    pub(crate) fn dispatch_assembled(
        self: &Arc<Self>,
        whole: Bytes,
        context: &Context,
    ) -> Result<(), DecodeError> {
        let message = Message::parse(whole)?;
        let user = context
            .message()
            .user()
            .unwrap_or_else(|| Bytes::from_static(&[0xc0]));
        self.dispatch(message.restamped(&Stamp {
            to: context.to(),
            from: context.from(),
            ws: context.workspace(),
            user: &user,
        })?);
        Ok(())
    }

    fn dispatch(self: &Arc<Self>, message: Message) {
        match message.kind() {
            "method" => self.dispatch_method(message),
            "" => count(&self.counters.dropped_malformed),
            _ => {
                match message.kind() {
                    "client_disconnected" => self.client_disconnected(&message),
                    "force-exit" => self.dismissed(&message),
                    _ => {}
                }
                if !self.events.deliver(&message) {
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
        if method.starts_with("services.") {
            return self.begin_call(message);
        }
        let answer = method
            .rsplit_once('.')
            .map(|(session, member)| match member {
                "heartbeat" => {
                    if !self.heartbeat(session, from) {
                        count(&self.counters.dropped_late);
                    }
                    true
                }
                "resolve" | "reject" => {
                    match self.answer(session, from) {
                        Answer::Final(waiting, ended) => {
                            drop(ended);
                            let resolved = member == "resolve";
                            let message = message.clone();
                            // A caller that has gone away in this instant does not want it any more.
                            let _ = waiting.send(if resolved {
                                Response::Resolve(message)
                            } else {
                                Response::Reject(message)
                            });
                        }
                        Answer::Unknown => count(&self.counters.dropped_late),
                        Answer::Stranger => count(&self.counters.dropped_stranger),
                    }
                    true
                }
                _ => false,
            });
        if answer != Some(true) {
            self.begin_call(message);
        }
    }

    fn begin_call(self: &Arc<Self>, message: Message) {
        count(&self.counters.calls_received);
        // Now, because what is called may be gone when its turn comes: a callback ends with its call.
        let found = self.find_handler(&message);
        let (permits, most) = if message.method().is_some_and(|m| m.starts_with(BUILT_IN)) {
            (&self.running_built_in, BUILT_IN_CALLS)
        } else {
            (&self.running, self.options.max_concurrent_calls)
        };
        let built_in = std::ptr::eq(permits, &self.running_built_in);
        let leaving = !built_in && self.leaving.load(Ordering::Relaxed);
        let permit = Arc::clone(permits).try_acquire_owned().ok();
        let permit = permit.filter(|_| !leaving);
        let room = self.room_for_call(message.len());
        match (permit, room) {
            (Some(permit), Some(room)) => {
                let core = Arc::clone(self);
                self.spawn(async move {
                    core.counters.running.fetch_add(1, Ordering::Relaxed);
                    let running = Running(&core);
                    core.run_call(message, found).await;
                    drop(running);
                    drop((permit, room));
                });
            }
            (permit, _) => {
                count(&self.counters.refused_busy);
                let text = if leaving {
                    "the client is disconnecting".to_owned()
                } else if permit.is_none() {
                    format!("too many calls in progress (at most {most})")
                } else {
                    let most = self.options.max_call_bytes;
                    format!("the calls in progress are too large (at most {most} bytes)")
                };
                let error = refusal(RejectKind::Busy, "RuntimeError", text);
                // The driver must not wait for room, and what waits for it must have a bound.
                if let Some(frame) = self.refusal_frame(&message, &error) {
                    if !self.try_enqueue(frame.into_bytes()) {
                        count(&self.counters.undelivered);
                    }
                }
            }
        }
    }

    /// Runs one incoming call from its decoding to its answer.
    async fn run_call(self: &Arc<Self>, message: Message, found: Result<Callee, WireError>) {
        let (extra, key) = match self.read_extra(&message) {
            Ok(read) => read,
            Err(error) => {
                count(&self.counters.dropped_malformed);
                return self.refuse(&message, error).await;
            }
        };
        let answer_to = match AnswerTo::new(&message, &extra, key.clone()) {
            Ok(answer_to) => answer_to,
            Err(reason) => {
                count(&self.counters.dropped_malformed);
                return tracing::debug!("dropped a call: {reason}");
            }
        };
        let method = found.as_ref().map_or("unknown", |callee| &callee.label);
        let from = message.from().unwrap_or_default();
        let telling = Telling::new(Side::Callee, method, from, message.session());
        let outcome = match found {
            Ok(Callee { handler, label }) => {
                let origin = Origin {
                    home: Arc::clone(self) as Arc<dyn ConnectionRef>,
                    message: message.clone(),
                };
                let context = Context::new(message.clone(), self.identity().connection_type, key);
                let _running = self.calls.begin(context.clone());
                let incoming = IncomingCall::new(context, extra.args.of(origin), label.clone());
                let run = std::panic::catch_unwind(AssertUnwindSafe(|| handler(incoming)));
                let run = async {
                    match run {
                        Ok(future) => AssertUnwindSafe(future).catch_unwind().await,
                        Err(panic) => Err(panic),
                    }
                };
                self.with_heartbeats(&answer_to, run)
                    .instrument(telling.span())
                    .await
                    .unwrap_or_else(|panic| Err(panicked(&label, panic.as_ref())))
            }
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            count(&self.counters.calls_failed);
        }
        telling.ended(outcome.as_ref().map_or("failed", |_| "ok"));
        let Some(answer_to) = answer_to else {
            if let Err(error) = outcome {
                tracing::warn!(
                    "{}: {}",
                    message.method().unwrap_or_default(),
                    error.message
                );
            }
            return;
        };
        let mut handed_out = None;
        let frame = match outcome {
            Ok(args) => self.result_frame(args, &answer_to).map(|(frame, kept)| {
                handed_out = kept;
                frame
            }),
            Err(error) => self.error_frame(&error, &answer_to),
        };
        let sent = match frame {
            Ok(frame) => self.deliver(frame, &answer_to).await,
            Err(e) => Err(e),
        };
        if let (Ok(()), Some(handed_out)) = (&sent, handed_out) {
            handed_out.stays();
        }
        let sent = match sent {
            Ok(()) | Err(Failure::Lost { .. }) => sent,
            // The caller would wait in vain for what cannot get there.
            Err(e) => {
                let text = format!("the result of {} cannot be sent: {e}", answer_to.label);
                match self.error_frame(&WireError::new(text), &answer_to) {
                    Ok(frame) => self.deliver(frame, &answer_to).await,
                    Err(e) => Err(e),
                }
            }
        };
        if let Err(e) = sent {
            count(&self.counters.undelivered);
            tracing::debug!("the answer of {} was not delivered: {e}", answer_to.label);
        }
    }

    /// The second segment of a call, and the key of its caller if it was encrypted (07 §5).
    fn read_extra(&self, message: &Message) -> Result<(Extra, Option<Bytes>), WireError> {
        let unreadable = |e: DecodeError| {
            let text = format!("the arguments cannot be read: {e}");
            refusal(RejectKind::InvalidArguments, "ValueError", text)
        };
        let extra = message.extra().map_err(unreadable)?;
        let Some(encrypted) = &extra.encrypted else {
            return Ok((extra, None));
        };
        let (plain, key) = self.secrecy.open(encrypted).map_err(|reason| {
            let (from, method) = (message.from(), message.method());
            let (from, method) = (from.unwrap_or_default(), method.unwrap_or_default());
            let text = format!(
                "Decryption failed for method {from}:{method}. Invalid key or tampered data. ({reason})"
            );
            refusal(RejectKind::PermissionDenied, "Exception", text)
        })?;
        let extra = Extra::parse(plain).map_err(unreadable)?;
        Ok((extra, Some(key)))
    }

    async fn deliver(self: &Arc<Self>, frame: Rope, answer_to: &AnswerTo) -> Result<(), Failure> {
        // Before anything is sent in chunks the built-in service of the receiver is fetched. Were
        // that answer sent in chunks too, two peers could ask each other for ever.
        if answer_to.label.starts_with(BUILT_IN) && frame.len() <= LARGEST_DESCRIPTION {
            return self.send_whole(frame).await;
        }
        self.send_answer(frame, &answer_to.to, &answer_to.parent)
            .await
    }

    /// Polls the handler, and tells the caller now and then that it is still running.
    async fn with_heartbeats<T>(
        &self,
        answer_to: &Option<AnswerTo>,
        run: impl Future<Output = T>,
    ) -> T {
        let beat = answer_to
            .as_ref()
            .and_then(|a| Some((a, a.heartbeat.as_ref()?)));
        let Some((answer_to, (path, interval))) = beat else {
            return run.await;
        };
        let mut run = std::pin::pin!(run);
        let mut wait = FIRST_HEARTBEAT.min(*interval);
        loop {
            if let Ok(outcome) = tokio::time::timeout(wait, &mut run).await {
                return outcome;
            }
            wait = *interval;
            if !self.is_connected() {
                // It would only pile up.
                continue;
            }
            if let Ok(frame) = self.answer_frame(Args::new(0, 0), path, answer_to) {
                tokio::select! {
                    biased;
                    outcome = &mut run => return outcome,
                    // Only the driver's end can make this fail, and that ends this task as well.
                    _ = self.send_whole(frame) => {}
                }
            }
        }
    }

    /// Finds what is called and checks that the caller may call it (02 §7.5, §7.6).
    fn find_handler(&self, message: &Message) -> Result<Callee, WireError> {
        let identity = self.identity();
        let method = message.method().unwrap_or_default();
        let from = message.from().unwrap_or_default();
        let (own, caller) = (identity.workspace.as_str(), workspace_of(from));
        let to = absolute(message.to().unwrap_or_default(), caller);
        let to = workspace_of(&to);
        if own != "*" && to != own {
            return Err(refusal(
                RejectKind::PermissionDenied,
                "ValueError",
                format!("Workspace mismatch: {to} != {own}"),
            ));
        }
        let Some(path) = method.strip_prefix("services.") else {
            return match method.rsplit_once('.') {
                Some((session, object)) => self.find_object(message, session, object),
                None => Err(refusal(
                    RejectKind::UnknownMethod,
                    "KeyError",
                    format!(
                        "Method not found: {from}:{method} at {}",
                        identity.client_id
                    ),
                )),
            };
        };
        let (id, path) = path.split_once('.').unwrap_or((path, ""));
        let registered = self.service(id).ok_or_else(|| expired(message))?;
        let Some(handler) = registered.method(path) else {
            return Err(if registered.has_value(path) {
                refusal(
                    RejectKind::UnknownMethod,
                    "AssertionError",
                    format!("Invalid method: {from}:{method}"),
                )
            } else {
                expired(message)
            });
        };
        let service = &registered.service;
        if let Some(only) = &registered.only_caller {
            if only != from {
                return Err(refusal(
                    RejectKind::PermissionDenied,
                    "PermissionError",
                    format!(
                        "Permission denied for _rintf callback {from}:{method}, caller {from} is not \
                         the allowed caller {only}"
                    ),
                ));
            }
        }
        let manager = identity.manager_id.as_deref();
        let allowed = service.visibility != Visibility::Protected
            || registered.only_caller.is_some()
            || caller == own
            || service.authorized_workspaces.iter().any(|w| w == caller)
            || manager.is_some_and(|m| from.strip_prefix("*/") == Some(m));
        if !allowed {
            return Err(refusal(
                RejectKind::PermissionDenied,
                "PermissionError",
                format!(
                    "Permission denied for invoking protected method {from}:{method}, \
                     workspace mismatch: {own} != {caller}"
                ),
            ));
        }
        Ok(Callee {
            handler: Arc::clone(handler),
            label: format!("{id}.{path}"),
        })
    }

    /// Finds a callback, or another object that was handed out with a message.
    fn find_object(
        &self,
        message: &Message,
        session: &str,
        object: &str,
    ) -> Result<Callee, WireError> {
        let (from, parent) = (message.from().unwrap_or_default(), message.parent());
        let method = message.method().unwrap_or_default();
        self.with_object(session, object, from, parent, |found| {
            let (kind, class, text) = match found {
                Found::Object(object) => {
                    return Ok(Callee {
                        handler: object.handler(object.turn()),
                        label: object.name().to_owned(),
                    });
                }
                Found::NoSession => (
                    RejectKind::Expired,
                    "KeyError",
                    format!("Session not found: {from}:{method}"),
                ),
                Found::NoObject => (
                    RejectKind::Expired,
                    "KeyError",
                    format!("Method expired or not found: {from}:{method}"),
                ),
                Found::Stranger(target) => (
                    RejectKind::PermissionDenied,
                    "PermissionError",
                    format!(
                        "Access denied for method call ({from}:{method}) from {from} to target {target}"
                    ),
                ),
                Found::ParentClosed => (
                    RejectKind::Expired,
                    "Exception",
                    format!("Parent session was closed: {}", parent.unwrap_or_default()),
                ),
            };
            Err(refusal(kind, class, text))
        })
    }

    /// The answer with a result. What it hands out is kept in a session of its own: inside of the
    /// session in which the called function was handed out, if that is what it was.
    fn result_frame(
        self: &Arc<Self>,
        args: Args,
        answer_to: &AnswerTo,
    ) -> Result<(Rope, Option<HandedOut>), Failure> {
        if !args.has_handles() {
            let frame = self.answer_frame(args, &answer_to.resolve, answer_to)?;
            return Ok((frame, None));
        }
        let identity = self.identity();
        let session = match &answer_to.within {
            Some(outer) if self.has_session(outer) => format!("{outer}.{}", random_id()),
            _ => random_id(),
        };
        let to = &answer_to.to;
        let mut exports = Exports::new(self, &identity, &session, to, Direction::Answer);
        let address = identity.address();
        let head = answer_to.head(&address, &answer_to.resolve);
        let name = &mut |handle: &Handle| exports.name(handle);
        let message = args.finish_with(&head, ReplyMode::None, name)?;
        let message = self.sealed(message, answer_to)?;
        Ok((message, Some(exports.keep(None)?)))
    }

    fn answer_frame(
        &self,
        args: Args,
        path: &str,
        answer_to: &AnswerTo,
    ) -> Result<Rope, EncodeError> {
        let address = self.identity().address();
        let nothing =
            &mut |_: &Handle| Err(EncodeError::new("nothing can be handed out with this"));
        let message =
            args.finish_with(&answer_to.head(&address, path), ReplyMode::None, nothing)?;
        self.sealed(message, answer_to)
    }

    /// The answer to an encrypted call is encrypted to its caller.
    fn sealed(&self, message: Rope, answer_to: &AnswerTo) -> Result<Rope, EncodeError> {
        match &answer_to.key {
            Some(key) => self.secrecy.seal(message, key),
            None => Ok(message),
        }
    }

    fn error_frame(&self, error: &WireError, answer_to: &AnswerTo) -> Result<Rope, Failure> {
        let mut args = Args::new(1, 0);
        args.push("error", error);
        Ok(self.answer_frame(args, &answer_to.reject, answer_to)?)
    }

    /// Rejects a call whose promise could not be read: the address follows from the first segment.
    async fn refuse(&self, message: &Message, error: WireError) {
        if let Some(frame) = self.refusal_frame(message, &error) {
            if self.send_whole(frame).await.is_err() {
                count(&self.counters.undelivered);
            }
        }
    }

    /// `None` if the caller does not wait for an answer.
    fn refusal_frame(&self, message: &Message, error: &WireError) -> Option<Rope> {
        let answer_to = AnswerTo::star(message.from()?, message.session()?, None);
        self.error_frame(error, &answer_to).ok()
    }

    /// The manager tells this client to leave (01 §11).
    fn dismissed(&self, message: &Message) {
        let manager = self.identity().manager_id.clone();
        let from = message.from().and_then(|from| from.strip_prefix("*/"));
        if from.is_none() || from != manager.as_deref() {
            return;
        }
        let main = message.main().unwrap_or_default();
        let reason = main.get("reason").and_then(Value::as_str);
        self.close(CloseReason::Dismissed(reason.unwrap_or("no reason").into()));
    }

    /// Ends what waits for a client that has left. Only the server's own word counts: its events
    /// have no sender (02 §12).
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
            // `id` comes with and without the workspace (04 §11).
            Some(ws) => {
                let prefix = format!("{ws}/");
                format!("{prefix}{}", id.strip_prefix(&prefix).unwrap_or(id))
            }
            None => id.to_owned(),
        };
        self.peer_gone(&peer);
    }
}

/// Counts a handler out, also when its task is aborted.
struct Running<'a>(&'a Core);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.counters.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is called.
struct Callee {
    handler: Handler,
    /// `service.method`, or the name of a callback.
    label: String,
}

fn expired(message: &Message) -> WireError {
    let (from, method) = (
        message.from().unwrap_or_default(),
        message.method().unwrap_or_default(),
    );
    refusal(
        RejectKind::UnknownMethod,
        "KeyError",
        format!("Method expired or not found: {from}:{method}"),
    )
}

fn panicked(label: &str, panic: &(dyn std::any::Any + Send)) -> WireError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into());
    tracing::error!("{label} panicked: {text}");
    let message = format!("{label} panicked: {text}");
    WireError {
        trace: format!("Panic: {message}\n"),
        message,
        name: None,
        data: None,
    }
}
