//! Stores the logins in progress by their keys.
//!
//! One lock guards all logins. No task holds the lock across an await.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hypha_rpc::Map;
use hypha_rpc::workspace::ManagerError;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::memory::{Account, Charge};
use crate::metrics::Counters;
use crate::settings::Limits;
use crate::shares::{Shares, Slots};

/// Memory charged for the map entries of a login, in bytes. The strings of a login are charged
/// separately.
const LOGIN_BYTES: usize = 1024;
/// Memory charged for a call that waits for a login, in bytes. Most of it is the tokio task of the
/// call.
const CHECK_BYTES: usize = 4096;

/// The token that the program has requested with `start`.
#[derive(Clone, Default)]
pub(super) struct TokenRequest {
    /// Workspace of the token. `None` requests the user's own token.
    pub(super) workspace: Option<String>,
    /// Lifetime of the token in seconds.
    pub(super) expires_in: Option<u64>,
}

/// A login in progress.
struct Entry {
    key: String,
    /// Time at which the key expires.
    until: Instant,
    request: TokenRequest,
    /// The report of the login page, until `check` has returned it.
    report: Option<Map>,
    /// Charge for the memory of the login, on the account of the client that has started it.
    charge: Charge,
}

/// The result of waiting for a user.
#[derive(Debug, PartialEq)]
pub(super) enum LoginOutcome {
    /// The user has logged in. Contains the report of the login.
    Reported(Map),
    /// The timeout has passed. The login continues.
    TimedOut,
    /// A newer call has evicted this call.
    Displaced,
}

/// The logins that have not expired, and the calls that wait for their reports. A program needs no
/// credentials to start a login, so the number of slots is limited for each user or IP address.
pub(super) struct Keys {
    /// Lifetime of a key.
    life: Duration,
    entries: Mutex<Entries>,
    /// The slots of the waiting calls.
    waiting: Arc<Slots>,
    /// Notified with each report.
    reported: Notify,
    counters: Arc<Counters>,
}

/// Invariant: both fields contain the same logins.
struct Entries {
    /// The logins by number, oldest first.
    in_order: Shares<Entry>,
    /// The numbers by key.
    numbers: HashMap<String, u64>,
}

impl Entries {
    /// Returns the login with this key.
    fn get(&mut self, key: &str) -> Result<&mut Entry, ManagerError> {
        let number = self.numbers.get(key).ok_or_else(unknown)?;
        self.in_order.get_mut(*number).ok_or_else(unknown)
    }

    fn remove(&mut self, key: &str) {
        if let Some(number) = self.numbers.remove(key) {
            self.in_order.remove(number);
        }
    }
}

impl Keys {
    pub(super) fn new(limits: &Limits, counters: Arc<Counters>) -> Keys {
        Keys {
            life: limits.login_time,
            entries: Mutex::new(Entries {
                in_order: Shares::new(limits.logins_per_client, limits.logins),
                numbers: HashMap::new(),
            }),
            waiting: Slots::new(limits.login_checks_per_client, limits.login_checks),
            reported: Notify::new(),
            counters,
        }
    }

