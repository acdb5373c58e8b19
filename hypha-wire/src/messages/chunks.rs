//! [`ChunkStore`]: holds the chunks of large messages until a message is complete
//! (`docs/protocol/02-messages.md`).
//!
//! Each connection of `hypha-rpc` owns one store behind a lock. The methods of `message_cache` use
//! this store. A message is removed from the store when it is complete, when its sender removes it
//! or disconnects, or when no chunk has arrived for five minutes.
//!
//! Invariant: the `used` of the store is the sum of the `used` of all peers, and the `used` of a
//! peer is the sum of the `cost` of its messages. These values change together, and only after the
//! charge has succeeded.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

// `web_time` re-exports `Instant` of std, except in a browser, where std has no clock.
use web_time::Instant;

use crate::values::memory::{MemoryCharge, PeerMemory};

/// Maximum number of incomplete messages of one peer.
const MAX_ENTRIES: usize = 64;
/// Maximum number of peers with incomplete messages, so that the map of peers is also bounded.
const MAX_PEERS: usize = 4096;
/// One peer may fill `1 / PEER_SHARE` of the store, so that one peer cannot block all other peers.
const PEER_SHARE: usize = 2;
/// Maximum wait for the next chunk of a message.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);
/// The first chunk reserves room for this many chunks of its length, because a large buffer is
/// copied each time it grows. The value is 17 and not 16, because the headers of a message make 16
/// chunks of data slightly longer. The whole reservation is charged to the account of the peer. If
/// the account has no room for the whole reservation, only the first chunk is reserved and charged.
const RESERVED_CHUNKS: usize = 17;
/// Maximum number of bytes that the first chunk reserves. Without this maximum, a peer that sends
/// only one large chunk would hold 17 times the length of the chunk.
const MAX_RESERVED: usize = 32 << 20;
/// Bytes charged for each chunk and message in addition to the content. Without this charge, a peer
/// could add an unlimited number of empty chunks.
const OVERHEAD: usize = 128;

/// Error of a request to the chunk store. The messages of `Exists` and `Unknown` are exactly the
/// messages of the Python client, so that callers see the same error from every peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// The peer already has a message with this key.
    #[error(
        "Message with the same key ({0}) already exists in the cache store, please use \
         overwrite=True or remove it first."
    )]
    Exists(String),
    /// The peer has no message with this key.
    #[error("Message with key {0} does not exists.")]
    Unknown(String),
    /// A chunk is missing.
    #[error("Message with key {key} is incomplete: chunk {index} is missing.")]
    Incomplete {
        /// Key of the message.
        key: String,
        /// Index of the first missing chunk.
        index: u64,
    },
    /// The chunk was already joined with the previous chunks, and the new chunk has a different
    /// length.
    #[error("Message with key {key}: chunk {index} is there already, with another length.")]
    Differs {
        /// Key of the message.
        key: String,
        /// Index of the chunk.
        index: u64,
    },
    /// The store is full, the peer has used its share of the store, or too many peers have messages
    /// in the store.
    #[error("Message with key {key} does not fit: the cache store is limited to {limit} bytes.")]
    Full {
        /// Key of the message.
        key: String,
        /// Share of one peer, in bytes.
        limit: usize,
    },
    /// The account of the peer has no room.
    #[error("Message with key {key} does not fit: {reason}")]
    Refused {
        /// Key of the message.
        key: String,
        /// Reason that the account gives.
        reason: String,
    },
}

/// Store of incomplete messages, which arrive in chunks.
///
/// Each message belongs to the peer that started it. Other peers can neither read nor change the
/// message. One peer cannot fill the store alone, and never evicts messages of other peers.
#[derive(Debug)]
pub struct ChunkStore {
    /// Peers with at least one message, by address.
    peers: HashMap<String, Peer>,
    /// Bytes that all messages occupy.
    used: usize,
    /// Upper bound on `used`.
    limit: usize,
    /// Accounts that are charged for the messages, in addition to the store's own limit.
    memory: Option<Arc<dyn PeerMemory>>,
}

/// Incomplete messages of one peer.
#[derive(Debug, Default)]
struct Peer {
    /// Messages by key.
    entries: HashMap<String, Entry>,
    /// Number of bytes that these messages occupy.
    used: usize,
}

impl Peer {
    /// Returns the key of the message to evict before the peer can start another message. This is
    /// the message whose last chunk is the oldest. Returns `None` if there is room.
    fn oldest_if_full(&self) -> Option<String> {
        if self.entries.len() < MAX_ENTRIES {
            return None;
        }
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.touched);
        oldest.map(|(key, _)| key.clone())
    }
}

