//! From a received message to a running handler and its answer (protocol 02 §7).
//!
//! The driver calls [`Core::receive`] for every frame. It looks only at the first segment, never
//! waits and never runs user code: answers go to the table of sessions, events to their readers,
//! and calls to a task of their own, where everything else happens.

use std::{panic::AssertUnwindSafe, sync::Arc, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;

use super::{Context, Handler, Incoming, Visibility, incoming::refusal};
use crate::{
    call::{Answer, BUILT_IN, Failure},
    client::{BUILT_IN_CALLS, Core, Reply as Answered, count},
    error::RejectKind,
    wire::{
        Args, DecodeError, Extra, FullPromise, Head, Message, Promise, Reply, Stamp, Value,
        WireError, absolute, split_address,
    },
};

/// A method that is done within this time sends no heartbeat; the caller's patience is at least
/// twice the interval that it asked for.
const FIRST_HEARTBEAT: Duration = Duration::from_millis(250);

/// However often a caller asks for a sign of life, it gets ten in a second.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

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
                if message.kind() == "client_disconnected" {
                    self.client_disconnected(&message);
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
                        Answer::Final(waiting) => {
                            let resolved = member == "resolve";
                            let message = message.clone();
                            // A caller that has gone away in this instant does not want it any more.
                            let _ = waiting.send(if resolved {
                                Answered::Resolve(message)
                            } else {
                                Answered::Reject(message)
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
        let (permits, most) = if message.method().is_some_and(|m| m.starts_with(BUILT_IN)) {
            (&self.running_built_in, BUILT_IN_CALLS)
        } else {
            (&self.running, self.options.max_concurrent_calls)
        };
        match Arc::clone(permits).try_acquire_owned() {
            Ok(permit) => {
                let core = Arc::clone(self);
                self.spawn(async move {
                    core.counters.running.fetch_add(1, Ordering::Relaxed);
                    let running = Running(&core);
                    core.run_call(message).await;
                    drop(running);
                    drop(permit);
                });
            }
            Err(_) => {
                count(&self.counters.refused_busy);
                let text = if self.leaving.load(Ordering::Relaxed) {
                    "the client is disconnecting".to_owned()
                } else {
                    format!("too many calls in progress (at most {most})")
                };
                let error = refusal(RejectKind::Busy, "RuntimeError", text);
                // The driver must not wait for room, and what waits for it must have a bound.
                if let Some(frame) = self.refusal_frame(&message, &error) {
                    if !self.try_enqueue(frame) {
                        count(&self.counters.undelivered);
                    }
                }
            }
        }
    }

    /// Runs one incoming call from its decoding to its answer.
    async fn run_call(self: &Arc<Self>, message: Message) {
        let extra = match message.extra() {
            Ok(extra) => extra,
            Err(e) => {
                count(&self.counters.dropped_malformed);
                let text = format!("the arguments cannot be read: {e}");
                let error = refusal(RejectKind::InvalidArguments, "ValueError", text);
                return self.refuse(&message, error).await;
            }
        };
        let answer_to = match AnswerTo::new(&message, &extra) {
            Ok(answer_to) => answer_to,
            Err(reason) => {
                count(&self.counters.dropped_malformed);
                return tracing::debug!("dropped a call: {reason}");
            }
        };
        let outcome = match self.find_handler(&message, extra) {
            Ok((handler, incoming)) => {
                let label = incoming.label().to_owned();
                let run = std::panic::catch_unwind(AssertUnwindSafe(|| handler(incoming)));
                let run = async {
                    match run {
                        Ok(future) => AssertUnwindSafe(future).catch_unwind().await,
                        Err(panic) => Err(panic),
                    }
                };
                self.with_heartbeats(&answer_to, run)
                    .await
                    .unwrap_or_else(|panic| Err(panicked(&label, panic.as_ref())))
            }
            Err(error) => Err(error),
        };
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
        let frame = match outcome {
            Ok(args) => self.answer_frame(args, &answer_to.resolve, &answer_to),
            Err(error) => self.error_frame(&error, &answer_to),
        };
        let sent = match frame {
            Ok(frame) => self.deliver(frame, &answer_to).await,
            Err(e) => Err(e.into()),
        };
        let sent = match sent {
            Ok(()) | Err(Failure::Lost { .. }) => sent,
            // The caller would wait in vain for what cannot get there.
            Err(e) => {
                let text = format!("the result of {} cannot be sent: {e}", answer_to.label);
                match self.error_frame(&WireError::new(text), &answer_to) {
                    Ok(frame) => self.deliver(frame, &answer_to).await,
                    Err(e) => Err(e.into()),
                }
            }
        };
        if let Err(e) = sent {
            count(&self.counters.undelivered);
            tracing::debug!("the answer of {} was not delivered: {e}", answer_to.label);
        }
    }

    async fn deliver(&self, frame: Bytes, answer_to: &AnswerTo) -> Result<(), Failure> {
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
            if let Ok(frame) = self.answer_frame(Args::new(0, 0), path, answer_to) {
                tokio::select! {
                    biased;
                    outcome = &mut run => return outcome,
                    // Only the driver's end can make this fail, and that ends this task as well.
                    _ = self.enqueue(frame) => {}
                }
            }
        }
    }

    /// Finds what is called and checks that the caller may call it (02 §7.5, §7.6).
    fn find_handler(
        &self,
        message: &Message,
        extra: Extra,
    ) -> Result<(Handler, Incoming), WireError> {
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
            return Err(if method.contains('.') {
                refusal(
                    RejectKind::Expired,
                    "KeyError",
                    format!("Session not found: {from}:{method}"),
                )
            } else {
                refusal(
                    RejectKind::UnknownMethod,
                    "KeyError",
                    format!(
                        "Method not found: {from}:{method} at {}",
                        identity.client_id
                    ),
                )
            });
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
        let manager = identity.manager_id.as_deref();
        let allowed = service.visibility != Visibility::Protected
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
        let context = Context::new(message.clone(), self.connection_type());
        let incoming = Incoming::new(context, extra.args, format!("{id}.{path}"));
        Ok((Arc::clone(handler), incoming))
    }

    fn answer_frame(
        &self,
        args: Args,
        path: &str,
        answer_to: &AnswerTo,
    ) -> Result<Bytes, crate::wire::EncodeError> {
        let head = Head {
            from: &self.identity().address(),
            to: &answer_to.to,
            method: path,
            parent: Some(&answer_to.parent),
            session: None,
        };
        args.finish(&head, Reply::None)
    }

    fn error_frame(
        &self,
        error: &WireError,
        answer_to: &AnswerTo,
    ) -> Result<Bytes, crate::wire::EncodeError> {
        let mut args = Args::new(1, 0);
        args.push("error", error);
        self.answer_frame(args, &answer_to.reject, answer_to)
    }

    /// Rejects a call whose promise could not be read: the address follows from the first segment.
    async fn refuse(&self, message: &Message, error: WireError) {
        if let Some(frame) = self.refusal_frame(message, &error) {
            if self.enqueue(frame).await.is_err() {
                count(&self.counters.undelivered);
            }
        }
    }

    /// `None` if the caller does not wait for an answer.
    fn refusal_frame(&self, message: &Message, error: &WireError) -> Option<Bytes> {
        let answer_to = AnswerTo::star(message.from()?, message.session()?, None);
        self.error_frame(error, &answer_to).ok()
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

/// Where the answer of a call goes.
struct AnswerTo {
    /// The caller, an absolute address.
    to: String,
    /// The caller's session.
    parent: String,
    resolve: String,
    reject: String,
    heartbeat: Option<(String, Duration)>,
    label: String,
}

impl AnswerTo {
    fn star(from: &str, session: &str, interval: Option<Duration>) -> Self {
        AnswerTo {
            to: from.to_owned(),
            parent: session.to_owned(),
            resolve: format!("{session}.resolve"),
            reject: format!("{session}.reject"),
            heartbeat: interval.map(|interval| (format!("{session}.heartbeat"), interval)),
            label: String::new(),
        }
    }

    /// `None` for a call that wants no answer; an error for a promise that cannot be kept.
    fn new(message: &Message, extra: &Extra) -> Result<Option<Self>, String> {
        let from = message.from().unwrap_or_default();
        let seconds = |t: Option<f64>| {
            t.filter(|t| *t > 0.0)
                .and_then(|t| Duration::try_from_secs_f64(t).ok())
                .map(|interval| interval.max(MIN_INTERVAL))
        };
        let mut answer_to = match &extra.promise {
            None => return Ok(None),
            Some(Promise::Star) => {
                let session = message.session().ok_or("a promise `*` without session")?;
                Self::star(from, session, seconds(extra.interval))
            }
            Some(Promise::Full(promise)) => {
                let FullPromise {
                    heartbeat,
                    interval,
                    resolve,
                    reject,
                } = &**promise;
                // Functions may point anywhere; an answer goes to the caller only (02 §15).
                let workspace = workspace_of(from);
                for function in [Some(resolve), Some(reject), heartbeat.as_ref()] {
                    let Some(function) = function else { continue };
                    let target = absolute(&function.target, workspace);
                    if target != from {
                        return Err(format!("a promise of {from} that points to {target}"));
                    }
                }
                let interval = seconds(*interval);
                let heartbeat = heartbeat.as_ref().map(|h| h.method.clone()).zip(interval);
                AnswerTo {
                    to: from.to_owned(),
                    parent: message.session().unwrap_or_default().to_owned(),
                    resolve: resolve.method.clone(),
                    reject: reject.method.clone(),
                    heartbeat,
                    label: String::new(),
                }
            }
        };
        answer_to.label = message.method().unwrap_or_default().to_owned();
        Ok(Some(answer_to))
    }
}

fn workspace_of(address: &str) -> &str {
    split_address(address).map_or("", |(workspace, _)| workspace)
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
