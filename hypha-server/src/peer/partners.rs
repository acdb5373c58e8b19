//! The peers that a client has calls with, which are told when the client is gone.
//!
//! A caller must not wait for a callee that is gone, nor a handler work for a caller that is gone,
//! in whatever workspace they are. The event `client_disconnected` reaches only the subscribers of
//! one workspace. So the router notes both ends of every message that has a session, and of no
//! other: a peer that was never called by the client, and waits for nothing from it, is told
//! nothing.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Partners that one client remembers. A client with more forgets that it has them, not who they
/// are: all peers are searched for it when it leaves.
const PARTNERS_MAX: usize = 1024;

/// No connection has this generation.
const NONE: u64 = 0;

/// The partners of one client.
#[derive(Default)]
pub(crate) struct Partners {
    noted: Mutex<Noted>,
    /// Generation of the connection that was called last: most calls go where the last one went,
    /// and to note both ends again would cost two locks that others want too.
    latest: AtomicU64,
}

#[derive(Default)]
struct Noted {
    addresses: HashSet<Box<str>>,
    /// Set when a partner was left out.
    incomplete: bool,
}

impl Partners {
    /// Returns whether both ends have noted each other when the connection `generation` was called,
    /// and no other one was called since.
    pub(crate) fn is_latest(&self, generation: u64) -> bool {
        self.latest.load(Ordering::Acquire) == generation
    }

    /// Remembers that both ends have noted each other, unless the partner is forgotten again.
    pub(crate) fn set_latest(&self, generation: u64, address: &str) {
        let noted = self.noted.lock();
        if noted.addresses.contains(address) {
            self.latest.store(generation, Ordering::Release);
        }
    }

    /// Notes a partner. Returns false if it was noted before.
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

    /// Removes a partner that is gone. Returns false if it was not noted.
    pub(crate) fn forget(&self, address: &str) -> bool {
        let mut noted = self.noted.lock();
        self.latest.store(NONE, Ordering::Release);
        noted.addresses.remove(address)
    }

    /// Remembers that there may be partners that are not noted.
    pub(crate) fn set_incomplete(&self) {
        self.noted.lock().incomplete = true;
    }

    /// Adds the partners of a former connection with the same address.
    pub(crate) fn inherit(&self, former: &Partners) {
        let (addresses, incomplete) = former.take();
        for address in addresses {
            self.note(&address);
        }
        self.noted.lock().incomplete |= incomplete;
    }

    /// Removes and returns all partners, and whether there were more.
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
    fn a_partner_is_noted_once_and_forgotten() {
        let partners = Partners::default();
        assert!(partners.note("w/a"));
        assert!(!partners.note("w/a"));
        partners.set_latest(7, "w/a");
        assert!(partners.is_latest(7));
        assert!(partners.forget("w/a"));
        assert!(!partners.is_latest(7));
        partners.set_latest(7, "w/a");
        assert!(!partners.is_latest(7), "it is forgotten");
        assert!(!partners.forget("w/a"));
        assert_eq!(partners.take(), (vec![], false));
    }

    #[test]
    fn a_client_with_too_many_partners_knows_that_it_has_more() {
        let partners = Partners::default();
        for number in 0..=PARTNERS_MAX {
            assert!(partners.note(&number.to_string()));
        }
        let (addresses, incomplete) = partners.take();
        assert_eq!((addresses.len(), incomplete), (PARTNERS_MAX, true));
    }
}