/// Incomplete message.
struct Entry {
    /// Content of all chunks before the first gap. Each chunk is joined when it arrives and not at
    /// the end. This spreads the work over the transfer, and no chunk keeps the memory of its frame
    /// in use.
    joined: Vec<u8>,
    /// Position of each joined chunk in `joined`, by index.
    starts: Vec<usize>,
    /// Chunks that arrived before a chunk with a lower index. The keys are the indices.
    early: BTreeMap<u64, bytes::Bytes>,
    /// Time of the last chunk.
    touched: Instant,
    /// Bytes that the message occupies.
    cost: usize,
    /// Bytes charged to the account of the peer. The number is at least `cost`, because all charges
    /// are released together, when the message is removed from the store.
    charged: usize,
    /// Charges to the account of the peer. Dropping a charge returns its bytes to the account.
    charges: Vec<MemoryCharge>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("joined", &self.joined.len())
            .field("early", &self.early.len())
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

/// Change of the memory of a message when the message receives a chunk.
#[derive(Clone, Copy)]
struct Growth {
    /// Bytes that the message no longer occupies.
    freed: usize,
    /// Additional bytes that the message occupies.
    cost: usize,
    /// Capacity of the buffer for joined chunks.
    capacity: usize,
}

impl Entry {
    fn new(now: Instant) -> Self {
        Self {
            joined: Vec::new(),
            starts: Vec::new(),
            early: BTreeMap::new(),
            touched: now,
            cost: 0,
            charged: 0,
            charges: Vec::new(),
        }
    }

    /// Returns the change of memory when the message receives the chunk `index` of `len` bytes. The
    /// first `Growth` includes room for later chunks, and the second `Growth` does not. The caller
    /// uses the second `Growth` if there is no memory for the first.
    fn growth(&self, index: u64, len: usize) -> [Growth; 2] {
        let replaced = self.early.get(&index).map(bytes::Bytes::len);
        let capacity = self.joined.capacity();
        let mut growth = Growth {
            freed: replaced.map_or(0, |old| OVERHEAD + old),
            cost: OVERHEAD + len,
            capacity,
        };
        if index != self.starts.len() as u64 {
            return [growth; 2];
        }
        // This chunk fills a gap, so also join the early chunks directly after it.
        let behind = (index.saturating_add(1)..).zip(self.early.range(index.saturating_add(1)..));
        let behind = behind.take_while(|(expected, (index, _))| expected == *index);
        let behind: usize = behind.map(|(_, (_, data))| data.len()).sum();
        let needed = self.joined.len() + len + behind;
        growth.freed += behind;
        let with = |larger: usize| {
            let capacity = capacity.max(larger);
            Growth {
                cost: OVERHEAD + capacity - self.joined.capacity(),
                capacity,
                ..growth
            }
        };
        if needed <= capacity {
            return [with(capacity); 2];
        }
        // Growing by half keeps the number of copies logarithmic.
        let ample = if self.starts.is_empty() {
            len.min(MAX_RESERVED / RESERVED_CHUNKS) * RESERVED_CHUNKS
        } else {
            capacity + capacity / 2
        };
        [with(ample.max(needed)), with(needed)]
    }

    /// Returns the index after the highest chunk index so far, for `append`.
    fn next(&self) -> u64 {
        match self.early.last_key_value() {
            Some((last, _)) => last.saturating_add(1),
            None => self.starts.len() as u64,
        }
    }

    /// Returns the position of the chunk `index` in `joined`, if the chunk is joined.
    fn range_of(&self, index: u64) -> Option<std::ops::Range<usize>> {
        let index = usize::try_from(index).ok()?;
        let start = *self.starts.get(index)?;
        let end = self.starts.get(index + 1).copied();
        Some(start..end.unwrap_or(self.joined.len()))
    }

