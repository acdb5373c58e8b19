//! Properties of the built-in services of peers.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::Clock;

/// Milliseconds for which the properties of a peer are cached. Then they are fetched again, because
/// another program may have connected with the same client id.
const TRUSTED: u64 = 60_000;

/// Maximum number of cached peers. When exceeded, the whole cache is cleared: fetching again costs
/// one request per peer, which is cheaper than tracking the order of use.
const MOST: usize = 1024;

/// Properties of the built-in service of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerInfo {
    /// Whether the peer accepts chunks with an index, which may overtake each other.
    pub(crate) indexed_chunks: bool,
    /// Maximum frame size that the peer announced, in bytes; 0 if none.
    pub(crate) max_frame: usize,
}

/// Cache of the properties of peers. Only messages larger than a chunk need them.
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
        (now.saturating_sub(*asked) < TRUSTED).then_some(*info)
    }

    pub(crate) fn remember(&self, peer: &str, info: PeerInfo) {
        let mut known = self.known.lock();
        if known.len() >= MOST {
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
