//! Users and IP addresses that an administrator has blocked.

use std::collections::HashMap;

use hypha_rpc::workspace::UserInfo;
use parking_lot::RwLock;

use crate::auth::{now, payer};
use crate::registry::Block;

/// Kind of a block: of a user or of an IP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blockable {
    User,
    Address,
}

impl Blockable {
    /// Returns the prefix of the keys of blocks of this kind.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Blockable::User => "user:",
            Blockable::Address => "ip:",
        }
    }

    pub(crate) fn key(self, name: &str) -> String {
        format!("{}{name}", self.prefix())
    }
}

/// The blocks of a server.
#[derive(Default)]
pub(crate) struct Blocked(RwLock<Blocks>);

#[derive(Default)]
struct Blocks {
    by_key: HashMap<String, Block>,
    /// Number of changes by this server.
    changes: u64,
    /// Number of changes that are being stored where all servers read them.
    unstored: usize,
}

/// A change that is being stored.
pub(crate) struct Storing<'a>(&'a Blocked);

impl Drop for Storing<'_> {
    fn drop(&mut self) {
        let mut blocks = self.0.0.write();
        blocks.unstored = blocks.unstored.saturating_sub(1);
        blocks.changes += 1;
    }
}

impl Blocked {
    /// Adds, replaces or removes a block. Returns false, without adding the block, if there are
    /// `max` blocks already.
    pub(crate) fn set(&self, key: String, block: Option<Block>, max: usize) -> bool {
        let mut blocks = self.0.write();
        let blocks = &mut blocks.by_key;
        blocks.retain(|_, block| block.until > now());
        match block {
            Some(_) if blocks.len() >= max && !blocks.contains_key(&key) => return false,
            Some(block) => drop(blocks.insert(key, block)),
            None => drop(blocks.remove(&key)),
        }
        true
    }

    /// Marks the beginning of a change. Keep the result until the change is stored where all
    /// servers read it.
    pub(crate) fn storing(&self) -> Storing<'_> {
        self.0.write().unstored += 1;
        Storing(self)
    }

    /// Returns the number of changes by this server, for [`replace`](Self::replace).
    pub(crate) fn changes(&self) -> u64 {
        self.0.read().changes
    }

    /// Replaces all blocks by those that were read from the store. Does nothing if this server is
    /// changing its blocks, or has changed them since the number of its changes was `before`,
    /// because the read blocks may lack the change.
    pub(crate) fn replace(&self, read: HashMap<String, Block>, before: u64) {
        let mut blocks = self.0.write();
        if blocks.unstored == 0 && blocks.changes == before {
            blocks.by_key = read;
        }
    }

    /// Returns the blocks that have not expired, sorted by key.
    pub(crate) fn all(&self) -> Vec<(String, Block)> {
        let blocks = self.0.read();
        let blocks = blocks
            .by_key
            .iter()
            .filter(|(_, block)| block.until > now());
        let mut blocks: Vec<_> = blocks.map(|(k, b)| (k.clone(), b.clone())).collect();
        blocks.sort_by(|(a, _), (b, _)| a.cmp(b));
        blocks
    }

    /// Returns the error text for a blocked client, or `None` if the client is not blocked. A block
    /// applies to the user, to the user who issued the client's token, or to the IP address of the
    /// client.
    pub(crate) fn sentence(&self, user: &UserInfo, address: Option<&str>) -> Option<String> {
        let blocks = &self.0.read().by_key;
        if blocks.is_empty() {
            return None;
        }
        let reason = |kind: Blockable, name: &str| {
            let block = blocks.get(&kind.key(name));
            let block = block.filter(|block| block.until > now());
            block.map(|block| block.reason.clone())
        };
        let of_user = reason(Blockable::User, &user.id)
            .or_else(|| reason(Blockable::User, payer(user)))
            .map(|reason| format!("User is blocked: {reason}"));
        of_user.or_else(|| {
            let reason = reason(Blockable::Address, address?)?;
            Some(format!("IP is blocked: {reason}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(until: u64) -> Option<Block> {
        let reason = "noise".to_owned();
        Some(Block { reason, until })
    }

    #[test]
    fn blocks_are_for_users_their_tokens_and_addresses() {
        let blocked = Blocked::default();
        let user = |id: &str, parent: Option<&str>| UserInfo {
            id: id.into(),
            parent: parent.map(str::to_owned),
            ..UserInfo::default()
        };
        let sentence = |id, parent, address| blocked.sentence(&user(id, parent), address);
        assert!(blocked.set("user:ann".into(), block(now() + 60), 2));
        assert!(blocked.set("ip:192.0.2.1".into(), block(now() + 60), 2));
        assert!(!blocked.set("user:bob".into(), block(now() + 60), 2));
        let expected = Some("User is blocked: noise".to_owned());
        assert_eq!(sentence("ann", None, None), expected);
        assert_eq!(sentence("x", Some("ann"), None), expected);
        assert_eq!(sentence("bob", None, Some("192.0.2.2")), None);
        let expected = Some("IP is blocked: noise".to_owned());
        assert_eq!(sentence("bob", None, Some("192.0.2.1")), expected);
        assert!(blocked.set("user:ann".into(), None, 2));
        assert!(blocked.set("user:bob".into(), block(now()), 2));
        assert_eq!(sentence("bob", None, None), None, "the block has ended");
        assert_eq!(blocked.all().len(), 1);
    }

    #[test]
    fn blocks_read_before_a_change_do_not_undo_it() {
        let blocked = Blocked::default();
        let none = HashMap::new;
        let before = blocked.changes();
        let storing = blocked.storing();
        assert!(blocked.set("user:ann".into(), block(now() + 60), 2));
        // Read while the block was stored.
        blocked.replace(none(), blocked.changes());
        assert_eq!(blocked.all().len(), 1);
        drop(storing);
        // Read before the block was stored.
        blocked.replace(none(), before);
        assert_eq!(blocked.all().len(), 1);
        blocked.replace(none(), blocked.changes());
        assert_eq!(blocked.all().len(), 0);
    }
}
