//! Runs the task of a connection in a browser. A browser has no other thread that could watch the
//! task.

use std::sync::Arc;

use super::{Engine, Handlers};

/// Replaces the type that wakes the monitor of a connection. Does nothing, because there is no
/// monitor in a browser.
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
