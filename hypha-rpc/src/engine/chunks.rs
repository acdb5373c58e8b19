//! Stores the received chunks of each message until the message is complete. The methods of the
//! built-in service (`service/builtin.rs`) add the chunks. [`ChunkStore`] enforces the limits.

use std::sync::Arc;

use hypha_wire::{ChunkError, ChunkStore};
use parking_lot::Mutex;

use super::Settings;
use crate::runtime::{Instant, into_std};

/// The incomplete messages of all peers.
pub(crate) struct IncomingChunks(Mutex<ChunkStore>);

impl IncomingChunks {
    pub(super) fn new(settings: &Settings) -> Self {
        let store = ChunkStore::new(settings.max_chunk_bytes);
        IncomingChunks(Mutex::new(match &settings.memory {
            Some(memory) => store.with_memory(Arc::clone(memory)),
            None => store,
        }))
    }

    /// Locks the store, and calls `f` with the store and the current time.
    pub(crate) fn with<T>(
        &self,
        f: impl FnOnce(&mut ChunkStore, web_time::Instant) -> Result<T, ChunkError>,
    ) -> Result<T, ChunkError> {
        // Use the clock of tokio instead of the system's clock, because tests can pause the clock
        // of tokio.
        let now = into_std(Instant::now());
        f(&mut self.0.lock(), now)
    }

    /// Drops the incomplete messages of a disconnected peer.
    pub(super) fn forget(&self, peer: &str) {
        self.0.lock().forget(peer);
    }

    /// Drops messages that have received no chunk for a while, because the senders of such messages
    /// no longer send chunks.
    pub(super) fn tidy(&self) {
        self.0.lock().expire(into_std(Instant::now()));
    }
}
