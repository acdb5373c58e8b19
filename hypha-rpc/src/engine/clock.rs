//! The clock of a connection, in milliseconds, which fit into an atomic.

use tokio::time::Instant;

/// Milliseconds since the connection was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(super) fn new() -> Self {
        Clock(Instant::now())
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}
