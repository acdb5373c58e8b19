//! Telling the owner of a function or stream that nobody here uses it any more, without waiting for
//! anything.

use hypha_wire::{
    Args, RemoteHandle, Value,
    keys::{RCLOSE_METHOD, RELEASE, RMETHOD, RRELEASE, RTARGET},
};

use super::{Engine, Handlers, count};

/// The last handle of `remote` is gone.
pub(super) fn handle_dropped<H: Handlers>(engine: &Engine<H>, remote: &RemoteHandle) {
    let text = |key| remote.raw.get(key).and_then(Value::as_str);
    let Some(to) = text(RTARGET) else { return };
    let mut args = Args::new(1, 0);
    let (method, parent) = match text(RCLOSE_METHOD) {
        Some(close) => (close, remote.parent.as_deref()),
        // Functions in arguments end with their call; other owners count the time.
        None if remote.raw.get(RRELEASE) == Some(&Value::Bool(true)) => {
            let Some(method) = text(RMETHOD) else {
                return;
            };
            args.push("method", method);
            (RELEASE, None)
        }
        None => return,
    };
    if !engine.lifecycle.is_closed() && !engine.post(to, method, parent, args) {
        count(&engine.counters.undelivered);
    }
}
