//! The service `built-in` that every client offers: ping, its other services, and the receiving end
//! of chunked messages (protocol 04 §10, 02 §9).

use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::{Context, IncomingCall, Method, Registered, Service, Visibility, incoming::refusal};
use crate::{client::Core, error::RejectKind};
use hypha_wire::{Value, WireError};

/// The key in the config of a built-in service under which a peer says how large frames it takes, in
/// bytes. An extension: the other clients do not say it, ignore it, and get frames of the common size.
pub(crate) const MAX_FRAME: &str = "max_frame_size";
/// What we say.
const MAX_FRAME_BYTES: i64 = 8 << 20;

pub(crate) fn registered(core: Weak<Core>, address: &str) -> Registered {
    let method =
        |name: &str, handler: fn(&Arc<Core>, &IncomingCall) -> Result<Value, WireError>| {
            let core = core.clone();
            Method::new(name, move |call: IncomingCall| {
                let core = core.clone();
                async move {
                    let core = core
                        .upgrade()
                        .ok_or_else(|| error("RPC connection closed".into()))?;
                    call.reply(&handler(&core, &call)?)
                }
            })
            .needs_context(true)
        };
    let service = Service::new("built-in")
        .name(format!("Built-in services for {address}"))
        .service_type("built-in")
        .visibility(Visibility::Public)
        .config("api_version", 3i64)
        .config(MAX_FRAME, MAX_FRAME_BYTES)
        .method(method("ping", ping).doc("Answer `pong` to `ping`."))
        .method(method("get_service", get_service).doc("Get a service of this client by its id."))
        .method(
            method("release", release)
                .doc("Take back a function of a result: it is not used any more."),
        )
        .method(method("cancel", cancel).doc("Stop a call: its caller does not wait any more."))
        .method(method("message_cache.create", create).doc("Begin a message sent in chunks."))
        .method(method("message_cache.append", append).doc("Add the next chunk."))
        .method(method("message_cache.set", set).doc("Add the chunk of a given index."))
        .method(method("message_cache.process", process).doc("Dispatch the complete message."))
        .method(method("message_cache.remove", remove).doc("Give up a message."));
    Registered::trusted(service)
}

fn ping(_: &Arc<Core>, call: &IncomingCall) -> Result<Value, WireError> {
    // JavaScript clients pass something more, which means nothing.
    let msg = call.raw_args().get::<&str>(0);
    if matches!(msg, Some(Ok("ping"))) {
        Ok(Value::from("pong"))
    } else {
        Err(error("Expected 'ping'".into()))
    }
}

fn get_service(core: &Arc<Core>, call: &IncomingCall) -> Result<Value, WireError> {
    let id: &str = call.args(&["service_id"])?.required(0)?;
    let context = call.context();
    let Some(registered) = core.service(id) else {
        return Err(refusal(
            RejectKind::UnknownService,
            "KeyError",
            format!("Service not found: {id}"),
        ));
    };
    let identity = core.identity();
    let service = &registered.service;
    let open = service.visibility != Visibility::Protected
        || context.workspace() == identity.workspace
        || service
            .authorized_workspaces
            .iter()
            .any(|w| w == context.workspace());
    if !open {
        return Err(refusal(
            RejectKind::PermissionDenied,
            "PermissionError",
            format!(
                "Permission denied for getting protected service: {id}, workspace mismatch: {} != {}",
                identity.workspace,
                context.workspace()
            ),
        ));
    }
    Ok(service.encode(&identity))
}

fn release(core: &Arc<Core>, call: &IncomingCall) -> Result<Value, WireError> {
    let method: &str = call.args(&["method"])?.required(0)?;
    if let Some((session, object)) = method.rsplit_once('.') {
        core.release(call.context().from(), session, object);
    }
    Ok(Value::Null)
}

fn cancel(core: &Arc<Core>, call: &IncomingCall) -> Result<Value, WireError> {
    let session: &str = call.args(&["session"])?.required(0)?;
    let caller = call.context().from();
    let is_meant =
        |running: &Context| running.session() == Some(session) && running.from() == caller;
    core.calls.cancel(is_meant);
    Ok(Value::Null)
}

fn create(core: &Arc<Core>, call: &IncomingCall) -> Result<Value, WireError> {
    let args = call.args(&["key", "heartbeat", "overwrite"])?;
    let key: &str = args.required(0)?;
    keep_alive(core, call.context(), key, args.optional(1)?)?;
    let overwrite = args.optional(2)?.unwrap_or(false);
    core.with_chunks(|chunks, now| chunks.create(call.context().from(), key, overwrite, now))
}

fn append(core: &Arc<Core>, call: &IncomingCall) -> Result<Value, WireError> {
    let args = call.args(&["key", "data", "heartbeat"])?;
    let (key, data): (&str, crate::Binary) = (args.required(0)?, args.required(1)?);
    keep_alive(core, call.context(), key, args.optional(2)?)?;
    core.with_chunks(|chunks, now| chunks.append(call.context().from(), key, data.into(), now))
}

fn set(core: &Arc<Core>, call: &IncomingCall) -> Result<Value, WireError> {
    let args = call.args(&["key", "index", "data", "heartbeat"])?;
    let (key, index, data): (&str, u64, crate::Binary) =
        (args.required(0)?, args.required(1)?, args.required(2)?);
    keep_alive(core, call.context(), key, args.optional(3)?)?;
    core.with_chunks(|chunks, now| chunks.set(call.context().from(), key, index, data.into(), now))
}

fn remove(core: &Arc<Core>, call: &IncomingCall) -> Result<Value, WireError> {
    let key: &str = call.args(&["key"])?.required(0)?;
    core.with_chunks(|chunks, _| chunks.remove(call.context().from(), key))
}

fn process(core: &Arc<Core>, call: &IncomingCall) -> Result<Value, WireError> {
    let args = call.args(&["key", "heartbeat"])?;
    let key: &str = args.required(0)?;
    keep_alive(core, call.context(), key, args.optional(1)?)?;
    let mut whole = Bytes::new();
    core.with_chunks(|chunks, _| {
        chunks
            .assemble(call.context().from(), key)
            .map(|bytes| whole = bytes)
    })?;
    core.dispatch_assembled(whole, call.context())
        .map_err(|e| error(format!("the assembled message {key} cannot be read: {e}")))?;
    Ok(Value::Null)
}

/// A chunk that belongs to an answer is a sign of life of the call it answers.
fn keep_alive(
    core: &Arc<Core>,
    context: &Context,
    key: &str,
    heartbeat: Option<bool>,
) -> Result<(), WireError> {
    if heartbeat.unwrap_or(false) && !core.heartbeat(key, context.from()) {
        return Err(error(format!("session does not exist anymore: {key}")));
    }
    Ok(())
}

fn error(message: String) -> WireError {
    WireError::new(message)
}