    /// Adds or replaces a chunk, with a capacity of `capacity` bytes for the joined chunks.
    ///
    /// # Panics
    ///
    /// Panics if the chunk replaces a joined chunk of a different length. [`ChunkStore::set`]
    /// checks the length first.
    fn put(&mut self, index: u64, data: bytes::Bytes, capacity: usize) {
        self.joined
            .reserve_exact(capacity.saturating_sub(self.joined.len()));
        if let Some(place) = self.range_of(index) {
            self.joined[place].copy_from_slice(&data);
            return;
        }
        self.early.insert(index, data);
        while let Some(data) = self.early.remove(&(self.starts.len() as u64)) {
            self.starts.push(self.joined.len());
            self.joined.extend_from_slice(&data);
        }
    }
}

impl Default for ChunkStore {
    /// Creates a store with a maximum of 1 GiB.
    fn default() -> Self {
        Self::new(1 << 30)
    }
}

impl ChunkStore {
    /// Creates a store with a maximum of `limit` bytes. One peer may use half of this maximum.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            peers: HashMap::new(),
            used: 0,
            limit,
            memory: None,
        }
    }

    /// Charges each message to the account of its peer. The limit of the store still applies.
    #[must_use]
    pub fn with_memory(mut self, memory: Arc<dyn PeerMemory>) -> Self {
        self.memory = Some(memory);
        self
    }

    /// Starts the message `key` of the peer `from`.
    ///
    /// First drops all messages that have not received a chunk for five minutes. If the peer still
    /// has 64 incomplete messages, evicts the message whose last chunk is the oldest. Otherwise a
    /// peer that never finishes its messages could not start another message.
    ///
    /// # Errors
    ///
    /// - [`ChunkError::Exists`] if the peer has a message with this key and `overwrite` is false.
    /// - [`ChunkError::Full`] if the store or the share of the peer is full, or if 4096 other peers
    ///   have messages.
    /// - [`ChunkError::Refused`] if the account of the peer has no room.
    pub fn create(
        &mut self,
        from: &str,
        key: &str,
        overwrite: bool,
        now: Instant,
    ) -> Result<(), ChunkError> {
        if self.entry(from, key).is_some() && !overwrite {
            return Err(ChunkError::Exists(key.to_owned()));
        }
        self.drop_entry(from, key);
        self.expire(now);
        if let Some(oldest) = self.peers.get(from).and_then(Peer::oldest_if_full) {
            self.drop_entry(from, &oldest);
        }
        let cost = OVERHEAD + from.len() + key.len();
        if !self.fits(from, 0, cost)
            || (!self.peers.contains_key(from) && self.peers.len() >= MAX_PEERS)
        {
            return Err(self.full(key));
        }
        let mut entry = Entry::new(now);
        charge(self.memory.as_ref(), from, key, &mut entry, cost)?;
        entry.cost = cost;
        self.used += cost;
        let peer = self.peers.entry(from.to_owned()).or_default();
        peer.used += cost;
        peer.entries.insert(key.to_owned(), entry);
        Ok(())
    }

    /// Adds a chunk after the chunk with the highest index.
    ///
    /// # Errors
    ///
    /// - [`ChunkError::Unknown`] if the peer has no message with this key.
    /// - [`ChunkError::Full`] if the store, or the share of the peer, is full.
    /// - [`ChunkError::Refused`] if the account of the peer has no room.
    pub fn append(
        &mut self,
        from: &str,
        key: &str,
        data: bytes::Bytes,
        now: Instant,
    ) -> Result<(), ChunkError> {
        let entry = self.entry(from, key).ok_or_else(|| unknown(key))?;
        let next = entry.next();
        self.set(from, key, next, data, now)
    }

    /// Sets the chunk `index`. Replaces an earlier chunk with this index.
    ///
    /// # Errors
    ///
    /// - [`ChunkError::Unknown`] if the peer has no message with this key.
    /// - [`ChunkError::Differs`] if the chunk would replace a joined chunk of a different length,
    ///   because the joined bytes cannot move. A chunk is joined when all chunks before it have
    ///   arrived.
    /// - [`ChunkError::Full`] if the store, or the share of the peer, is full.
    /// - [`ChunkError::Refused`] if the account of the peer has no room.
    pub fn set(
        &mut self,
        from: &str,
        key: &str,
        index: u64,
        data: bytes::Bytes,
        now: Instant,
    ) -> Result<(), ChunkError> {
        let entry = self.entry(from, key).ok_or_else(|| unknown(key))?;
        let [ample, least] = match entry.range_of(index) {
            Some(place) if place.len() != data.len() => {
                return Err(ChunkError::Differs {
                    key: key.to_owned(),
                    index,
                });
            }
            // The chunk replaces a joined chunk of the same length, so the memory does not change.
            Some(_) => {
                let (freed, cost, capacity) = (0, 0, entry.joined.capacity());
                [Growth {
                    freed,
                    cost,
                    capacity,
                }; 2]
            }
            None => entry.growth(index, data.len()),
        };
        if !self.fits(from, least.freed, least.cost) {
            return Err(self.full(key));
        }
        let ample_fits = self.fits(from, ample.freed, ample.cost);
        let peer = self.peers.get_mut(from).ok_or_else(|| unknown(key))?;
        let entry = peer.entries.get_mut(key).ok_or_else(|| unknown(key))?;
        // The limits of the store are already checked, and nothing has been changed. So if the
        // account refuses the charge, the message stays unchanged.
        let memory = self.memory.as_ref();
        let after = |growth: Growth| entry.cost.saturating_sub(growth.freed) + growth.cost;
        let (ample_cost, least_cost) = (after(ample), after(least));
        let mut growth = ample;
        if !ample_fits || charge(memory, from, key, entry, ample_cost).is_err() {
            charge(memory, from, key, entry, least_cost)?;
            growth = least;
        }
        let Growth { freed, cost, .. } = growth;
        self.used = self.used.saturating_sub(freed) + cost;
        peer.used = peer.used.saturating_sub(freed) + cost;
        entry.cost = entry.cost.saturating_sub(freed) + cost;
        entry.touched = now;
        entry.put(index, data, growth.capacity);
        Ok(())
    }

    /// Drops the message `key`.
    ///
    /// # Errors
    ///
    /// [`ChunkError::Unknown`] if the peer has no message with this key.
    pub fn remove(&mut self, from: &str, key: &str) -> Result<(), ChunkError> {
        self.drop_entry(from, key)
            .map(drop)
            .ok_or_else(|| unknown(key))
    }

    /// Removes the complete message `key` from the store and returns it.
    ///
    /// # Errors
    ///
    /// - [`ChunkError::Unknown`] if the peer has no message with this key.
    /// - [`ChunkError::Incomplete`] if a chunk is missing. The message stays in the store.
    pub fn assemble(&mut self, from: &str, key: &str) -> Result<bytes::Bytes, ChunkError> {
        let entry = self.entry(from, key).ok_or_else(|| unknown(key))?;
        if !entry.early.is_empty() {
            return Err(ChunkError::Incomplete {
                key: key.to_owned(),
                index: entry.starts.len() as u64,
            });
        }
        let entry = self.drop_entry(from, key).ok_or_else(|| unknown(key))?;
        Ok(entry.joined.into())
    }

    /// Drops all messages that have not received a chunk in the five minutes before `now`. Call
    /// this method periodically, because otherwise only [`create`](Self::create) drops such
    /// messages.
    pub fn expire(&mut self, now: Instant) {
        let total = &mut self.used;
        self.peers.retain(|_, peer| {
            let used = &mut peer.used;
            peer.entries.retain(|_, entry| {
                let keep = now.saturating_duration_since(entry.touched) <= MAX_AGE;
                if !keep {
                    *used -= entry.cost;
                    *total -= entry.cost;
                }
                keep
            });
            !peer.entries.is_empty()
        });
    }

    /// Drops all messages of a disconnected peer.
    pub fn forget(&mut self, from: &str) {
        if let Some(peer) = self.peers.remove(from) {
            self.used -= peer.used;
        }
    }

    /// Returns the number of used bytes: the content of all messages, plus an overhead for each
    /// chunk and message.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    fn entry(&self, from: &str, key: &str) -> Option<&Entry> {
        self.peers.get(from)?.entries.get(key)
    }

    /// Returns whether the peer and the store have room for `cost` bytes after releasing `freed`
    /// bytes.
    fn fits(&self, from: &str, freed: usize, cost: usize) -> bool {
        let of_peer = self.peers.get(from).map_or(0, |peer| peer.used);
        fits(self.used, freed, cost, self.limit)
            && fits(of_peer, freed, cost, self.limit / PEER_SHARE)
    }

    fn full(&self, key: &str) -> ChunkError {
        ChunkError::Full {
            key: key.to_owned(),
            limit: self.limit / PEER_SHARE,
        }
    }

    /// Removes a message. If the message was the last message of its peer, also removes the peer,
    /// because a peer without messages must not count against [`MAX_PEERS`].
    fn drop_entry(&mut self, from: &str, key: &str) -> Option<Entry> {
        let peer = self.peers.get_mut(from)?;
        let entry = peer.entries.remove(key)?;
        peer.used -= entry.cost;
        self.used -= entry.cost;
        if peer.entries.is_empty() {
            self.peers.remove(from);
        }
        Some(entry)
    }
}

