//! Clock of a connection. The clock counts milliseconds in an integer, because an integer can be
//! stored in an atomic and an `Instant` cannot.

use std::time::Duration;

use crate::runtime::Instant;

/// Clock that counts the milliseconds since the connection was created.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(super) fn new() -> Self {
        Clock(Instant::now())
    }

    /// Returns the time `milliseconds` after the connection was created.
    pub(super) fn at(&self, milliseconds: u64) -> Instant {
        self.0 + Duration::from_millis(milliseconds)
    }

    /// Returns the milliseconds since the connection was created.
    pub(crate) fn now(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}
