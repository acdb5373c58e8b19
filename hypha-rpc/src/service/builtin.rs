//! The service `built-in` that every client offers: it responds to pings, returns the client's
//! other services, and receives messages in chunks (`docs/protocol/04-services.md#s10`,
//! `docs/protocol/02-messages.md#s9`).

use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::incoming::refusal;
use super::permission::{Caller, Denied};
use super::{Context, Engine, IncomingCall, Method, Registered, Service, Visibility};
use crate::engine::MAX_FRAME_KEY;
use crate::error::RejectKind;
use hypha_wire::keys::{BUILT_IN, CHUNK_MEMBERS};
use hypha_wire::{ChunkError, ChunkStore, DecodeError, Message, Stamp, Value, WireError};
use web_time::Instant;

/// Maximum frame size that this client announces in the config of the service, in bytes. The
/// transport accepts frames of 32 MiB, and servers accept frames of 16 MiB. A frame of this size
/// still fits after the server has added its fields.
const MAX_FRAME_BYTES: i64 = 8 << 20;

/// Returns the built-in service of the client at `address`.
///
/// The service holds the engine weakly, because the engine owns the service: a strong reference
/// would be a cycle.
pub(crate) fn registered(engine: Weak<Engine>, address: &str) -> Registered {
    let method =
        |name: &str, handler: fn(&Arc<Engine>, &IncomingCall) -> Result<Value, WireError>| {
            let engine = engine.clone();
            Method::new(name, move |call: IncomingCall| {
                let engine = engine.clone();
                async move {
                    let engine = engine
                        .upgrade()
                        .ok_or_else(|| error("RPC connection closed".into()))?;
                    call.reply(&handler(&engine, &call)?)
                }
            })
            .needs_context(true)
        };
    let chunk_method = |name: &str, handler| method(&format!("{CHUNK_MEMBERS}.{name}"), handler);
    let service = Service::new(BUILT_IN)
        .name(format!("Built-in services for {address}"))
        .service_type(BUILT_IN)
        .visibility(Visibility::Public)
        .config("api_version", 3i64)
        .config(MAX_FRAME_KEY, MAX_FRAME_BYTES)
        .method(method("ping", ping).doc("Return `pong` for `ping`."))
        .method(method("get_service", get_service).doc("Get a service of this client by its id."))
        .method(method("release", release).doc("Release a function of a result."))
        .method(method("cancel", cancel).doc("Cancel a call whose caller has stopped waiting."))
        .method(chunk_method("create", create).doc("Start a message that is sent in chunks."))
        .method(chunk_method("append", append).doc("Add the next chunk."))
        .method(chunk_method("set", set).doc("Add the chunk of a given index."))
        .method(chunk_method("process", process).doc("Dispatch the complete message."))
        .method(chunk_method("remove", remove).doc("Discard an incomplete message."));
    Registered::trusted(service)
}

fn ping(_: &Arc<Engine>, call: &IncomingCall) -> Result<Value, WireError> {
    // Ignore additional arguments: JavaScript clients pass an additional argument without a
    // meaning.
    let msg = call.raw_args().get::<&str>(0);
    if matches!(msg, Some(Ok("ping"))) {
        Ok(Value::from("pong"))
    } else {
        Err(error("Expected 'ping'".into()))
    }
}

fn get_service(engine: &Arc<Engine>, call: &IncomingCall) -> Result<Value, WireError> {
    let id: &str = call.args(&["service_id"])?.required(0)?;
    let context = call.context();
    let Some(registered) = engine.handlers.get(id) else {
        return Err(refusal(
            RejectKind::UnknownService,
            "KeyError",
            format!("Service not found: {id}"),
        ));
    };
    let identity = engine.identity();
    let caller = Caller {
        address: context.from(),
        workspace: context.workspace(),
    };
    let manager = identity.manager_id.as_deref();
    registered
        .check(caller, &identity.workspace, manager)
        .map_err(|denied| {
            let why = match denied {
                Denied::OtherWorkspace => format!(
                    "workspace mismatch: {} != {}",
                    identity.workspace, caller.workspace
                ),
                Denied::HandedToAnother(_) => "it was sent to another client".to_owned(),
            };
            refusal(
                RejectKind::PermissionDenied,
                "PermissionError",
                format!("Permission denied for getting protected service: {id}, {why}"),
            )
        })?;
    Ok(registered.service.encode(&identity))
}

