//! Incoming messages in chunks, until they are complete. The methods of the built-in service add
//! the chunks (`service/builtin.rs`). [`ChunkStore`] enforces the limits.

use std::sync::Arc;

use hypha_wire::{ChunkError, ChunkStore};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Settings;

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

    /// Calls `f` with the store and the current time, while holding the lock.
    pub(crate) fn with<T>(
        &self,
        f: impl FnOnce(&mut ChunkStore, std::time::Instant) -> Result<T, ChunkError>,
    ) -> Result<T, ChunkError> {
        // Use Tokio's clock instead of the system's, because tests can pause it.
        let now = Instant::now().into_std();
        f(&mut self.0.lock(), now)
    }

    /// Drops the messages of a disconnected peer.
    pub(super) fn forget(&self, peer: &str) {
        self.0.lock().forget(peer);
    }

    /// Drops messages that have not received a chunk for a while, because their senders have given
    /// up.
    pub(super) fn tidy(&self) {
        self.0.lock().expire(Instant::now().into_std());
    }
}
