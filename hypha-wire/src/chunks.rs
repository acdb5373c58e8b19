//! Large messages arrive in pieces: where they wait until they are complete.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Most messages of one peer that wait at one time.
const MAX_ENTRIES: usize = 64;
/// Most peers that have messages waiting at one time.
const MAX_PEERS: usize = 4096;
/// One peer may fill so much of the store: one part in this number.
const SHARE: usize = 2;
/// How long a message waits for its next piece.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);
/// Room for so many pieces is reserved with the first: growing a large block copies it, and memory that
/// is not written costs nothing. One more than 16: a message has a few bytes besides its data.
const MANY: usize = 17;
/// But not for more bytes than this.
const MANY_BYTES: usize = 32 << 20;
/// What a piece or an entry costs besides its bytes, so that many empty ones have a bound too.
const OVERHEAD: usize = 128;

/// Why a piece was refused. Other clients know these texts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// There is a message with this key.
    #[error(
        "Message with the same key ({0}) already exists in the cache store, please use \
         overwrite=True or remove it first."
    )]
    Exists(String),
    /// There is none with this key, or it is not this peer's.
    #[error("Message with key {0} does not exists.")]
    Unknown(String),
    /// A piece is not there.
    #[error("Message with key {key} is incomplete: chunk {index} is missing.")]
    Incomplete {
        /// The key of the message.
        key: String,
        /// The first piece that is missing.
        index: u64,
    },
    /// The piece is there, and has been joined with its neighbours.
    #[error("Message with key {key}: chunk {index} is there already, with another length.")]
    Differs {
        /// The key of the message.
        key: String,
        /// The piece.
        index: u64,
    },
    /// The store holds as much as it may, or as much of this peer.
    #[error("Message with key {key} does not fit: the cache store is limited to {limit} bytes.")]
    Full {
        /// The key of the message.
        key: String,
        /// The limit.
        limit: usize,
    },
}

/// Messages that arrive in pieces. Each belongs to the peer that began it: for others it does not
/// exist. Nobody fills the store alone, or displaces what others have in it.
#[derive(Debug)]
pub struct ChunkStore {
    peers: HashMap<String, Peer>,
    used: usize,
    limit: usize,
}

/// What one peer has in the store.
#[derive(Debug, Default)]
struct Peer {
    entries: HashMap<String, Entry>,
    used: usize,
}

impl Peer {
    /// The message that has to go before another can begin.
    fn oldest_if_full(&self) -> Option<String> {
        if self.entries.len() < MAX_ENTRIES {
            return None;
        }
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.touched);
        oldest.map(|(key, _)| key.clone())
    }
}

#[derive(Debug)]
struct Entry {
    /// The pieces from the first one on without a gap, joined as they come: that is done while the
    /// next ones are on their way, and a piece does not keep the frame that it came in.
    joined: Vec<u8>,
    /// Where each of them begins.
    starts: Vec<usize>,
    /// Pieces that have overtaken others.
    early: BTreeMap<u64, bytes::Bytes>,
    touched: Instant,
    cost: usize,
}

impl Entry {
    /// The index after the last piece.
    fn next(&self) -> u64 {
        match self.early.last_key_value() {
            Some((last, _)) => last.saturating_add(1),
            None => self.starts.len() as u64,
        }
    }

    /// Where the piece `index` is, if it is joined.
    fn place(&self, index: u64) -> Option<std::ops::Range<usize>> {
        let index = usize::try_from(index).ok()?;
        let start = *self.starts.get(index)?;
        let end = self.starts.get(index + 1).copied();
        Some(start..end.unwrap_or(self.joined.len()))
    }

    /// The length of the piece `index`, if it is there.
    fn length(&self, index: u64) -> Option<usize> {
        let early = || self.early.get(&index).map(bytes::Bytes::len);
        self.place(index).map(|place| place.len()).or_else(early)
    }

    /// A piece that is joined already is replaced by one of the same length.
    fn put(&mut self, index: u64, data: bytes::Bytes) {
        if let Some(place) = self.place(index) {
            self.joined[place].copy_from_slice(&data);
            return;
        }
        self.early.insert(index, data);
        while let Some(data) = self.early.remove(&(self.starts.len() as u64)) {
            if self.starts.is_empty() {
                self.joined
                    .reserve(data.len().min(MANY_BYTES / MANY) * MANY);
            }
            self.starts.push(self.joined.len());
            self.joined.extend_from_slice(&data);
        }
    }
}

impl Default for ChunkStore {
    /// A store of at most 1 GiB.
    fn default() -> Self {
        Self::new(1 << 30)
    }
}