fn release(engine: &Arc<Engine>, call: &IncomingCall) -> Result<Value, WireError> {
    let method: &str = call.args(&["method"])?.required(0)?;
    if let Some((session, object)) = method.rsplit_once('.') {
        engine
            .sessions
            .release(call.context().peer(), session, object);
    }
    Ok(Value::Null)
}

fn cancel(engine: &Arc<Engine>, call: &IncomingCall) -> Result<Value, WireError> {
    let session: &str = call.args(&["session"])?.required(0)?;
    let calls = &engine.handlers.calls;
    calls.cancel_session(call.context().peer(), session);
    Ok(Value::Null)
}

fn create(engine: &Arc<Engine>, call: &IncomingCall) -> Result<Value, WireError> {
    let args = call.args(&["key", "heartbeat", "overwrite"])?;
    let key: &str = args.required(0)?;
    keep_alive(engine, call.context(), key, args.optional(1)?)?;
    let overwrite = args.optional(2)?.unwrap_or(false);
    with_chunks(engine, |chunks, now| {
        chunks.create(call.context().peer(), key, overwrite, now)
    })
}

fn append(engine: &Arc<Engine>, call: &IncomingCall) -> Result<Value, WireError> {
    let args = call.args(&["key", "data", "heartbeat"])?;
    let (key, data): (&str, hypha_wire::Binary) = (args.required(0)?, args.required(1)?);
    keep_alive(engine, call.context(), key, args.optional(2)?)?;
    with_chunks(engine, |chunks, now| {
        chunks.append(call.context().peer(), key, data.into(), now)
    })
}

fn set(engine: &Arc<Engine>, call: &IncomingCall) -> Result<Value, WireError> {
    let args = call.args(&["key", "index", "data", "heartbeat"])?;
    let (key, index, data): (&str, u64, hypha_wire::Binary) =
        (args.required(0)?, args.required(1)?, args.required(2)?);
    keep_alive(engine, call.context(), key, args.optional(3)?)?;
    with_chunks(engine, |chunks, now| {
        chunks.set(call.context().peer(), key, index, data.into(), now)
    })
}

fn remove(engine: &Arc<Engine>, call: &IncomingCall) -> Result<Value, WireError> {
    let key: &str = call.args(&["key"])?.required(0)?;
    with_chunks(engine, |chunks, _| {
        chunks.remove(call.context().peer(), key)
    })
}

fn process(engine: &Arc<Engine>, call: &IncomingCall) -> Result<Value, WireError> {
    let args = call.args(&["key", "heartbeat"])?;
    let key: &str = args.required(0)?;
    keep_alive(engine, call.context(), key, args.optional(1)?)?;
    let context = call.context();
    let whole = engine
        .chunks
        .with(|chunks, _| chunks.assemble(context.peer(), key))
        .map_err(|e| error(e.to_string()))?;
    dispatch_assembled(engine, whole, context)
        .map_err(|e| error(format!("the assembled message {key} cannot be read: {e}")))?;
    Ok(Value::Null)
}

/// Dispatches a message that came in chunks. Uses the sender that the server wrote into the call of
/// `process`. The sender inside the chunks comes from the peer, which could forge it.
fn dispatch_assembled(
    engine: &Arc<Engine>,
    whole: Bytes,
    context: &Context,
) -> Result<(), DecodeError> {
    let message = Message::parse(whole)?;
    let user = context
        .message()
        .user()
        .unwrap_or_else(|| Bytes::from_static(&[0xc0]));
    engine.dispatch(message.restamped(&Stamp {
        to: context.to(),
        from: context.peer(),
        ws: context.workspace(),
        user: &user,
    })?);
    Ok(())
}

fn with_chunks(
    engine: &Engine,
    f: impl FnOnce(&mut ChunkStore, Instant) -> Result<(), ChunkError>,
) -> Result<Value, WireError> {
    let done = engine.chunks.with(f);
    done.map(|()| Value::Null).map_err(|e| error(e.to_string()))
}

/// Records a chunk of a response as a heartbeat of its call. Fails if the call has ended, so that
/// the peer stops sending chunks.
fn keep_alive(
    engine: &Arc<Engine>,
    context: &Context,
    key: &str,
    heartbeat: Option<bool>,
) -> Result<(), WireError> {
    if heartbeat.unwrap_or(false) && !engine.sessions.heartbeat(key, context.peer()) {
        return Err(error(format!("session does not exist anymore: {key}")));
    }
    Ok(())
}

/// Returns an error with only a message.
fn error(message: String) -> WireError {
    WireError::new(message)
}
