//! Converts the functions, streams and objects in an outgoing message to maps
//! (`docs/protocol/03-values.md#s6` to `#s8`). The service layer calls [`name`] while it encodes a
//! message.

use std::sync::Arc;

use hypha_wire::keys::{
    RDOC, RENC_PUB, RINTF, RINTF_PREFIX, RINTF_SERVICE_ID, RPROMISE, RSERVER, RTARGET, RTYPE,
};
use hypha_wire::{
    EncodeError, Handle, HandleKind, MethodRef, PromiseKind, RemoteHandle, Value, random_id,
};

use super::function::relayed_function;
use super::producer::{LocalStream, SessionEntry};
use super::resident::{GENERATOR, LocalFunction, LocalInterface, Resident};
use super::stream::relayed_stream;
use crate::service::{Connection, Direction, Engine, Exported, Exports};

/// Returns the map that represents `handle` in a message. If the object belongs to this program,
/// also exports the object to the receiver of the message.
pub(crate) fn name(exports: &mut Exports<'_>, handle: &Handle) -> Result<Value, EncodeError> {
    match &handle.0 {
        HandleKind::Local(object) => {
            let resident = Arc::clone(object).downcast::<Resident>();
            let resident = resident.map_err(|_| EncodeError::new("it cannot be sent"))?;
            name_resident(exports, &resident)
        }
        HandleKind::Remote(remote) => name_remote(exports, remote),
    }
}

fn name_resident(exports: &mut Exports<'_>, resident: &Resident) -> Result<Value, EncodeError> {
    match resident {
        Resident::Function(function) => name_function(exports, function),
        Resident::Stream(stream) => name_stream(exports, stream),
        Resident::Interface(interface) => name_interface(exports, interface),
    }
}

fn name_function(
    exports: &mut Exports<'_>,
    function: &LocalFunction,
) -> Result<Value, EncodeError> {
    let exported = Exported::new(
        Arc::clone(&function.handler),
        function.name.as_deref().unwrap_or("callback"),
    );
    let mut id = random_id();
    if let Some(name) = &function.name {
        // Replace dots, because the receiver would interpret a dot in the name as a separator of
        // the path.
        id = format!("{id}#{}", name.replace('.', "_"));
    }
    let method = exports.place(id, exported);
    Value::encode_from(&MethodRef {
        server: exports.identity().public_base_url.clone(),
        target: exports.target(),
        method,
        promise: PromiseKind::Star,
        name: function.name.clone(),
        is_async: None,
        doc: function.doc.clone(),
        schema: function.schema.clone(),
        enc_pub: exports.engine().secrecy.key(),
        // A function in an argument is removed when its call ends. So only the receiver of a result
        // must release the function.
        release: matches!(exports.direction(), Direction::Answer),
        cancel: false,
    })
}

fn name_stream(exports: &mut Exports<'_>, stream: &LocalStream) -> Result<Value, EncodeError> {
    let source = stream.take().ok_or_else(|| {
        EncodeError::new("a stream can be sent only once, and this stream was sent before")
    })?;
    let id = random_id();
    let entry = SessionEntry {
        engine: Arc::downgrade(exports.engine()),
        session: exports.session().to_owned(),
        id: id.clone(),
    };
    let objects = source.objects(entry).map(|(key, suffix, object)| {
        let method = exports.place(format!("{id}{suffix}"), object);
        (key, Value::from(method))
    });
    let [next, close, batch] = objects;
    // Python and JavaScript clients send no key for their own generators. If they receive the key
    // of this client, they encrypt their requests for items.
    let key = exports.engine().secrecy.key();
    let key = key.map(|key| (RENC_PUB, Value::Bytes(key)));
    let entries = [
        (RTYPE, Value::from(GENERATOR)),
        (RSERVER, exports.identity().public_base_url.clone().into()),
        (RTARGET, exports.target().into()),
        next,
        close,
        (RPROMISE, "*".into()),
        (RDOC, "Remote generator".into()),
        batch,
    ];
    let entries = entries.into_iter().chain(key);
    let entries = entries.map(|(key, value)| (key.to_owned(), value));
    Ok(Value::Map(entries.collect()))
}

/// Exports an interface to one receiver (`docs/protocol/03-values.md#s8`).
fn name_interface(
    exports: &mut Exports<'_>,
    interface: &LocalInterface,
) -> Result<Value, EncodeError> {
    exports.room_for_one()?;
    let id = format!("{RINTF_PREFIX}{}", random_id());
    let service = interface.service(&id, exports.engine());
    let mut map = service.members_map(exports.identity(), &exports.target());
    map.insert(RINTF_SERVICE_ID.into(), id.as_str().into());
    map.insert(RINTF.into(), true.into());
    exports.offer(service)?;
    interface.placed(exports.engine(), id);
    Ok(Value::Map(map))
}

/// Returns whether an object was received on another link than `engine`'s, and one of the two links
/// is a data channel. Addresses of a data channel are not known elsewhere, and the other way round.
fn crosses_a_channel(engine: &Arc<Engine>, remote: &RemoteHandle) -> bool {
    let Some(origin) = Connection::of(&remote.connection) else {
        return false;
    };
    let is_channel = |engine: &Engine| engine.settings.link_peer.is_some();
    !Arc::ptr_eq(origin.engine(), engine) && (is_channel(origin.engine()) || is_channel(engine))
}

/// Returns the map that represents an object of a peer. If the receiver cannot reach the owner of
/// the object, creates an object of this program that forwards the calls, and returns the map of
/// that object.
fn name_remote(
    exports: &mut Exports<'_>,
    remote: &Arc<RemoteHandle>,
) -> Result<Value, EncodeError> {
    let text = |key| remote.raw.get(key).and_then(Value::as_str);
    let server = text(RSERVER);
    let own = exports.identity().public_base_url.as_deref();
    let is_known = server.is_none() || server == own || own.is_none();
    if is_known && !crosses_a_channel(exports.engine(), remote) {
        exports.pass_on(remote);
        return Ok(Value::Map(remote.raw.clone()));
    }
    let handle = Handle(HandleKind::Remote(Arc::clone(remote)));
    let relay = if text(RTYPE) == Some(GENERATOR) {
        relayed_stream(handle)
    } else {
        relayed_function(handle)
    };
    name_resident(exports, &relay?)
}
