//! Cancels a call when its future is dropped.

use hypha_wire::Args;
use hypha_wire::keys::CANCEL;

use crate::service::Engine;

/// A call in flight. If this value is dropped before the response arrives, it sends a cancellation
/// to the callee.
pub(super) struct CancelOnDrop<'a> {
    pub(super) engine: &'a Engine,
    pub(super) to: &'a str,
    pub(super) session: &'a str,
    /// Whether the callee accepts cancellations and has not responded yet.
    pub(super) armed: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        // Without a link, no cancellation can be sent. The cancellation is not necessary, because
        // the callee cancels the calls of a client that disconnects.
        if !self.armed || !self.engine.lifecycle.is_connected() {
            return;
        }
        let mut args = Args::new(1, 0);
        args.push("session", self.session);
        self.engine.notify(self.to, CANCEL, args);
    }
}
