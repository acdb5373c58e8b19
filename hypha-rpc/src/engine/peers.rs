//! Properties of the built-in services of peers.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::Clock;

/// A client of the same id may be another program by now, so its service is asked for again after
/// this many milliseconds.
const TRUSTED: u64 = 60_000;

/// Peers that are known at the same time. Each costs one request, so forgetting all of them when
/// there are more is cheaper than keeping them in the order of their use.
const MOST: usize = 1024;

/// Properties of the built-in service of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerInfo {
    /// Chunks carry their index and may overtake each other.
    pub(crate) indexed_chunks: bool,
    /// The largest frame that it announced; 0 if it announced none.
    pub(crate) max_frame: usize,
}

/// The peers that were asked for their built-in service lately.
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
