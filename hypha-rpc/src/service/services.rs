//! The services of one connection behind their lock, and the running calls.
//!
//! Dropping a service may run code of the program, so every function here that removes one drops
//! it, or returns it, after the lock is released.

use std::sync::Arc;

use hypha_wire::{EncodeError, Handle, Value};
use parking_lot::RwLock;

use super::registry::Registry;
use super::{Calls, Exports, Registered};
use crate::engine::Lifecycle;
use crate::error::{CallSite, Error};

/// Gives a function, stream or object in a message the name under which its receiver calls it. The
/// layer above (`call/live.rs`) knows these kinds, and passes this function in when the connection
/// is made.
pub(crate) type NameHandle = fn(&mut Exports<'_>, &Handle) -> Result<Value, EncodeError>;

/// The services of a connection, and their running calls. The engine owns it as its handlers.
pub(crate) struct Services {
    registry: RwLock<Registry>,
    pub(crate) calls: Calls,
    name: NameHandle,
}

impl Services {
    pub(crate) fn new(name: NameHandle) -> Self {
        Services {
            registry: RwLock::default(),
            calls: Calls::default(),
            name,
        }
    }

    /// Returns the map by which the receiver of a message knows `handle`.
    pub(crate) fn name_handle(
        &self,
        exports: &mut Exports<'_>,
        handle: &Handle,
    ) -> Result<Value, EncodeError> {
        (self.name)(exports, handle)
    }

    /// Returns a service by its id, also the built-in one and interfaces.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Registered>> {
        self.registry.read().get(id)
    }

    /// Returns the services that the manager is to know, in the order in which they were
    /// registered.
    pub(crate) fn listed(&self) -> Vec<Arc<Registered>> {
        self.registry.read().listed()
    }

    /// Adds a service, unless the connection is over.
    pub(crate) fn add(
        &self,
        service: Registered,
        overwrite: bool,
        lifecycle: &Lifecycle,
    ) -> Result<(), Error> {
        let mut registry = self.registry.write();
        // Checked with the lock held, because the end of the connection is marked before the table
        // is cleared under this lock: a service added here is either refused or cleared.
        if lifecycle.is_closed() {
            return Err(Error::Disconnected(lifecycle.over_at(CallSite {
                method: format!("register_service({})", service.service.id()),
                ..CallSite::default()
            })));
        }
        registry.add(service, overwrite)
    }

    /// Removes a service and returns it, so that the caller drops it without the lock.
    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Registered>> {
        self.registry.write().remove(id)
    }

    /// Undoes a registration that failed: puts the former service back, or removes the new one if
    /// there was none.
    pub(crate) fn restore(&self, id: &str, former: Option<Arc<Registered>>, lifecycle: &Lifecycle) {
        let mut registry = self.registry.write();
        let replaced = if lifecycle.is_closed() {
            registry.remove(id)
        } else {
            registry.restore(id, former)
        };
        drop(registry);
        drop(replaced);
    }

    /// Returns the number of interfaces that peers hold.
    pub(super) fn interfaces(&self) -> usize {
        self.registry.read().interfaces()
    }

    /// Removes the interfaces of a disconnected peer, and cancels the handlers of its calls.
    pub(super) fn peer_gone(&self, peer: &str) {
        self.calls.cancel(|call| call.from() == peer);
        let interfaces = self.registry.write().caller_gone(peer);
        drop(interfaces);
    }

    /// Removes all services.
    pub(super) fn clear(&self) {
        let services = std::mem::take(&mut *self.registry.write());
        drop(services);
    }
}
