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

/// The blocks of a server, by key.
#[derive(Default)]
pub(crate) struct Blocked(RwLock<HashMap<String, Block>>);

impl Blocked {
    /// Adds, replaces or removes a block. Returns false, without adding the block, if there are
    /// `max` blocks already.
    pub(crate) fn set(&self, key: String, block: Option<Block>, max: usize) -> bool {
        let mut blocks = self.0.write();
        blocks.retain(|_, block| block.until > now());
        match block {
            Some(_) if blocks.len() >= max && !blocks.contains_key(&key) => return false,
            Some(block) => drop(blocks.insert(key, block)),
            None => drop(blocks.remove(&key)),
        }
        true
    }

    /// Replaces all blocks.
    pub(crate) fn replace(&self, blocks: HashMap<String, Block>) {
        *self.0.write() = blocks;
    }

    /// Returns the blocks that have not expired, sorted by key.
    pub(crate) fn all(&self) -> Vec<(String, Block)> {
        let blocks = self.0.read();
        let blocks = blocks.iter().filter(|(_, block)| block.until > now());
        let mut blocks: Vec<_> = blocks.map(|(k, b)| (k.clone(), b.clone())).collect();
        blocks.sort_by(|(a, _), (b, _)| a.cmp(b));
        blocks
    }

    /// Returns the error text for a blocked client, or `None` if the client is not blocked. A block
    /// applies to the user, to the user who issued the client's token, or to the IP address of the
    /// client.
    pub(crate) fn sentence(&self, user: &UserInfo, address: Option<&str>) -> Option<String> {
        let blocks = self.0.read();
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
}
