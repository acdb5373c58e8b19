//! Stores the addresses of the workspace manager and of this client. Both addresses may change with
//! each link.
//!
//! After a restart of the server, the workspace manager has a new id. The manager proxies of the
//! program still use the old id. So this module stores the addresses of former managers. If a
//! message has such an address, the address is replaced with the current address.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::Identity;
use super::handshake::Granted;
use hypha_wire::keys::MANAGER_WORKSPACE;

/// Maximum number of former managers whose addresses are stored. Without this limit, the memory use
/// of a client would grow with each restart of the server.
const FORMER_MANAGERS: usize = 64;

/// Identity that the server assigned on the latest link, and addresses of former managers.
pub(crate) struct Membership {
    identity: RwLock<Arc<Identity>>,
    former_managers: Mutex<VecDeque<String>>,
    reconnection_token: Mutex<Option<String>>,
}

impl Membership {
    pub(super) fn new(identity: Identity) -> Self {
        Membership {
            identity: RwLock::new(Arc::new(identity)),
            former_managers: Mutex::default(),
            reconnection_token: Mutex::default(),
        }
    }

    pub(crate) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity.read())
    }

    /// Replaces the identity with the identity that the server assigned on a new link.
    pub(crate) fn adopt(&self, granted: Granted) {
        if let Some(token) = granted.reconnection_token {
            self.set_reconnection_token(token);
        }
        let identity = Arc::new(granted.identity);
        // The lock of `identity` is released at the end of this statement, before `former_managers`
        // is locked.
        let former = std::mem::replace(&mut *self.identity.write(), Arc::clone(&identity));
        if former.manager_id == identity.manager_id {
            return;
        }
        if let Some(address) = former.manager_address() {
            let mut known = self.former_managers.lock();
            if !known.contains(&address) {
                if known.len() == FORMER_MANAGERS {
                    known.pop_front();
                }
                known.push_back(address);
            }
        }
    }

    /// Returns the current address of the manager if `to` is the address of a former manager.
    /// Otherwise returns `None`.
    pub(crate) fn present_manager(&self, to: &str) -> Option<String> {
        // Compare the prefix first, so that calls to other clients take no lock.
        if !to.starts_with(MANAGER_WORKSPACE)
            || !self.former_managers.lock().iter().any(|f| f == to)
        {
            return None;
        }
        self.identity().manager_address()
    }

    /// Returns the token with which this client reconnects after a lost link.
    pub(crate) fn reconnection_token(&self) -> Option<String> {
        self.reconnection_token.lock().clone()
    }

    pub(super) fn set_reconnection_token(&self, token: String) {
        *self.reconnection_token.lock() = Some(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(manager: &str) -> Granted {
        let mut identity = Identity::new("ws", "me");
        identity.manager_id = Some(manager.to_owned());
        Granted {
            identity,
            reconnection_token: None,
            reconnection_token_life_time: None,
        }
    }

    #[test]
    fn former_addresses_map_to_the_current_manager() {
        let membership = Membership::new(granted("m0").identity);
        assert_eq!(membership.present_manager("*/m0"), None);
        membership.adopt(granted("m0"));
        membership.adopt(granted("m1"));
        membership.adopt(granted("m2"));
        for former in ["*/m0", "*/m1"] {
            assert_eq!(membership.present_manager(former).unwrap(), "*/m2");
        }
        for other in ["*/m2", "*/x", "ws/m0"] {
            assert_eq!(membership.present_manager(other), None);
        }
    }

    #[test]
    fn the_oldest_managers_are_forgotten() {
        let membership = Membership::new(granted("m0").identity);
        for n in 1..=FORMER_MANAGERS + 1 {
            membership.adopt(granted(&format!("m{n}")));
        }
        assert_eq!(membership.present_manager("*/m0"), None);
        assert!(membership.present_manager("*/m1").is_some());
    }
}
