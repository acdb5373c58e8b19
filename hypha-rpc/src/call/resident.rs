//! Types for the functions, streams and interfaces of this program that are part of a value.

use std::sync::{Arc, Weak};

use hypha_wire::Value;
use parking_lot::Mutex;

use super::producer::LocalStream;
use crate::service::{Engine, Handler, IncomingCall, Method, Service, Visibility};

/// Value of the key `_rtype` in the map of a function.
pub(super) const METHOD: &str = "method";
/// Value of the key `_rtype` in the map of a stream.
pub(super) const GENERATOR: &str = "generator";

/// A function, stream or interface of this program. A value contains it as a
/// [`Handle`](hypha_wire::Handle).
pub(crate) enum Resident {
    Function(LocalFunction),
    Stream(LocalStream),
    Interface(Box<LocalInterface>),
}

/// A function of this program.
pub(crate) struct LocalFunction {
    pub(crate) handler: Handler,
    pub(crate) name: Option<String>,
    pub(crate) doc: Option<String>,
    pub(crate) schema: Option<Value>,
}

/// An interface of this program.
pub(crate) struct LocalInterface {
    pub(super) service: Service,
    /// Connections on which the interface was exported, each with the service id of that export.
    placed: Mutex<Vec<(Weak<Engine>, String)>>,
}

impl LocalInterface {
    pub(super) fn new(service: Service) -> LocalInterface {
        LocalInterface {
            service,
            placed: Mutex::default(),
        }
    }

    /// Returns a service through which one receiver calls the interface. The service has the method
    /// `_dispose`, which removes the service.
    pub(crate) fn service(&self, id: &str, engine: &Arc<Engine>) -> Service {
        let (engine, own_id) = (Arc::downgrade(engine), id.to_owned());
        let dispose = Method::new("_dispose", move |call: IncomingCall| {
            let removed = engine.upgrade().and_then(|e| e.handlers.remove(&own_id));
            async move {
                drop(removed);
                call.reply(&())
            }
        });
        self.service
            .clone()
            .with_id(id)
            .visibility(Visibility::Protected)
            .method(dispose)
    }

    /// Records that the interface was exported as the service `id` on a connection.
    pub(crate) fn placed(&self, engine: &Arc<Engine>, id: String) {
        self.placed.lock().push((Arc::downgrade(engine), id));
    }

    /// Removes the interface from all connections on which it was exported.
    pub(super) fn withdraw(&self) {
        let placed = std::mem::take(&mut *self.placed.lock());
        for (engine, id) in placed {
            if let Some(engine) = engine.upgrade() {
                drop(engine.handlers.remove(&id));
            }
        }
    }
}
