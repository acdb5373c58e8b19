//! Caches the properties of the built-in services of peers.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::Clock;

/// Time for which the properties of a peer are cached, in milliseconds. Afterwards, this client
/// fetches the properties again, because another program may have connected with the client id of
/// the peer.
const CACHE_TIME: u64 = 60_000;

/// Maximum number of cached peers. When the cache is full, the whole cache is cleared. Fetching the
/// properties again costs only one request per peer, and this is simpler than tracking when each
/// peer was last used.
const MAX_PEERS: usize = 1024;

/// Properties of the built-in service of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerInfo {
    /// Whether the peer accepts numbered chunks. Numbered chunks may arrive in any order.
    pub(crate) indexed_chunks: bool,
    /// Maximum frame size that the peer announced, in bytes. 0 if the peer announced no size.
    pub(crate) max_frame: usize,
}

/// Cache of the properties of peers. The cache is only used for messages that are larger than a
/// chunk.
pub(crate) struct Peers {
    known: Mutex<HashMap<String, (u64, PeerInfo)>>,
    clock: Clock,
}

impl Peers {
    pub(super) fn new(clock: Clock) -> Self {
        Peers {
            known: Mutex::default(),
            clock,
        }
    }

    /// Returns the cached properties of a peer. Returns `None` if the properties are not cached or
    /// are too old.
    pub(crate) fn get(&self, peer: &str) -> Option<PeerInfo> {
        let now = self.clock.now();
        let known = self.known.lock();
        let (asked, info) = known.get(peer)?;
        (now.saturating_sub(*asked) < CACHE_TIME).then_some(*info)
    }

    pub(crate) fn remember(&self, peer: &str, info: PeerInfo) {
        let mut known = self.known.lock();
        if known.len() >= MAX_PEERS {
            known.clear();
        }
        known.insert(peer.to_owned(), (self.clock.now(), info));
    }

    pub(crate) fn forget(&self, peer: &str) {
        self.known.lock().remove(peer);
    }

    pub(crate) fn forget_all(&self) {
        self.known.lock().clear();
    }
}
