//! Cancels a call at its callee in a destructor, without waiting.

use hypha_wire::Args;
use hypha_wire::keys::CANCEL;

use crate::service::Engine;

/// A call in flight. Sends a cancellation to the callee when dropped without a response.
pub(super) struct CancelOnDrop<'a> {
    pub(super) engine: &'a Engine,
    pub(super) to: &'a str,
    pub(super) session: &'a str,
    /// Whether the callee accepts cancellations and has not responded yet.
    pub(super) armed: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        // Without a link, no message can be sent. The callee cancels the calls of a disconnected
        // client by itself.
        if !self.armed || !self.engine.lifecycle.is_connected() {
            return;
        }
        let mut args = Args::new(1, 0);
        args.push("session", self.session);
        self.engine.notify(self.to, CANCEL, args);
    }
}
