//! Releases a received function or stream at the peer that owns it.

use hypha_wire::keys::{RCLOSE_METHOD, RELEASE, RMETHOD, RRELEASE, RTARGET};
use hypha_wire::{Args, RemoteHandle, Value};

use super::{Engine, Handlers};

/// Releases `remote` at its owner. Called when the last handle of `remote` is dropped.
pub(super) fn handle_dropped<H: Handlers>(engine: &Engine<H>, remote: &RemoteHandle) {
    let text = |key| remote.raw.get(key).and_then(Value::as_str);
    let Some(to) = text(RTARGET) else { return };
    let mut args = Args::new(1, 0);
    let method = match (text(RCLOSE_METHOD), &remote.parent) {
        (Some(close), Some(parent)) => return engine.notify_once(to, close, parent, args),
        (Some(close), None) => close,
        // Release a function only if its map requests a release. A function in an argument needs no
        // release, because its owner removes it when the call ends. A function in the result of a
        // peer in another language needs no release either, because its owner removes it after a
        // timeout.
        (None, _) if remote.raw.get(RRELEASE) == Some(&Value::Bool(true)) => {
            let Some(method) = text(RMETHOD) else {
                return;
            };
            args.push("method", method);
            RELEASE
        }
        (None, _) => return,
    };
    engine.notify(to, method, args);
}