    /// Locks the logins, and removes the expired logins.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        let mut entries = self.entries.lock();
        let now = Instant::now();
        // Checks only the oldest entries, because all keys have the same lifetime.
        while let Some((number, entry)) = entries.in_order.oldest()
            && entry.until <= now
        {
            if let Some(entry) = entries.in_order.remove(number) {
                entries.numbers.remove(&entry.key);
            }
        }
        entries
    }

    /// Removes the expired logins. Every other method also removes expired logins, but if nobody
    /// calls these methods, the memory of expired logins would stay charged.
    pub(super) fn sweep(&self) {
        drop(self.entries());
    }

    /// Starts a login, and returns its random key. The login is charged to `account`, and takes a
    /// slot of the account's owner. If the owner has too many logins, its oldest login is evicted.
    /// If all owners together have too many logins, the oldest login of the owner with the most
    /// logins is evicted.
    ///
    /// # Errors
    ///
    /// Fails if the account has no memory.
    pub(super) fn begin(
        &self,
        account: &Account,
        request: TokenRequest,
    ) -> Result<String, ManagerError> {
        let key = hypha_wire::random_id();
        let length = request.workspace.as_ref().map_or(0, String::len);
        // The memory is charged before a slot is taken, so that a caller without memory evicts no
        // login.
        let charge = account.try_charge(LOGIN_BYTES + length);
        let charge = charge.map_err(|error| no_memory("start", &error))?;
        let entry = Entry {
            key: key.clone(),
            until: Instant::now() + self.life,
            request,
            report: None,
            charge,
        };
        let mut entries = self.entries();
        let (number, displaced) = entries.in_order.insert(account.owner(), entry);
        if let Some(displaced) = displaced {
            self.counters.displaced_logins.add();
            entries.numbers.remove(&displaced.key);
        }
        entries.numbers.insert(key.clone(), number);
        Ok(key)
    }

    /// Returns the token that the program has requested.
    ///
    /// # Errors
    ///
    /// Fails if the key is unknown or has expired.
    pub(super) fn request(&self, key: &str) -> Result<TokenRequest, ManagerError> {
        let mut entries = self.entries();
        Ok(entries.get(key)?.request.clone())
    }

    /// Stores the report of a user that has logged in. `bytes` is the length of the report.
    ///
    /// # Errors
    ///
    /// Fails if the key is unknown or has expired, if the login already has a report, or if the
    /// account of the login has no memory.
    pub(super) fn report(&self, key: &str, report: Map, bytes: usize) -> Result<(), ManagerError> {
        let mut entries = self.entries();
        let entry = entries.get(key)?;
        // Only the first report counts. The program has sent one user to the page, so a second
        // report cannot come from that user.
        if entry.report.is_some() {
            return Err(ManagerError::Assertion(
                "Invalid key, it has been used already".into(),
            ));
        }
        let charged = entry.charge.try_grow(LOGIN_BYTES + bytes);
        charged.map_err(|error| no_memory("report", &error))?;
        entry.report = Some(report);
        // All waiting calls are woken, because the map does not record which call waits for which
        // key.
        self.reported.notify_waiters();
        Ok(())
    }

    /// Returns the report of a login, if there is one, and removes the login.
    fn take(&self, key: &str) -> Result<Option<Map>, ManagerError> {
        let mut entries = self.entries();
        let report = entries.get(key)?.report.take();
        if report.is_some() {
            entries.remove(key);
        }
        Ok(report)
    }

    /// Waits for the report of a login, up to `limit` or the lifetime of a key. If several calls
    /// wait for the same key, only one of them returns the report. The call is charged to
    /// `account`, and takes a slot of the account's owner.
    ///
    /// # Errors
    ///
    /// Fails if the key is unknown or has expired, or if the account has no memory.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, the report stays for the next call.
    pub(super) async fn wait(
        &self,
        account: &Account,
        key: &str,
        limit: Duration,
    ) -> Result<LoginOutcome, ManagerError> {
        if let Some(report) = self.take(key)? {
            return Ok(LoginOutcome::Reported(report));
        }
        // A call that does not wait needs neither memory nor a slot, so that programs can poll.
        if limit.is_zero() {
            return Ok(LoginOutcome::TimedOut);
        }
        let charge = account.try_charge(CHECK_BYTES);
        let _charge = charge.map_err(|error| no_memory("check", &error))?;
        let (mut slot, displaced) = self.waiting.take(account.owner());
        if displaced {
            self.counters.displaced_checks.add();
        }
        let deadline = sleep_until(Instant::now() + limit.min(self.life));
        let mut deadline = std::pin::pin!(deadline);
        loop {
            let mut reported = std::pin::pin!(self.reported.notified());
            // The task registers for the notification before it looks for the report, so that it
            // does not miss a report that arrives in between.
            reported.as_mut().enable();
            if let Some(report) = self.take(key)? {
                return Ok(LoginOutcome::Reported(report));
            }
            tokio::select! {
                () = reported => {}
                () = slot.evicted() => return Ok(LoginOutcome::Displaced),
                () = &mut deadline => return Ok(LoginOutcome::TimedOut),
            }
        }
    }
}

/// Returns the error of a method that failed because its account has no memory left.
fn no_memory(method: &str, error: &dyn std::fmt::Display) -> ManagerError {
    ManagerError::Runtime(format!("`hypha-login.{method}`: {error}"))
}

