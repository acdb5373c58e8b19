//! Stores the accounts of users by their e-mail addresses. The registry stores accounts as strings
//! and does not parse them.

use std::collections::BTreeMap;

use parking_lot::RwLock;
use tokio::sync::Mutex;

use super::RegistryError;
use crate::store::Store;

/// Outcome of a change to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccountChange {
    /// The change was made and stored.
    Done,
    /// The stored account differs from the expected account, so nothing was changed.
    Conflict,
    /// The maximum number of accounts exists already, so no account was created.
    Full,
}

/// The accounts of a server without a cluster.
#[derive(Default)]
pub(super) struct Accounts {
    records: RwLock<BTreeMap<String, String>>,
    /// A change holds this lock from the comparison of a record until the new record is stored, so
    /// that changes do not overwrite each other.
    changing: Mutex<()>,
}

impl Accounts {
    pub(super) fn new(records: Vec<(String, String)>) -> Accounts {
        Accounts {
            records: RwLock::new(records.into_iter().collect()),
            changing: Mutex::default(),
        }
    }

    pub(super) fn get(&self, email: &str) -> Option<String> {
        self.records.read().get(email).cloned()
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.records.read().values().cloned().collect()
    }

    pub(super) async fn change(
        &self,
        store: &Store,
        email: &str,
        former: Option<String>,
        record: Option<String>,
        max: usize,
    ) -> Result<AccountChange, RegistryError> {
        let _changing = self.changing.lock().await;
        if self.get(email) != former {
            return Ok(AccountChange::Conflict);
        }
        if former.is_none() && record.is_some() && self.records.read().len() >= max {
            return Ok(AccountChange::Full);
        }
        // The account is written to the store first, so that a failed write leaves the memory
        // unchanged.
        store.put_account(email, record.clone()).await?;
        let mut records = self.records.write();
        match record {
            Some(record) => records.insert(email.to_owned(), record),
            None => records.remove(email),
        };
        Ok(AccountChange::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_account_changes_only_from_the_expected_record() {
        let (accounts, store) = (Accounts::default(), Store::default());
        let text = |text: &str| Some(text.to_owned());
        let change = |email, former, record| accounts.change(&store, email, former, record, 2);
        let done = change("a", None, text("1")).await.unwrap();
        assert_eq!(done, AccountChange::Done);
        let taken = change("a", None, text("2")).await.unwrap();
        assert_eq!(taken, AccountChange::Conflict);
        let stale = change("a", text("0"), text("2")).await.unwrap();
        assert_eq!(stale, AccountChange::Conflict);
        assert_eq!(accounts.get("a"), text("1"));
        change("b", None, text("1")).await.unwrap();
        let full = change("c", None, text("1")).await.unwrap();
        assert_eq!(full, AccountChange::Full);
        let changed = change("b", text("1"), text("2")).await.unwrap();
        assert_eq!(changed, AccountChange::Done);
        change("b", text("2"), None).await.unwrap();
        assert_eq!(accounts.all(), ["1"]);
    }
}
