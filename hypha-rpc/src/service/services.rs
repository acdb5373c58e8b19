//! The services of one connection behind a lock, and the running calls.
//!
//! Dropping a service may run code of the program, so every function that removes a service drops
//! or returns it after releasing the lock.

use std::sync::{Arc, Weak};

use hypha_wire::{EncodeError, Handle, Value};
use parking_lot::RwLock;

use super::registry::Registry;
use super::{Calls, Engine, Exports, Registered};
use crate::engine::Lifecycle;
use crate::error::{CallSite, Error};

/// Returns the map that represents a function, stream or object for the receiver of a message. The
/// function is passed in when the connection is created, because only the layer above
/// (`call/live.rs`) knows these kinds of objects.
pub(crate) type NameHandle = fn(&mut Exports<'_>, &Handle) -> Result<Value, EncodeError>;

/// Services of a connection, and their running calls. The engine owns them as its handlers.
pub(crate) struct Services {
    registry: RwLock<Registry>,
    /// Connection whose services peers may call on this connection, too. Weak, so that it closes
    /// independently.
    shared: Option<Weak<Engine>>,
    pub(crate) calls: Calls,
    name: NameHandle,
}

impl Services {
    pub(crate) fn new(name: NameHandle, shared: Option<Weak<Engine>>) -> Self {
        Services {
            registry: RwLock::default(),
            shared,
            calls: Calls::default(),
            name,
        }
    }

    /// Returns the map that represents `handle` for the receiver of a message.
    pub(crate) fn name_handle(
        &self,
        exports: &mut Exports<'_>,
        handle: &Handle,
    ) -> Result<Value, EncodeError> {
        (self.name)(exports, handle)
    }

    /// Returns a service by its id, including the built-in service and interfaces.
    ///
    /// Also finds the services of the connection that shares its services with this one, except
    /// for interfaces: those belong to peers of that connection.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Registered>> {
        let own = self.registry.read().get(id);
        own.or_else(|| {
            let shared = self.shared.as_ref()?.upgrade()?.handlers.get(id)?;
            shared.only_caller.is_none().then_some(shared)
        })
    }

    /// Returns the services to register with the manager, in the order of registration.
    pub(crate) fn listed(&self) -> Vec<Arc<Registered>> {
        self.registry.read().listed()
    }

    /// Adds a service, unless the connection has ended.
    pub(crate) fn add(
        &self,
        service: Registered,
        overwrite: bool,
        lifecycle: &Lifecycle,
    ) -> Result<(), Error> {
        let mut registry = self.registry.write();
        // Check while holding the lock. When a connection ends, it is marked as closed first, and
        // the table is cleared under this lock afterwards. So a service is either refused here or
        // removed there.
        if lifecycle.is_closed() {
            return Err(Error::Disconnected(lifecycle.over_at(CallSite {
                method: format!("register_service({})", service.service.id()),
                ..CallSite::default()
            })));
        }
        registry.add(service, overwrite)
    }

    /// Removes and returns a service, so that the caller drops it without the lock.
    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Registered>> {
        self.registry.write().remove(id)
    }

    /// Undoes a failed registration: restores the previous service, or removes the new one if there
    /// was none.
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
        self.calls.peer_gone(peer);
        let interfaces = self.registry.write().remove_interfaces_of(peer);
        drop(interfaces);
    }

    /// Removes all services.
    pub(super) fn clear(&self) {
        let services = std::mem::take(&mut *self.registry.write());
        drop(services);
    }
}