impl ChunkStore {
    /// A store of at most `limit` bytes in all.
    pub fn new(limit: usize) -> Self {
        Self {
            peers: HashMap::new(),
            used: 0,
            limit,
        }
    }

    /// Begin the message `key` of the peer `from`. When too many of this peer wait, those go that
    /// have been silent for long, else the one that has been silent the longest.
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
        self.reserve(from, key, 0, cost)?;
        if !self.peers.contains_key(from) && self.peers.len() >= MAX_PEERS {
            return Err(self.full(key));
        }
        self.used += cost;
        let peer = self.peers.entry(from.to_owned()).or_default();
        peer.used += cost;
        peer.entries.insert(
            key.to_owned(),
            Entry {
                joined: Vec::new(),
                starts: Vec::new(),
                early: BTreeMap::new(),
                touched: now,
                cost,
            },
        );
        Ok(())
    }

    /// Add the next piece.
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

    /// Put the piece `index`, in the place of an earlier one if there was one. A piece whose
    /// predecessors are all there can be replaced by one of the same length only.
    pub fn set(
        &mut self,
        from: &str,
        key: &str,
        index: u64,
        data: bytes::Bytes,
        now: Instant,
    ) -> Result<(), ChunkError> {
        let entry = self.entry(from, key).ok_or_else(|| unknown(key))?;
        let joined = entry.place(index);
        if joined.is_some_and(|place| place.len() != data.len()) {
            return Err(ChunkError::Differs {
                key: key.to_owned(),
                index,
            });
        }
        let freed = entry.length(index).map_or(0, |old| OVERHEAD + old);
        let cost = OVERHEAD + data.len();
        self.reserve(from, key, freed, cost)?;
        let peer = self.peers.get_mut(from).ok_or_else(|| unknown(key))?;
        let entry = peer.entries.get_mut(key).ok_or_else(|| unknown(key))?;
        self.used = self.used - freed + cost;
        peer.used = peer.used - freed + cost;
        entry.cost = entry.cost - freed + cost;
        entry.touched = now;
        entry.put(index, data);
        Ok(())
    }

    /// Forget the message `key`.
    pub fn remove(&mut self, from: &str, key: &str) -> Result<(), ChunkError> {
        self.drop_entry(from, key)
            .map(drop)
            .ok_or_else(|| unknown(key))
    }

    /// The whole message `key`, which leaves the store. An incomplete one stays.
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

    /// Forget the messages whose sender has been silent for long.
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

    /// Forget all messages of a peer that is gone.
    pub fn forget(&mut self, from: &str) {
        if let Some(peer) = self.peers.remove(from) {
            self.used -= peer.used;
        }
    }

    /// How many bytes wait, including what keeping them costs.
    pub fn used(&self) -> usize {
        self.used
    }

    fn entry(&self, from: &str, key: &str) -> Option<&Entry> {
        self.peers.get(from)?.entries.get(key)
    }

    fn reserve(&self, from: &str, key: &str, freed: usize, cost: usize) -> Result<(), ChunkError> {
        let of_peer = self.peers.get(from).map_or(0, |peer| peer.used);
        let fits = |used: usize, limit| (used - freed).saturating_add(cost) <= limit;
        if fits(self.used, self.limit) && fits(of_peer, self.limit / SHARE) {
            Ok(())
        } else {
            Err(self.full(key))
        }
    }

    fn full(&self, key: &str) -> ChunkError {
        ChunkError::Full {
            key: key.to_owned(),
            limit: self.limit / SHARE,
        }
    }

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

fn unknown(key: &str) -> ChunkError {
    ChunkError::Unknown(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "ws/a";
    const B: &str = "ws/b";

    fn data(text: &'static str) -> bytes::Bytes {
        bytes::Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn pieces_come_in_any_order() {
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
        let pieces = (0..)
            .take_while(|_| store.append(A, "new", data(""), later).is_ok())
            .count();
        assert!(pieces < 1000, "empty pieces are not free");
        store.remove(A, "new").expect("there");
        assert_eq!(store.used(), 0);
    }

    #[test]
    fn nobody_takes_anything_from_the_others() {
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
    fn the_highest_index_there_is() {
        let mut store = ChunkStore::default();
        let now = Instant::now();
        store.create("ws/a", "k", false, now).unwrap();
        for _ in 0..2 {
            let piece = bytes::Bytes::from_static(b"x");
            store.set("ws/a", "k", u64::MAX, piece, now).unwrap();
        }
        assert!(matches!(
            store.assemble("ws/a", "k"),
            Err(ChunkError::Incomplete { index: 0, .. })
        ));
    }
}
