//! Defines the handle of a connection. Clients, proxies and received values hold such a handle.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use hypha_wire::{ConnectionRef, RemoteHandle};

use super::{CloseReason, Engine, Handlers};

/// Handle of a connection. Cloning is cheap.
pub(crate) struct Connection<H: Handlers> {
    engine: Arc<Engine<H>>,
    /// Guard that closes the connection when the last handle with this guard is dropped. `None` in
    /// the handles of the driver and of handlers, and in values that peers pass to handlers. If a
    /// handler stores such a value, the connection must still close when the program drops its
    /// client.
    keep_open: Option<Arc<KeepOpen<H>>>,
    /// Whether this handle makes calls that are part of the connection setup. Such calls do not
    /// wait for [`State::Connected`](super::State::Connected), because the connection has this
    /// state only after the setup.
    setup: bool,
}

/// Closes the connection when it is dropped.
struct KeepOpen<H: Handlers>(Arc<Engine<H>>);

impl<H: Handlers> Drop for KeepOpen<H> {
    fn drop(&mut self) {
        self.0.close(CloseReason::Requested);
    }
}

impl<H: Handlers> ConnectionRef for KeepOpen<H> {
    fn handle_dropped(&self, remote: &RemoteHandle) {
        self.0.handle_dropped(remote);
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl<H: Handlers> Connection<H> {
    /// Creates the first handle. The connection closes when the last clone of this handle is
    /// dropped.
    pub(crate) fn owning(engine: Arc<Engine<H>>) -> Self {
        Connection {
            keep_open: Some(Arc::new(KeepOpen(Arc::clone(&engine)))),
            engine,
            setup: false,
        }
    }

    /// Creates a handle for the calls of the connection setup. The handle does not keep the
    /// connection open.
    pub(crate) fn for_setup(engine: Arc<Engine<H>>) -> Self {
        Connection {
            engine,
            keep_open: None,
            setup: true,
        }
    }

    /// Creates a handle that does not keep the connection open.
    #[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
    pub(crate) fn borrowing(engine: Arc<Engine<H>>) -> Self {
        Connection {
            engine,
            keep_open: None,
            setup: false,
        }
    }

    /// Returns a handle that does not keep the connection open.
    pub(crate) fn unowned(&self) -> Self {
        Connection {
            keep_open: None,
            ..self.clone()
        }
    }

    /// Returns the connection on which a value was received. Returns `None` if `value` is not a
    /// reference to a connection of this type.
    pub(crate) fn of(value: &Arc<dyn ConnectionRef>) -> Option<Self> {
        let any = Arc::clone(value).as_any();
        let (engine, keep_open) = match any.downcast::<Engine<H>>() {
            Ok(engine) => (engine, None),
            Err(any) => {
                let keep_open = any.downcast::<KeepOpen<H>>().ok()?;
                (Arc::clone(&keep_open.0), Some(keep_open))
            }
        };
        Some(Connection {
            engine,
            keep_open,
            setup: false,
        })
    }

    /// Returns the reference that values received through this handle store. The reference keeps
    /// the connection open if this handle keeps the connection open.
    pub(crate) fn reference(&self) -> Arc<dyn ConnectionRef> {
        match &self.keep_open {
            Some(keep_open) => Arc::clone(keep_open) as Arc<dyn ConnectionRef>,
            None => Arc::clone(&self.engine) as Arc<dyn ConnectionRef>,
        }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine<H>> {
        &self.engine
    }

    /// Returns whether this handle sends its calls before the state is `Connected`.
    pub(crate) fn is_for_setup(&self) -> bool {
        self.setup
    }
}

impl<H: Handlers> Clone for Connection<H> {
    fn clone(&self) -> Self {
        Connection {
            engine: Arc::clone(&self.engine),
            keep_open: self.keep_open.clone(),
            setup: self.setup,
        }
    }
}

impl<H: Handlers> fmt::Debug for Connection<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.engine).finish()
    }
}
