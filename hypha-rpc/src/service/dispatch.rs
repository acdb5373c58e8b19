//! Dispatches incoming calls to their handlers, and sends the responses
//! (`docs/protocol/02-messages.md#s7`).
//!
//! The engine calls [`Handlers::find`] in the driver, and [`Handlers::run`] in a separate task. The
//! messages of rejections are those of the Python client, because other clients match on them.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tracing::Instrument as _;

use super::answer::{AnswerTo, workspace_of};
use super::calls::{RunningCall, Within};
use super::incoming::refusal;
use super::permission::{Caller, Denied};
use super::{
    Context, Direction, Engine, Exported, Exports, HandedOut, Handler, IncomingCall, Services,
};
use crate::engine::{Busy, CallSpan, Failure, Handlers, ObjectLookup, Side, count};
use crate::error::RejectKind;
use hypha_wire::keys::{BUILT_IN_METHODS, SERVICES};
use hypha_wire::{
    Args, ConnectionRef, DecodeError, EncodeError, Extra, Handle, Message, ReplyMode, Rope,
    WireError, absolute_address, random_id,
};

/// Time to the first heartbeat, unless the caller requests a shorter interval. No heartbeat is sent
/// for a method that ends earlier. Callers wait for at least twice the interval that they request.
const FIRST_HEARTBEAT: Duration = Duration::from_millis(250);

/// Size in bytes from which requests are decoded on a blocking thread. Decoding takes milliseconds,
/// which would delay heartbeats and other handlers.
const LARGE_REQUEST: usize = 1 << 20;

/// Maximum size in bytes of a service description that is sent in one frame.
const LARGEST_DESCRIPTION: usize = 256 << 10;

impl Handlers for Services {
    type Object = Exported;
    type Callee = Result<Callee, WireError>;
    type Running = RunningCall;

    fn find(engine: &Engine, message: &Message) -> Self::Callee {
        find_handler(engine, message)
    }

    fn run(
        engine: &Arc<Engine>,
        message: Message,
        found: Self::Callee,
    ) -> impl Future<Output = ()> + Send {
        run_call(engine, message, found)
    }

    fn refuse(engine: &Engine, message: &Message, busy: Busy) {
        let error = refusal(RejectKind::Busy, "RuntimeError", busy.to_string());
        // The driver must not wait for room, and the number of waiting frames must be bounded. If
        // the queue is full, the rejection is dropped, and the caller's idle timeout ends the call.
        if let Some(frame) = refusal_frame(engine, message, &error) {
            if !engine.outbound.try_enqueue(frame.into_bytes()) {
                count(&engine.counters.undelivered);
            }
        }
    }

    fn running(&self) -> Vec<Arc<RunningCall>> {
        self.calls.running()
    }

    fn heartbeat(engine: &Engine, call: &RunningCall) {
        let Some(answer_to) = &call.answer_to else {
            return;
        };
        let Some((path, _)) = &answer_to.heartbeat else {
            return;
        };
        // If the queue is full, the heartbeat is dropped, and the next heartbeat replaces it.
        if let Ok(frame) = answer_frame(engine, Args::new(0, 0), path, answer_to) {
            engine.outbound.try_enqueue(frame.into_bytes());
        }
    }

    fn interfaces(&self) -> usize {
        Services::interfaces(self)
    }

    fn peer_gone(&self, peer: &str) {
        Services::peer_gone(self, peer);
    }

    fn cancel_all(&self) {
        self.calls.cancel(|_| true);
    }

    fn clear(&self) {
        Services::clear(self);
    }
}

