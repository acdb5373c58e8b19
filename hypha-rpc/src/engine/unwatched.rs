//! The task of a connection in a browser, which has no other thread that could watch it.

use std::sync::Arc;

use super::{Engine, Handlers};

/// Counterpart of the type that wakes the monitor of a connection. Has no effect: a browser has no
/// monitor.
#[derive(Debug, Default)]
pub(super) struct Activity;

impl Activity {
    #[allow(clippy::unused_self, reason = "as with a monitor")]
    pub(super) fn begin(&self) {}
}

/// Runs the task of a connection.
pub(super) fn spawn<H: Handlers>(
    _: &Arc<Engine<H>>,
    task: impl Future<Output = ()> + Send + 'static,
) {
    crate::runtime::spawn(task);
}