/// Returns the error of an unknown key, with the text of the Python server.
fn unknown() -> ManagerError {
    ManagerError::Assertion("Invalid key, key does not exist".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Budget, MemoryLimits};

    fn budget() -> Arc<Budget> {
        Budget::new(MemoryLimits {
            process: 1 << 20,
            owner: 1 << 20,
            account: 64 << 10,
            patience: Duration::ZERO,
        })
    }

    fn keys(change: impl FnOnce(&mut Limits)) -> Keys {
        let mut limits = Limits::default();
        change(&mut limits);
        Keys::new(&limits, Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_is_returned_once() {
        let keys = keys(|_| ());
        let budget = budget();
        let ann = budget.open("ann");
        let request = TokenRequest {
            workspace: Some("lab-1".into()),
            expires_in: None,
        };
        let key = keys.begin(&ann, request).unwrap();
        assert_eq!(ann.used(), LOGIN_BYTES + 5);
        assert_eq!(
            keys.wait(&ann, &key, Duration::ZERO).await,
            Ok(LoginOutcome::TimedOut)
        );
        let (outcome, ()) = tokio::join!(keys.wait(&ann, &key, Duration::from_secs(60)), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(
                keys.request(&key).unwrap().workspace.as_deref(),
                Some("lab-1")
            );
            keys.report(&key, Map::new(), 100).unwrap();
            assert!(
                keys.report(&key, Map::new(), 100).is_err(),
                "a second report is refused"
            );
        });
        assert_eq!(outcome, Ok(LoginOutcome::Reported(Map::new())));
        assert!(keys.wait(&ann, &key, Duration::ZERO).await.is_err());
        assert_eq!((ann.used(), budget.stats().used), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn logins_are_charged_to_the_clients_that_start_them() {
        let keys = keys(|_| ());
        let budget = budget();
        let (ann, mallory) = (budget.open("ann"), budget.open("mallory"));
        let begin = |account: &Account| keys.begin(account, TokenRequest::default());
        let begun: Vec<_> = (0..64).map(|_| begin(&mallory).unwrap()).collect();
        let error = begin(&mallory).unwrap_err().to_string();
        assert!(error.contains("memory limit"), "{error}");
        let error = keys.report(&begun[0], Map::new(), 100).unwrap_err();
        assert!(error.to_string().contains("hypha-login.report"), "{error}");
        let minute = Duration::from_secs(60);
        assert!(keys.wait(&mallory, &begun[0], minute).await.is_err());
        let key = begin(&ann).unwrap();
        assert!(keys.report(&key, Map::new(), 100).is_ok());
        tokio::time::advance(Duration::from_secs(181)).await;
        assert!(keys.request(&key).is_err());
        assert_eq!(
            budget.stats().used,
            0,
            "the memory of expired logins is released"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn keys_expire() {
        let keys = keys(|_| ());
        let key = keys.begin(&budget().open("ann"), TokenRequest::default());
        let key = key.unwrap();
        tokio::time::advance(Duration::from_secs(181)).await;
        let error = keys.report(&key, Map::new(), 100).unwrap_err();
        assert!(error.to_string().contains("key does not exist"));
    }

    #[tokio::test(start_paused = true)]
    async fn expired_keys_are_swept() {
        let (keys, budget) = (keys(|_| ()), budget());
        keys.begin(&budget.open("ann"), TokenRequest::default())
            .unwrap();
        tokio::time::advance(Duration::from_secs(179)).await;
        keys.sweep();
        assert!(budget.stats().used > 0);
        tokio::time::advance(Duration::from_secs(2)).await;
        keys.sweep();
        assert_eq!(budget.stats().used, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn no_caller_takes_the_slots_of_others() {
        let keys = keys(|limits| {
            limits.logins_per_client = 10;
            limits.logins = 20;
            limits.login_checks_per_client = 2;
            limits.login_checks = 3;
        });
        let budget = budget();
        let begin = |owner: &str| {
            let account = budget.open(owner);
            keys.begin(&account, TokenRequest::default()).unwrap()
        };
        let (ann, mallory) = (budget.open("ann"), budget.open("mallory"));
        let key = begin("ann");
        let first = begin("mallory");
        for _ in 0..50 {
            begin("mallory");
        }
        assert!(keys.request(&key).is_ok());
        assert!(
            keys.request(&first).is_err(),
            "the oldest login of the owner is evicted"
        );
        assert_eq!(keys.counters.displaced_logins.get(), 41);

        let minute = Duration::from_secs(60);
        let mallorys = begin("mallory");
        let check = || keys.wait(&mallory, &mallorys, minute);
        let (anns, one, two, three, ()) = tokio::join!(
            keys.wait(&ann, &key, minute),
            check(),
            check(),
            check(),
            async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                keys.report(&key, Map::new(), 100).unwrap();
            }
        );
        assert_eq!(anns, Ok(LoginOutcome::Reported(Map::new())));
        assert_eq!(one, Ok(LoginOutcome::Displaced));
        assert_eq!(
            (two, three),
            (Ok(LoginOutcome::TimedOut), Ok(LoginOutcome::TimedOut))
        );
        assert_eq!(keys.counters.displaced_checks.get(), 1);
        assert!(keys.waiting.are_free());
    }
}
