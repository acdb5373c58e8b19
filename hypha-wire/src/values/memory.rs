//! Memory of decoded values. Values may need many times their size on the wire, so decoding has a
//! limit.
//!
//! The decoder estimates the memory of each value before creating the value, and takes this memory
//! from the [`Meter`] of the message. Each message has one meter, which is dropped with its
//! arguments.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::decode_error::DecodeError;

/// Default maximum memory of the decoded values of one message: 192 MiB.
pub const MAX_DECODED_BYTES: usize = 192 << 20;

/// The values of a message may occupy this many times its length, even above the limit, so that a
/// large message of numbers or strings is accepted. The limit exists for other messages: a list of
/// nulls, for example, needs 72 times its length as a [`Value`](crate::Value).
const DECODED_PER_BYTE: usize = 2;

/// Bytes that a message may occupy in addition to twice its length, for the headers of its values.
const SLACK: usize = 4 << 10;

/// Bytes that a message may occupy before its sender is charged, because most messages are small,
/// and charging would cost more than decoding them.
const FREE: usize = 4 << 10;

/// Minimum charge in bytes. Charging for each value would cost more than the value.
const STEP: usize = 64 << 10;

/// Memory accounts of a program's peers.
///
/// A program that serves many peers charges each peer for the memory that the program holds for it:
/// incomplete messages, requests whose handlers are running, and decoded values. `charge` is called
/// by the task of the connection and while values are decoded, so it must not block.
pub trait PeerMemory: fmt::Debug + Send + Sync {
    /// Charges `bytes` to the peer at the address `peer`, until the returned value is dropped.
    ///
    /// # Errors
    ///
    /// Returns the reason if the peer may not occupy more.
    fn charge(&self, peer: &str, bytes: usize) -> Result<MemoryCharge, String>;
}

/// Memory charged to a peer, released when this value is dropped.
pub type MemoryCharge = Box<dyn Any + Send + Sync>;

/// Limit on the memory that the values of one message occupy.
///
/// The counters are atomic only because accessors of arguments take `&self`. They are relaxed and
/// updated in two steps, because usually a single handler decodes the arguments of a message in
/// turn. If several threads decode them at once, each may use the same spare bytes.
pub(crate) struct Meter {
    limit: usize,
    /// Bytes granted so far, at most `limit`. Never decreases.
    granted: AtomicUsize,
    /// Granted bytes that no value occupies yet.
    spare: AtomicUsize,
    /// Account that is charged for grants. `None` if everything is granted from the start.
    account: Option<Arc<Account>>,
}

/// Account of a message's sender, shared by the clones of the arguments.
struct Account {
    memory: Arc<dyn PeerMemory>,
    peer: String,
    /// Charges so far. All are dropped with the last clone of the arguments.
    charges: Mutex<Vec<MemoryCharge>>,
}

impl Meter {
    /// Creates the limit for a message of `len` bytes: `limit`, or twice `len` if that is more.
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

    /// Charges the memory to `peer` when it is needed.
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

    /// Grants and charges at least `bytes` more, and returns the number of granted bytes. Fails if
    /// the limit is reached or the account has no room.
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
        // Charge before taking this lock, so that the locks of the account are never taken while
        // this lock is held.
        let charges = account.charges.lock();
        charges.unwrap_or_else(PoisonError::into_inner).push(charge);
        self.granted.fetch_add(bytes, Ordering::Relaxed);
        self.spare.fetch_add(bytes, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Marks `bytes` of the spare memory as occupied. They stay occupied, because decoded values
    /// may outlive the decoder.
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

/// The copy has the same account, and as much memory left as the original at the time of the copy.
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

/// Returns the error for a value that exceeds the limit.
pub(super) fn over(limit: usize) -> DecodeError {
    DecodeError::new(format!(
        "the value needs more than {limit} bytes of memory when it is decoded (the limit of the \
         receiver, `max_decoded_bytes`)"
    ))
}
