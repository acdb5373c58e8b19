//! Everything that peers can call at one connection.

use std::sync::Arc;

use hypha_wire::{EncodeError, Handle, Value};
use parking_lot::RwLock;

use super::registry::Registry;
use super::{Calls, Exports, Registered};
use crate::engine::Lifecycle;
use crate::error::{CallSite, Error};

/// Gives something live in a message the name under which its receiver calls it. The kinds of live
/// things are in the layer above, which installs this when the connection is made.
pub(crate) type NameHandle = fn(&mut Exports<'_>, &Handle) -> Result<Value, EncodeError>;

/// The services of a connection, and the calls of them that run.
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

    /// Takes a service out. The caller drops it, without the lock: that may run code of the
    /// program.
    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Registered>> {
        self.registry.write().remove(id)
    }

    /// Puts back the service that was there before a registration that failed, if there was one.
    pub(crate) fn restore(&self, id: &str, former: Option<Arc<Registered>>, lifecycle: &Lifecycle) {
        let mut registry = self.registry.write();
        let replaced = if lifecycle.is_closed() {
            registry.remove(id)
        } else {
            registry.restore(id, former)
        };
        // Dropping a service may run code of the program, so it is done without the lock.
        drop(registry);
        drop(replaced);
    }

    /// Returns how many interfaces are handed out.
    pub(super) fn interfaces(&self) -> usize {
        self.registry.read().interfaces()
    }

    /// Removes the interfaces of a disconnected peer, and cancels the handlers of its calls.
    pub(super) fn peer_gone(&self, peer: &str) {
        self.calls.cancel(|call| call.from() == peer);
        let interfaces = self.registry.write().caller_gone(peer);
        drop(interfaces);
    }

    pub(super) fn clear(&self) {
        let services = std::mem::take(&mut *self.registry.write());
        drop(services);
    }
}
