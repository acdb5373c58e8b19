//! Telling the callee of a call that nobody waits for it any more, without waiting for anything.

use hypha_wire::Args;
use hypha_wire::keys::CANCEL;

use crate::service::Engine;

/// A call on its way. If it is dropped without an answer, the callee is told.
pub(super) struct CancelOnDrop<'a> {
    pub(super) engine: &'a Engine,
    pub(super) to: &'a str,
    pub(super) session: &'a str,
    /// Whether the callee wants to know, and there is no answer.
    pub(super) armed: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if !self.armed || !self.engine.lifecycle.is_connected() {
            return;
        }
        let mut args = Args::new(1, 0);
        args.push("session", self.session);
        self.engine.notify(self.to, CANCEL, args);
    }
}
