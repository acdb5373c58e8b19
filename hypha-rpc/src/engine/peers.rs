//! Properties of the built-in services of peers.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::Clock;

/// Time for which the properties of a peer are cached, in milliseconds. Afterwards, the properties
/// are fetched again, because another program may have connected with the same client id.
const CACHE_TIME: u64 = 60_000;

/// Maximum number of cached peers. If there are more peers, the whole cache is cleared: fetching
/// again costs one request per peer, and is simpler than tracking the order of use.
const MAX_PEERS: usize = 1024;

/// Properties of the built-in service of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerInfo {
    /// Whether the peer accepts chunks with an index, which may arrive in any order.
    pub(crate) indexed_chunks: bool,
    /// Maximum frame size that the peer announced, in bytes. 0 if the peer announced no size.
    pub(crate) max_frame: usize,
}

/// Cache of the properties of peers. Only messages larger than a chunk need this cache.
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

    /// Returns the properties of a peer, unless they are unknown or too old.
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