/// Runs one incoming call, from decoding its arguments to sending its response.
async fn run_call(engine: &Arc<Engine>, message: Message, found: Result<Callee, WireError>) {
    let (extra, key) = match read_extra(engine, &message) {
        Ok(read) => read,
        Err(error) => {
            count(&engine.counters.dropped_malformed);
            return refuse(engine, &message, error).await;
        }
    };
    let answer_to = match AnswerTo::new(&message, &extra, key.clone()) {
        Ok(answer_to) => answer_to.map(Arc::new),
        // Send no rejection: its destination would be in the promise, which is invalid.
        Err(reason) => {
            count(&engine.counters.dropped_malformed);
            return tracing::debug!("dropped a call: {reason}");
        }
    };
    let method = found.as_ref().map_or("unknown", |callee| &callee.label);
    let from = message.from().unwrap_or_default();
    let call_span = CallSpan::new(Side::Callee, method, from, message.session());
    let outcome = match found {
        Ok(Callee {
            handler,
            label,
            send_backtraces,
        }) => {
            let origin = message.origin(Arc::clone(engine) as Arc<dyn ConnectionRef>);
            let kind = engine.identity().connection_type;
            let link_peer = engine.settings.link_peer.clone();
            let context = Context::new(message.clone(), kind, key, link_peer);
            let now = engine.clock.now();
            let calls = &engine.handlers.calls;
            let running = calls.begin(context.clone(), &label, answer_to.clone(), now);
            let args = extra.args.with_origin(origin);
            let args = engine.settings.bounded(args, from);
            let incoming = IncomingCall::new(context.clone(), args, label.clone());
            let is_large = message.len() >= LARGE_REQUEST;
            let run = async {
                // Call the handler inside the future, because generated code may decode arguments,
                // and even panic, before it returns its own future.
                let run = std::panic::catch_unwind(AssertUnwindSafe(|| handler(incoming)));
                let future = match run {
                    Ok(future) => AssertUnwindSafe(future).catch_unwind(),
                    Err(panic) => return Err(panic),
                };
                let future = Within::new(engine, future);
                match is_large {
                    true => begin_elsewhere(future).await,
                    false => future.await,
                }
            };
            let run = std::pin::pin!(run);
            let ran = with_heartbeats(engine, &running.call, run)
                .instrument(call_span.span())
                .await;
            // The other clone is in `running`.
            calls.keep(&context, 2);
            ran.unwrap_or_else(|panic| Err(panicked(&label, panic.as_ref())))
                .map_err(|mut error| {
                    if let Some(frames) = error.backtrace.take().filter(|_| send_backtraces) {
                        error.trace.push_str(&frames);
                    }
                    error
                })
        }
        Err(error) => Err(error),
    };
    if outcome.is_err() {
        count(&engine.counters.calls_failed);
    }
    call_span.ended(outcome.as_ref().map_or("failed", |_| "ok"));
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
        Ok(args) => result_frame(engine, args, &answer_to).map(|(frame, kept)| {
            handed_out = kept;
            frame
        }),
        Err(error) => error_frame(engine, &error, &answer_to),
    };
    let sent = match frame {
        Ok(frame) => deliver(engine, frame, &answer_to).await,
        Err(e) => Err(e),
    };
    // If the response was not sent, dropping `handed_out` here withdraws the objects.
    if let (Ok(()), Some(handed_out)) = (&sent, handed_out) {
        handed_out.stays();
    }
    let sent = match sent {
        Ok(()) | Err(Failure::Lost { .. }) => sent,
        // Send an error instead: the caller would otherwise wait until its timeout for a response
        // that cannot be sent.
        Err(e) => {
            let text = format!("the result of {} cannot be sent: {e}", answer_to.label);
            match error_frame(engine, &WireError::new(text), &answer_to) {
                Ok(frame) => deliver(engine, frame, &answer_to).await,
                Err(e) => Err(e),
            }
        }
    };
    if let Err(e) = sent {
        count(&engine.counters.undelivered);
        tracing::debug!("the response of {} was not delivered: {e}", answer_to.label);
    }
}

