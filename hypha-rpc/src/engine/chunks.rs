//! The messages that peers send in chunks, until they are complete.

use std::sync::Arc;

use hypha_wire::{ChunkError, ChunkStore};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Settings;

/// The unfinished messages of all peers.
pub(crate) struct IncomingChunks(Mutex<ChunkStore>);

impl IncomingChunks {
    pub(super) fn new(settings: &Settings) -> Self {
        let store = ChunkStore::new(settings.max_chunk_bytes);
        IncomingChunks(Mutex::new(match &settings.memory {
            Some(memory) => store.with_memory(Arc::clone(memory)),
            None => store,
        }))
    }

    /// Runs `f` on the store, with the present time.
    pub(crate) fn with<T>(
        &self,
        f: impl FnOnce(&mut ChunkStore, std::time::Instant) -> Result<T, ChunkError>,
    ) -> Result<T, ChunkError> {
        // tokio's clock, which tests can stop.
        let now = Instant::now().into_std();
        f(&mut self.0.lock(), now)
    }

    /// Drops the messages of a disconnected peer.
    pub(super) fn forget(&self, peer: &str) {
        self.0.lock().forget(peer);
    }

    /// Drops the messages that their senders do not finish.
    pub(super) fn tidy(&self) {
        self.0.lock().expire(Instant::now().into_std());
    }
}