fn fits(used: usize, freed: usize, cost: usize, limit: usize) -> bool {
    used.saturating_sub(freed).saturating_add(cost) <= limit
}

/// Charges the part of `cost` that is not charged yet to the account of the peer. Does nothing
/// without accounts.
fn charge(
    memory: Option<&Arc<dyn PeerMemory>>,
    from: &str,
    key: &str,
    entry: &mut Entry,
    cost: usize,
) -> Result<(), ChunkError> {
    let (Some(memory), Some(more)) = (memory, cost.checked_sub(entry.charged)) else {
        return Ok(());
    };
    if more > 0 {
        let charge = memory.charge(from, more);
        entry
            .charges
            .push(charge.map_err(|reason| ChunkError::Refused {
                key: key.to_owned(),
                reason,
            })?);
        entry.charged = cost;
    }
    Ok(())
}

fn unknown(key: &str) -> ChunkError {
    ChunkError::Unknown(key.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const A: &str = "ws/a";
    const B: &str = "ws/b";

    fn data(text: &'static str) -> bytes::Bytes {
        bytes::Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn chunks_arrive_in_any_order() {
        let now = Instant::now();
        let mut store = ChunkStore::default();
        store.create(A, "k", false, now).expect("new");
        store.set(A, "k", 2, data("c"), now).expect("fits");
        let missing = store.assemble(A, "k").expect_err("incomplete");
        assert_eq!(
            missing,
            ChunkError::Incomplete {
                key: "k".to_owned(),
                index: 0
            }
        );
        store.set(A, "k", 0, data("?"), now).expect("fits");
        store.set(A, "k", 0, data("a"), now).expect("replaces");
        let other = store.set(A, "k", 0, data("ab"), now);
        assert!(matches!(other, Err(ChunkError::Differs { index: 0, .. })));
        store.set(A, "k", 1, data("b"), now).expect("fits");
        store.append(A, "k", data("d"), now).expect("fits");
        assert_eq!(store.assemble(A, "k").expect("complete"), "abcd");
        assert_eq!(store.used(), 0);
        assert_eq!(store.assemble(A, "k"), Err(unknown("k")));
    }

    #[test]
    fn a_message_belongs_to_the_peer_that_began_it() {
        let now = Instant::now();
        let mut store = ChunkStore::default();
        store.create(A, "k", false, now).expect("new");
        assert_eq!(store.set(B, "k", 0, data("x"), now), Err(unknown("k")));
        assert_eq!(store.append(B, "k", data("x"), now), Err(unknown("k")));
        assert_eq!(store.remove(B, "k"), Err(unknown("k")));
        assert_eq!(store.assemble(B, "k"), Err(unknown("k")));
        assert_eq!(
            unknown("k").to_string(),
            "Message with key k does not exists."
        );
        store.create(B, "k", false, now).expect("another one");
        store.forget(A);
        assert_eq!(store.remove(A, "k"), Err(unknown("k")));
        assert_eq!(store.remove(B, "k"), Ok(()));
        assert_eq!(store.used(), 0);
    }

    #[test]
    fn a_key_is_used_once_unless_overwritten() {
        let now = Instant::now();
        let mut store = ChunkStore::default();
        store.create(A, "k", false, now).expect("new");
        store.append(A, "k", data("x"), now).expect("fits");
        let error = store
            .create(A, "k", false, now)
            .expect_err("exists")
            .to_string();
        assert_eq!(
            error,
            "Message with the same key (k) already exists in the cache store, \
             please use overwrite=True or remove it first."
        );
        store.create(A, "k", true, now).expect("overwrites");
        assert_eq!(store.assemble(A, "k").expect("complete"), "");
    }

    #[test]
    fn count_age_and_size_are_bounded() {
        let start = Instant::now();
        let mut store = ChunkStore::new(100_000);
        for index in 0..MAX_ENTRIES as u64 {
            let at = start + Duration::from_millis(index);
            store.create(A, &index.to_string(), false, at).expect("new");
        }
        let later = start + Duration::from_secs(1);
        store
            .append(A, "0", data("x"), later)
            .expect("still there, and now the youngest");
        store
            .create(A, "new", false, later)
            .expect("takes the place of the oldest");
        assert_eq!(store.remove(A, "1"), Err(unknown("1")));
        assert_eq!(store.remove(A, "0"), Ok(()));

        store.expire(later + MAX_AGE);
        assert_eq!(store.peers[A].entries.len(), 1);
        let error = store.append(A, "new", vec![0; 100_000].into(), later);
        assert!(matches!(error, Err(ChunkError::Full { .. })));
        let chunks = (0..)
            .take_while(|_| store.append(A, "new", data(""), later).is_ok())
            .count();
        assert!(chunks < 1000, "empty chunks are not free");
        store.remove(A, "new").expect("there");
        assert_eq!(store.used(), 0);
    }

    #[test]
    fn one_peer_cannot_use_the_share_of_others() {
        let now = Instant::now();
        let mut store = ChunkStore::new(100_000);
        store.create(B, "k", false, now).expect("new");
        store.append(B, "k", data("x"), now).expect("fits");
        let later = now + Duration::from_secs(1);
        for index in 0..2 * MAX_ENTRIES {
            let key = index.to_string();
            store.create(A, &key, false, later).expect("new");
        }
        assert_eq!(store.peers[A].entries.len(), MAX_ENTRIES);
        store.forget(A);
        store.create(A, "k", false, later).expect("new");
        while store.append(A, "k", vec![0; 1000].into(), later).is_ok() {}
        store
            .append(B, "k", vec![0; 40_000].into(), later)
            .expect("the other half is for others");
        assert_eq!(store.assemble(B, "k").expect("complete").len(), 40_001);
        store.remove(A, "k").expect("there");
        assert_eq!(store.used(), 0);
    }

    #[test]
    fn the_highest_index_is_accepted() {
        let mut store = ChunkStore::default();
        let now = Instant::now();
        store.create("ws/a", "k", false, now).unwrap();
        for _ in 0..2 {
            let chunk = bytes::Bytes::from_static(b"x");
            store.set("ws/a", "k", u64::MAX, chunk, now).unwrap();
        }
        assert!(matches!(
            store.assemble("ws/a", "k"),
            Err(ChunkError::Incomplete { index: 0, .. })
        ));
    }

    /// An account of 10,000 bytes for all peers.
    #[derive(Debug, Default)]
    struct Account(Arc<AtomicUsize>);

    struct Charge(Arc<AtomicUsize>, usize);

    impl Drop for Charge {
        fn drop(&mut self) {
            self.0.fetch_sub(self.1, Ordering::Relaxed);
        }
    }

    impl PeerMemory for Account {
        fn charge(&self, peer: &str, bytes: usize) -> Result<MemoryCharge, String> {
            if self.0.load(Ordering::Relaxed) + bytes > 10_000 {
                return Err(format!("{peer} has no more"));
            }
            self.0.fetch_add(bytes, Ordering::Relaxed);
            Ok(Box::new(Charge(Arc::clone(&self.0), bytes)))
        }
    }

    #[test]
    fn reserved_memory_is_charged_and_released() {
        let now = Instant::now();
        let account = Arc::new(Account::default());
        let used = || account.0.load(Ordering::Relaxed);
        let mut store = ChunkStore::new(1 << 20).with_memory(account.clone());
        let chunk = |len: usize| bytes::Bytes::from(vec![7; len]);
        store.create(A, "k", false, now).expect("new");
        store.set(A, "k", 0, chunk(500), now).expect("fits");
        assert!(used() > 500 * RESERVED_CHUNKS, "{}", used());
        assert_eq!(used(), store.used());
        // Later chunks that fit into the reserved memory are not charged again.
        let before = used();
        store.set(A, "k", 1, chunk(500), now).expect("fits");
        assert_eq!(used(), before + OVERHEAD);
        store.forget(A);
        assert_eq!((used(), store.used()), (0, 0));
        // If the account has no room for the reservation, only the chunk itself is charged.
        store.create(A, "k", false, now).expect("new");
        store.set(A, "k", 0, chunk(5000), now).expect("fits");
        assert!(used() < 6000, "{}", used());
        store.set(A, "k", 2, chunk(1000), now).expect("fits, early");
        let refused = store.set(A, "k", 1, chunk(5000), now);
        let refused = refused.expect_err("refused").to_string();
        assert_eq!(refused, "Message with key k does not fit: ws/a has no more");
        store.set(A, "k", 1, chunk(1000), now).expect("fits");
        assert!(used() >= store.used() && used() <= 10_000, "{}", used());
        assert_eq!(store.assemble(A, "k").expect("complete").len(), 7000);
        assert_eq!((used(), store.used()), (0, 0));
    }
}
