//! Memory of decoded values: they may need many times their bytes on the wire, so decoding has a
//! bound.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::decode_error::DecodeError;

/// Default of the memory that the values of one message may occupy, in bytes.
pub const MAX_DECODED_BYTES: usize = 192 << 20;

/// The values of a message may occupy this many times its length, if that is more than the limit.
/// Numbers and text need less; a list of nulls as [`Value`](crate::Value) needs 72 times its
/// length.
const DECODED_PER_BYTE: usize = 2;

/// Memory of a large list besides its items.
const SLACK: usize = 4 << 10;

/// Bytes that a message may occupy before its sender is charged: most messages need no charge.
const FREE: usize = 4 << 10;

/// Least bytes of one charge. Fewer and larger charges cost less.
const STEP: usize = 64 << 10;

/// Accounts of the memory that is held for peers.
///
/// A program that serves many peers charges each of them for what it holds on their behalf:
/// incomplete messages, requests whose handlers run, and decoded values.
pub trait PeerMemory: fmt::Debug + Send + Sync {
    /// Charges `bytes` to the peer at the address `peer` until the returned value is dropped.
    ///
    /// # Errors
    ///
    /// Returns the reason if the peer may not occupy more.
    fn charge(&self, peer: &str, bytes: usize) -> Result<MemoryCharge, String>;
}

/// Memory charged to a peer, given back when this is dropped.
pub type MemoryCharge = Box<dyn Any + Send + Sync>;

/// Bound on the memory that the values of one message occupy.
pub(crate) struct Meter {
    limit: usize,
    /// Bytes granted so far, of at most `limit`.
    granted: AtomicUsize,
    /// Those of them that no value occupies.
    spare: AtomicUsize,
    account: Option<Arc<Account>>,
}

/// Account of the sender of a message.
struct Account {
    memory: Arc<dyn PeerMemory>,
    peer: String,
    charges: Mutex<Vec<MemoryCharge>>,
}

impl Meter {
    /// Creates the bound for a message of `len` bytes.
    pub(crate) fn new(limit: usize, len: usize) -> Self {
        let of_message = len.saturating_mul(DECODED_PER_BYTE).saturating_add(SLACK);
        let limit = limit.max(of_message);
        Self {
            limit,
            granted: AtomicUsize::new(limit),
            spare: AtomicUsize::new(limit),
            account: None,
        }
    }

    /// Charges the memory to `peer` as it is needed.
    pub(crate) fn charging(self, memory: Arc<dyn PeerMemory>, peer: &str) -> Self {
        let free = FREE.min(self.limit);
        Self {
            limit: self.limit,
            granted: AtomicUsize::new(free),
            spare: AtomicUsize::new(free),
            account: Some(Arc::new(Account {
                memory,
                peer: peer.to_owned(),
                charges: Mutex::default(),
            })),
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn spare(&self) -> usize {
        self.spare.load(Ordering::Relaxed)
    }

    /// Grants at least `bytes` more, and returns how many.
    pub(super) fn grant(&self, bytes: usize) -> Result<usize, DecodeError> {
        let granted = self.granted.load(Ordering::Relaxed);
        let room = self.limit.saturating_sub(granted);
        let Some(account) = self.account.as_ref().filter(|_| bytes <= room) else {
            return Err(over(self.limit));
        };
        let bytes = bytes.max(STEP).min(room);
        let charge = account.memory.charge(&account.peer, bytes);
        let charge = charge.map_err(|reason| {
            DecodeError::new(format!(
                "the value needs more memory than its sender may occupy: {reason}"
            ))
        })?;
        let charges = account.charges.lock();
        charges.unwrap_or_else(PoisonError::into_inner).push(charge);
        self.granted.fetch_add(bytes, Ordering::Relaxed);
        self.spare.fetch_add(bytes, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Adds `bytes` to the memory of the values.
    pub(super) fn occupied(&self, bytes: usize) {
        let spare = self.spare.load(Ordering::Relaxed);
        self.spare
            .store(spare.saturating_sub(bytes), Ordering::Relaxed);
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new(MAX_DECODED_BYTES, 0)
    }
}

/// The copy has the same account, and as much room as the original has now.
impl Clone for Meter {
    fn clone(&self) -> Self {
        Self {
            limit: self.limit,
            granted: AtomicUsize::new(self.granted.load(Ordering::Relaxed)),
            spare: AtomicUsize::new(self.spare()),
            account: self.account.clone(),
        }
    }
}

/// Returns the error for a value that exceeds the bound.
pub(super) fn over(limit: usize) -> DecodeError {
    DecodeError::new(format!(
        "the value needs more than {limit} bytes of memory when it is decoded (the limit of the \
         receiver, `max_decoded_bytes`)"
    ))
}