/// Returns the second segment of a call, decrypted if necessary, and the key of the caller if the
/// call was encrypted (`docs/protocol/07-auth-login-encryption.md#s5`).
fn read_extra(engine: &Engine, message: &Message) -> Result<(Extra, Option<Bytes>), WireError> {
    let unreadable = |e: DecodeError| {
        let text = format!("the arguments cannot be read: {e}");
        refusal(RejectKind::InvalidArguments, "ValueError", text)
    };
    let extra = message.extra().map_err(unreadable)?;
    let Some(encrypted) = &extra.encrypted else {
        return Ok((extra, None));
    };
    let (plain, key) = engine.secrecy.open(encrypted).map_err(|reason| {
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

/// Sends a response, in one frame or in chunks.
async fn deliver(engine: &Arc<Engine>, frame: Rope, answer_to: &AnswerTo) -> Result<(), Failure> {
    // A sender of chunks first fetches the built-in service of the receiver. If the response to
    // this fetch were also sent in chunks, two peers could fetch from each other forever.
    let most = LARGEST_DESCRIPTION.min(engine.settings.max_frame_bytes);
    if answer_to.label.starts_with(BUILT_IN_METHODS) && frame.len() <= most {
        return engine.send_whole(frame).await;
    }
    engine
        .send(
            frame,
            &answer_to.to,
            Some(&answer_to.parent),
            &AtomicBool::new(false),
        )
        .await
}

/// Polls a handler for the first time on a blocking thread. On that thread, generated code decodes
/// the arguments and, if the method does not wait, encodes the result.
async fn begin_elsewhere<F>(mut handler: F) -> F::Output
where
    F: Future + Send + Unpin + 'static,
    F::Output: Send,
{
    let waker = std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let span = tracing::Span::current();
    let begun = crate::runtime::spawn_blocking(move || {
        let mut cx = std::task::Context::from_waker(&waker);
        let poll = span.in_scope(|| handler.poll_unpin(&mut cx));
        (handler, poll)
    });
    match begun.await {
        Ok((_, Poll::Ready(output))) => output,
        Ok((handler, Poll::Pending)) => handler.await,
        // Panics of the handler are part of its output, so this error means that the runtime is
        // shutting down, which also drops this task.
        Err(_) => std::future::pending().await,
    }
}

/// Runs the handler, and meanwhile sends heartbeats to the caller.
async fn with_heartbeats<T>(
    engine: &Engine,
    call: &RunningCall,
    mut run: Pin<&mut impl Future<Output = T>>,
) -> T {
    // Poll through `progress`, so that the watchdog sees when a poll blocks.
    let mut run = std::future::poll_fn(|cx| call.progress.poll(run.as_mut(), cx));
    let answer_to = call.answer_to.as_ref();
    let beat = answer_to.and_then(|a| Some((a, a.heartbeat.as_ref()?)));
    let Some((answer_to, (path, interval))) = beat else {
        return run.await;
    };
    let mut wait = FIRST_HEARTBEAT.min(*interval);
    loop {
        if let Ok(outcome) = crate::runtime::timeout(wait, &mut run).await {
            return outcome;
        }
        wait = *interval;
        if !engine.lifecycle.is_connected() {
            // Without a link, heartbeats would fill the queue, and be outdated when they are sent.
            continue;
        }
        call.progress.beat(engine.clock.now());
        if let Ok(frame) = answer_frame(engine, Args::new(0, 0), path, answer_to) {
            tokio::select! {
                biased;
                outcome = &mut run => return outcome,
                // Sending fails only if the connection ends, which also ends this task.
                _ = engine.send_whole(frame) => {}
            }
        }
    }
}

/// Finds the called method and checks that the caller may call it
/// (`docs/protocol/02-messages.md#s7-5`, `#s7-6`).
fn find_handler(engine: &Engine, message: &Message) -> Result<Callee, WireError> {
    let identity = engine.identity();
    let method = message.method().unwrap_or_default();
    let from = message.from().unwrap_or_default();
    let (own, caller) = (identity.workspace.as_str(), workspace_of(from));
    let to = absolute_address(message.to().unwrap_or_default(), caller);
    let to = workspace_of(&to);
    // The workspace manager is in `*` and serves every workspace.
    if own != "*" && to != own {
        return Err(refusal(
            RejectKind::PermissionDenied,
            "ValueError",
            format!("Workspace mismatch: {to} != {own}"),
        ));
    }
    let Some(path) = method.strip_prefix(SERVICES) else {
        return match method.rsplit_once('.') {
            Some((session, object)) => find_object(engine, message, session, object),
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
    let registered = engine.handlers.get(id).ok_or_else(|| expired(message))?;
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
    let sender = match &engine.settings.link_peer {
        Some(peer) => Caller {
            address: &peer.address,
            workspace: &peer.workspace,
        },
        None => Caller {
            address: from,
            workspace: caller,
        },
    };
    let caller = sender.workspace;
    let manager = identity.manager_id.as_deref();
    registered.check(sender, own, manager).map_err(|denied| {
        let text = match denied {
            Denied::HandedToAnother(only) => format!(
                "Permission denied for _rintf callback {from}:{method}, caller {from} is not \
                 the allowed caller {only}"
            ),
            Denied::OtherWorkspace => format!(
                "Permission denied for invoking protected method {from}:{method}, \
                 workspace mismatch: {own} != {caller}"
            ),
        };
        refusal(RejectKind::PermissionDenied, "PermissionError", text)
    })?;
    Ok(Callee {
        handler: Arc::clone(handler),
        label: format!("{id}.{path}"),
        send_backtraces: registered.service.send_backtraces,
    })
}

/// Finds a callback or another object that was exported with a message. Assigns the call its turn
/// here, while the sessions are locked, so that calls of one object start in order of arrival.
fn find_object(
    engine: &Engine,
    message: &Message,
    session: &str,
    object: &str,
) -> Result<Callee, WireError> {
    let (from, parent) = (message.from().unwrap_or_default(), message.parent());
    let method = message.method().unwrap_or_default();
    engine.sessions.with_object(session, object, from, parent, |found| {
        let (kind, class, text) = match found {
            ObjectLookup::Found(object) => {
                return Ok(Callee {
                    handler: object.handler(object.turn()),
                    label: object.name().to_owned(),
                    send_backtraces: false,
                });
            }
            ObjectLookup::NoSession => (
                RejectKind::Expired,
                "KeyError",
                format!("Session not found: {from}:{method}"),
            ),
            ObjectLookup::NoObject => (
                RejectKind::Expired,
                "KeyError",
                format!("Method expired or not found: {from}:{method}"),
            ),
            ObjectLookup::Stranger(target) => (
                RejectKind::PermissionDenied,
                "PermissionError",
                format!(
                    "Access denied for method call ({from}:{method}) from {from} to target {target}"
                ),
            ),
            ObjectLookup::ParentClosed => (
                RejectKind::Expired,
                "Exception",
                format!("Parent session was closed: {}", parent.unwrap_or_default()),
            ),
        };
        Err(refusal(kind, class, text))
    })
}

/// Returns the frame of a result, and the objects exported with it. Functions in the result get a
/// new session. If the called method is itself a function of a session, the new session is nested
/// in the session of that function, so that both end together.
fn result_frame(
    engine: &Arc<Engine>,
    args: Args,
    answer_to: &AnswerTo,
) -> Result<(Rope, Option<HandedOut>), Failure> {
    if !args.has_handles() {
        let frame = answer_frame(engine, args, &answer_to.resolve, answer_to)?;
        return Ok((frame, None));
    }
    let identity = engine.identity();
    let session = match &answer_to.within {
        Some(outer) if engine.sessions.exists(outer) => format!("{outer}.{}", random_id()),
        _ => random_id(),
    };
    let to = &answer_to.to;
    let mut exports = Exports::new(engine, &identity, &session, to, Direction::Answer);
    let address = identity.address();
    let head = answer_to.head(&address, &answer_to.resolve);
    let name = &mut |handle: &Handle| engine.handlers.name_handle(&mut exports, handle);
    let message = args.finish_with(&head, ReplyMode::None, name)?;
    let message = sealed(engine, message, answer_to)?;
    Ok((message, Some(exports.keep(None)?)))
}

/// Encodes a message to the method `path` of the caller. Fails if `args` contain a function or
/// stream.
fn answer_frame(
    engine: &Engine,
    args: Args,
    path: &str,
    answer_to: &AnswerTo,
) -> Result<Rope, EncodeError> {
    let address = engine.identity().address();
    let nothing = &mut |_: &Handle| {
        Err(EncodeError::new(
            "this message cannot contain functions or streams",
        ))
    };
    let message = args.finish_with(&answer_to.head(&address, path), ReplyMode::None, nothing)?;
    sealed(engine, message, answer_to)
}

/// Encrypts the response of an encrypted call to its caller.
fn sealed(engine: &Engine, message: Rope, answer_to: &AnswerTo) -> Result<Rope, EncodeError> {
    match &answer_to.key {
        Some(key) => engine.secrecy.seal(message, key),
        None => Ok(message),
    }
}

/// Returns the frame of an error.
fn error_frame(engine: &Engine, error: &WireError, answer_to: &AnswerTo) -> Result<Rope, Failure> {
    let mut args = Args::new(1, 0);
    args.push("error", error);
    Ok(answer_frame(engine, args, &answer_to.reject, answer_to)?)
}

/// Rejects a call whose second segment could not be read. The first segment has the caller's
/// address and session, which is enough for a rejection.
async fn refuse(engine: &Engine, message: &Message, error: WireError) {
    if let Some(frame) = refusal_frame(engine, message, &error) {
        if engine.send_whole(frame).await.is_err() {
            count(&engine.counters.undelivered);
        }
    }
}

/// Returns the frame of a rejection, or `None` if the caller requests no response.
fn refusal_frame(engine: &Engine, message: &Message, error: &WireError) -> Option<Rope> {
    let answer_to = AnswerTo::star(message.from()?, message.session()?, None);
    error_frame(engine, error, &answer_to).ok()
}

/// Handler found for an incoming call. The driver looks the handler up, and the task of the call
/// runs it.
pub(crate) struct Callee {
    handler: Handler,
    /// `service.method`, or the name of a callback.
    label: String,
    /// Whether callers get the stack frames of errors.
    send_backtraces: bool,
}

/// Returns the rejection of a call to a service or method that does not exist.
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

/// Logs a panic and returns the error for the caller. The trace has the form of a Python exception,
/// so that other languages find its class.
fn panicked(label: &str, panic: &(dyn std::any::Any + Send)) -> WireError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into());
    tracing::error!("{label} panicked: {text}");
    let message = format!("{label} panicked: {text}");
    let trace = format!("Panic: {message}\n");
    let mut wire = WireError::new(message);
    wire.trace = trace;
    wire
}
