//! Records the partners of a client, which are the peers with which the client has calls. The
//! server notifies the partners when the client disconnects.
//!
//! A caller must not wait for a callee that has disconnected, and a handler must not work for a
//! disconnected caller. The event `client_disconnected` is not enough: it reaches only the
//! subscribers of one workspace, but clients also call clients of other workspaces. Therefore the
//! router records the sender and the receiver of each message that has a session. Messages without
//! a session belong to no call, so their senders and receivers need not be notified.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Maximum number of partners recorded for one client. A client with more partners is marked as
/// incomplete. When such a client disconnects, the server searches the partners of all peers for
/// the client.
const PARTNERS_MAX: usize = 1024;

/// A generation number that no connection has.
const NONE: u64 = 0;

/// The partners of one client.
#[derive(Default)]
pub(crate) struct Partners {
    noted: Mutex<Noted>,
    /// Generation of the connection to which the client sent its last call, or [`NONE`]. Most calls
    /// go to the same connection as the previous call. Without this shortcut, each message would
    /// take the locks of both clients, and other senders take these locks too.
    latest: AtomicU64,
}

/// The recorded partners.
#[derive(Default)]
struct Noted {
    /// Addresses of the partners, `workspace/client`.
    addresses: HashSet<Box<str>>,
    /// Whether the client may have partners that are not in `addresses`.
    incomplete: bool,
}

impl Partners {
    /// Returns whether the client sent its last call to the connection `generation`, and the call
    /// is recorded at both clients. If so, the caller need not record the next call.
    pub(crate) fn is_latest(&self, generation: u64) -> bool {
        // `Acquire` pairs with the stores in `set_latest` and `forget`, so that a task that sees
        // the generation also sees the partners recorded before that store.
        self.latest.load(Ordering::Acquire) == generation
    }

    /// Remembers that both ends have recorded the calls between this client and the partner. Does
    /// nothing if the partner was removed meanwhile.
    pub(crate) fn set_latest(&self, generation: u64, address: &str) {
        // The generation is stored under the lock, so that `forget` cannot run between the check
        // and the store.
        let noted = self.noted.lock();
        if noted.addresses.contains(address) {
            self.latest.store(generation, Ordering::Release);
        }
    }

    /// Records a partner. Returns false if the partner is already recorded. If there are already
    /// [`PARTNERS_MAX`] partners, marks the client as incomplete instead and returns true.
    pub(crate) fn note(&self, address: &str) -> bool {
        let mut noted = self.noted.lock();
        if noted.addresses.contains(address) {
            return false;
        }
        if noted.addresses.len() < PARTNERS_MAX {
            noted.addresses.insert(address.into());
        } else {
            noted.incomplete = true;
        }
        true
    }

    /// Removes a partner that has disconnected. Returns false if the partner was not recorded.
    pub(crate) fn forget(&self, address: &str) -> bool {
        let mut noted = self.noted.lock();
        // The generation is reset even if the client called another partner last, because the
        // generation of the removed partner is unknown.
        self.latest.store(NONE, Ordering::Release);
        noted.addresses.remove(address)
    }

    /// Marks the client as incomplete: it may have partners that are not recorded.
    pub(crate) fn set_incomplete(&self) {
        self.noted.lock().incomplete = true;
    }

    /// Adds the partners of an earlier connection with the same address.
    pub(crate) fn inherit(&self, former: &Partners) {
        let (addresses, incomplete) = former.take();
        for address in addresses {
            self.note(&address);
        }
        self.noted.lock().incomplete |= incomplete;
    }

    /// Removes and returns the addresses of all partners. The flag is true if there may be more
    /// partners.
    pub(crate) fn take(&self) -> (Vec<Box<str>>, bool) {
        let mut noted = self.noted.lock();
        let incomplete = std::mem::take(&mut noted.incomplete);
        (noted.addresses.drain().collect(), incomplete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partner_is_recorded_once_and_removed() {
        let partners = Partners::default();
        assert!(partners.note("w/a"));
        assert!(!partners.note("w/a"));
        partners.set_latest(7, "w/a");
        assert!(partners.is_latest(7));
        assert!(partners.forget("w/a"));
        assert!(!partners.is_latest(7));
        partners.set_latest(7, "w/a");
        assert!(!partners.is_latest(7), "the partner was removed");
        assert!(!partners.forget("w/a"));
        assert_eq!(partners.take(), (vec![], false));
    }

    #[test]
    fn a_client_with_too_many_partners_is_marked_incomplete() {
        let partners = Partners::default();
        for number in 0..=PARTNERS_MAX {
            assert!(partners.note(&number.to_string()));
        }
        let (addresses, incomplete) = partners.take();
        assert_eq!((addresses.len(), incomplete), (PARTNERS_MAX, true));
    }
}
