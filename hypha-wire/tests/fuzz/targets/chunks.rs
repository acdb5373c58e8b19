//! Compares the chunk store with a model. After any sequence of requests, a complete message equals
//! the sent message, and the store does not exceed its limit. After all peers have disconnected,
//! the store is empty.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use hypha_wire::{ChunkError, ChunkStore};

use super::input::Input;

const PEERS: [&str; 3] = ["ws/a", "ws/b", "other/c"];
const KEYS: [&str; 4] = ["", "k", "l", "a longer key"];

type Pieces = BTreeMap<u64, Vec<u8>>;

pub(crate) fn run(input: &[u8]) {
    let mut input = Input(input);
    let limit = input.pick(&[0, 1_000, 10_000, 1 << 20]);
    let mut store = ChunkStore::new(limit);
    let mut model: HashMap<(&str, &str), Pieces> = HashMap::new();
    let mut now = Instant::now();
    while !input.is_empty() {
        let (from, key) = (input.pick(&PEERS), input.pick(&KEYS));
        let place = (from, key);
        match input.byte() % 8 {
            0 => {
                let overwrite = input.byte() % 2 == 1;
                let known = model.contains_key(&place);
                let outcome = store.create(from, key, overwrite, now);
                // The store may have removed the message without notice, because the message
                // expired or the store was full.
                match outcome {
                    Ok(()) => drop(model.insert(place, Pieces::new())),
                    Err(ChunkError::Exists(_)) => assert!(known && !overwrite),
                    Err(ChunkError::Full { .. }) => drop(model.remove(&place)),
                    Err(other) => panic!("{other}"),
                }
            }
            1 => {
                let data = input.bytes();
                let outcome = store.append(from, key, bytes::Bytes::copy_from_slice(data), now);
                if outcome.is_ok() {
                    let pieces = model.get_mut(&place).expect("was started");
                    let next = pieces
                        .keys()
                        .next_back()
                        .map_or(0, |last| last.saturating_add(1));
                    pieces.insert(next, data.to_vec());
                }
            }
            2 => {
                let index = match input.byte() {
                    0xff => u64::MAX,
                    index => u64::from(index),
                };
                let data = input.bytes();
                let outcome = store.set(from, key, index, bytes::Bytes::copy_from_slice(data), now);
                if outcome.is_ok() {
                    let pieces = model.get_mut(&place).expect("was started");
                    pieces.insert(index, data.to_vec());
                }
            }
            3 => match store.assemble(from, key) {
                Ok(whole) => {
                    let pieces = model.remove(&place).expect("was started");
                    assert!(
                        pieces.keys().copied().eq(0..pieces.len() as u64),
                        "has a gap"
                    );
                    assert_eq!(whole, pieces.into_values().collect::<Vec<_>>().concat());
                }
                Err(ChunkError::Incomplete { index, .. }) => {
                    assert!(!model[&place].contains_key(&index));
                }
                Err(ChunkError::Unknown(_)) => drop(model.remove(&place)),
                Err(other) => panic!("{other}"),
            },
            4 => {
                if store.remove(from, key).is_ok() {
                    model.remove(&place).expect("was started");
                }
            }
            5 => {
                store.forget(from);
                model.retain(|(owner, _), _| *owner != from);
            }
            6 => now += Duration::from_secs(u64::from(input.byte())),
            _ => store.expire(now),
        }
        assert!(store.used() <= limit);
        // The store keeps only data that was sent. The memory that it reserves is a bounded
        // multiple of that data.
        let sent = model.iter().map(|((from, key), pieces)| {
            let bytes: usize = pieces.values().map(Vec::len).sum();
            from.len() + key.len() + 17 * bytes + 128 * (pieces.len() + 1)
        });
        assert!(store.used() <= sent.sum(), "keeps more than was sent");
    }
    for from in PEERS {
        store.forget(from);
    }
    assert_eq!(store.used(), 0);
}
