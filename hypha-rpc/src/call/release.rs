//! Telling the owner of a function or stream that nobody here uses it any more, and the callee of a call
//! that nobody waits for it any more, without waiting for anything.

use crate::engine::{Core, count};
use hypha_wire::{Args, Head, RemoteHandle, ReplyMode, Value};

/// The function of the built-in service by which a Rust peer takes back what it handed out in a result.
const RELEASE: &str = "services.built-in.release";

/// The function of the built-in service by which a Rust peer is told that nobody waits for a call.
const CANCEL: &str = "services.built-in.cancel";

/// A call on its way. If it is dropped without an answer, the callee is told.
pub(super) struct Awaited<'a> {
    pub(super) core: &'a Core,
    pub(super) to: &'a str,
    pub(super) session: &'a str,
    /// Whether the callee wants to know, and there is no answer.
    pub(super) tell: bool,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if !self.tell || !self.core.is_connected() {
            return;
        }
        let mut args = Args::new(1, 0);
        args.push("session", self.session);
        let head = Head {
            from: &self.core.identity().address(),
            to: self.to,
            method: CANCEL,
            parent: None,
            session: None,
        };
        if let Ok(frame) = args.finish(&head, ReplyMode::None) {
            if !self.core.try_enqueue(frame) {
                count(&self.core.counters.undelivered);
            }
        }
    }
}

/// The last handle of `remote` is gone.
pub(crate) fn abandoned(core: &Core, remote: &RemoteHandle) {
    let text = |key| remote.raw.get(key).and_then(Value::as_str);
    let Some(to) = text("_rtarget") else { return };
    let mut args = Args::new(1, 0);
    let (method, parent) = match text("_rclose_method") {
        Some(close) => (close, remote.parent.as_deref()),
        // Functions in arguments end with their call; other owners count the time.
        None if remote.raw.get("_rrelease") == Some(&Value::Bool(true)) => {
            let Some(method) = text("_rmethod") else {
                return;
            };
            args.push("method", method);
            (RELEASE, None)
        }
        None => return,
    };
    let head = Head {
        from: &core.identity().address(),
        to,
        method,
        parent,
        session: None,
    };
    if let Ok(frame) = args.finish(&head, ReplyMode::None) {
        if !core.is_closed() && !core.try_enqueue(frame) {
            count(&core.counters.undelivered);
        }
    }
}
