//! Limits the memory of decoded values, because a value may need many times its size on the wire.
//!
//! The decoder estimates the memory of each value before creating the value. It then takes this
//! amount from the [`Meter`] of the message. Each message has one meter, which is dropped together
//! with the arguments of the message.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::decode_error::DecodeError;

/// Default maximum memory of the decoded values of one message: 192 MiB.
pub const MAX_DECODED_BYTES: usize = 192 << 20;

/// The values of a message may occupy this many times the length of the message, even above the
/// limit, so that a large message of numbers or strings is accepted. The limit is for other
/// messages. For example, a list of nulls needs 72 times its length as a [`Value`](crate::Value).
const DECODED_PER_BYTE: usize = 2;

/// Number of bytes that the values of a message may occupy in addition to twice the length of the
/// message. They are for the headers of the values.
const SLACK: usize = 4 << 10;

/// Number of bytes that the values of a message may occupy before the sender is charged. Most
/// messages are small, and charging them would cost more than decoding them.
const FREE: usize = 4 << 10;

/// Minimum charge in bytes. Charging each value separately would cost more time than decoding the
/// value.
const STEP: usize = 64 << 10;

/// Memory accounts of the peers of a program.
///
/// A program that serves many peers charges each peer for the memory that the program uses for that
/// peer: incomplete messages, requests with running handlers, and decoded values. The task of the
/// connection calls `charge`, also while it decodes values, so `charge` must not block.
pub trait PeerMemory: fmt::Debug + Send + Sync {
    /// Charges `bytes` to the peer at the address `peer`, until the returned value is dropped.
    ///
    /// # Errors
    ///
    /// Returns the reason if the peer may not occupy more memory.
    fn charge(&self, peer: &str, bytes: usize) -> Result<MemoryCharge, String>;
}

/// Memory charged to a peer. Dropping this value releases the memory.
pub type MemoryCharge = Box<dyn Any + Send + Sync>;

/// Limit on the memory that the values of one message occupy.
///
/// The counters are atomic only because accessors of arguments take `&self`. They are relaxed, and
/// each update takes two steps. This suffices, because usually a single handler decodes the
/// arguments of a message one after another. If several threads decode arguments at once, each
/// thread may use the same spare bytes.
pub(crate) struct Meter {
    limit: usize,
    /// Number of bytes granted so far, at most `limit`. This number never decreases.
    granted: AtomicUsize,
    /// Number of granted bytes that no value occupies yet.
    spare: AtomicUsize,
    /// Account that is charged for granted bytes. `None` if all bytes are granted from the start.
    account: Option<Arc<Account>>,
}

/// Account of the sender of a message. The clones of the arguments share the account.
struct Account {
    memory: Arc<dyn PeerMemory>,
    peer: String,
    /// Charges made so far. All charges are dropped together with the last clone of the arguments.
    charges: Mutex<Vec<MemoryCharge>>,
}

impl Meter {
    /// Creates the limit for a message of `len` bytes. The limit is the larger of `limit` and twice
    /// `len` plus 4 KiB.
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

    /// Charges memory to `peer` when values need it.
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

    /// Charges and grants at least `bytes` more bytes, and returns the number of granted bytes.
    /// Fails if the limit would be exceeded, or if the peer may not occupy more memory.
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
        // Charge the account before taking this lock, so that this lock is never held while the
        // locks of the account are taken.
        let charges = account.charges.lock();
        charges.unwrap_or_else(PoisonError::into_inner).push(charge);
        self.granted.fetch_add(bytes, Ordering::Relaxed);
        self.spare.fetch_add(bytes, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Marks `bytes` of the spare memory as occupied. These bytes stay occupied, because decoded
    /// values may outlive the decoder.
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

/// The clone charges the same account. The clone has as much memory left as the original has when
/// it is cloned.
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
