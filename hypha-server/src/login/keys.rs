//! The keys of logins in progress.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hypha_rpc::Map;
use hypha_rpc::workspace::ManagerError;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use super::shares::Shares;
use crate::metrics::Counters;
use crate::settings::Limits;

/// The token that the program asked for when it began the login.
#[derive(Clone, Default)]
pub(super) struct TokenRequest {
    pub(super) workspace: Option<String>,
    pub(super) expires_in: Option<u64>,
}

struct Entry {
    key: String,
    until: Instant,
    request: TokenRequest,
    report: Option<Map>,
}

/// The result of waiting for a user.
#[derive(Debug, PartialEq)]
pub(super) enum LoginOutcome {
    Reported(Map),
    TimedOut,
    /// The call has given way to a newer one.
    Displaced,
}

/// The keys that have not expired, and the calls that wait for their reports. Callers begin them
/// without credentials, so each caller has a share of the places.
pub(super) struct Keys {
    life: Duration,
    entries: Mutex<Entries>,
    /// The calls that wait. A dropped item tells its call to give way.
    waiting: Mutex<Shares<oneshot::Sender<()>>>,
    reported: Notify,
    counters: Arc<Counters>,
}

struct Entries {
    in_order: Shares<Entry>,
    numbers: HashMap<String, u64>,
}

impl Entries {
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

/// The place of a call that waits.
struct Place<'a> {
    waiting: &'a Mutex<Shares<oneshot::Sender<()>>>,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.lock().remove(self.number);
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
            waiting: Mutex::new(Shares::new(
                limits.login_checks_per_client,
                limits.login_checks,
            )),
            reported: Notify::new(),
            counters,
        }
    }

    /// Returns the entries that have not expired.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        let mut entries = self.entries.lock();
        let now = Instant::now();
        // All live equally long, so the oldest expires first.
        while let Some((number, entry)) = entries.in_order.oldest()
            && entry.until <= now
        {
            if let Some(entry) = entries.in_order.remove(number) {
                entries.numbers.remove(&entry.key);
            }
        }
        entries
    }

    /// Begins a login of `owner`, and returns its key, which cannot be guessed.
    pub(super) fn begin(&self, owner: &str, request: TokenRequest) -> String {
        let key = hypha_wire::random_id();
        let entry = Entry {
            key: key.clone(),
            until: Instant::now() + self.life,
            request,
            report: None,
        };
        let mut entries = self.entries();
        let (number, displaced) = entries.in_order.insert(owner, entry);
        if let Some(displaced) = displaced {
            self.counters.displaced_logins.add();
            entries.numbers.remove(&displaced.key);
        }
        entries.numbers.insert(key.clone(), number);
        key
    }

    pub(super) fn request(&self, key: &str) -> Result<TokenRequest, ManagerError> {
        let mut entries = self.entries();
        Ok(entries.get(key)?.request.clone())
    }

    /// Stores the report of a user who has logged in.
    pub(super) fn report(&self, key: &str, report: Map) -> Result<(), ManagerError> {
        let mut entries = self.entries();
        let entry = entries.get(key)?;
        // A second report does not come from the user that the program has sent.
        if entry.report.is_some() {
            return Err(ManagerError::Assertion(
                "Invalid key, it has been used already".into(),
            ));
        }
        entry.report = Some(report);
        self.reported.notify_waiters();
        Ok(())
    }

    /// Returns the report of a key if it is there, once.
    fn take(&self, key: &str) -> Result<Option<Map>, ManagerError> {
        let mut entries = self.entries();
        let report = entries.get(key)?.report.take();
        if report.is_some() {
            entries.remove(key);
        }
        Ok(report)
    }

    /// Waits for the report of a key on behalf of `owner`. It is returned once.
    pub(super) async fn wait(
        &self,
        owner: &str,
        key: &str,
        limit: Duration,
    ) -> Result<LoginOutcome, ManagerError> {
        if let Some(report) = self.take(key)? {
            return Ok(LoginOutcome::Reported(report));
        }
        if limit.is_zero() {
            return Ok(LoginOutcome::TimedOut);
        }
        let (sender, mut displaced) = oneshot::channel();
        let (number, other) = self.waiting.lock().insert(owner, sender);
        let _place = Place {
            waiting: &self.waiting,
            number,
        };
        if other.is_some() {
            self.counters.displaced_checks.add();
            drop(other);
        }
        let deadline = sleep_until(Instant::now() + limit.min(self.life));
        let mut deadline = std::pin::pin!(deadline);
        loop {
            let mut reported = std::pin::pin!(self.reported.notified());
            // Registered before the look: a report that comes in between is not missed.
            reported.as_mut().enable();
            if let Some(report) = self.take(key)? {
                return Ok(LoginOutcome::Reported(report));
            }
            tokio::select! {
                () = reported => {}
                _ = &mut displaced => return Ok(LoginOutcome::Displaced),
                () = &mut deadline => return Ok(LoginOutcome::TimedOut),
            }
        }
    }
}

fn unknown() -> ManagerError {
    ManagerError::Assertion("Invalid key, key does not exist".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(change: impl FnOnce(&mut Limits)) -> Keys {
        let mut limits = Limits::default();
        change(&mut limits);
        Keys::new(&limits, Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_is_given_out_once() {
        let keys = keys(|_| ());
        let key = keys.begin(
            "ann",
            TokenRequest {
                workspace: Some("lab-1".into()),
                expires_in: None,
            },
        );
        assert_eq!(
            keys.wait("ann", &key, Duration::ZERO).await,
            Ok(LoginOutcome::TimedOut)
        );
        let (outcome, ()) = tokio::join!(keys.wait("ann", &key, Duration::from_secs(60)), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(
                keys.request(&key).unwrap().workspace.as_deref(),
                Some("lab-1")
            );
            keys.report(&key, Map::new()).unwrap();
            assert!(keys.report(&key, Map::new()).is_err(), "a second time");
        });
        assert_eq!(outcome, Ok(LoginOutcome::Reported(Map::new())));
        assert!(keys.wait("ann", &key, Duration::ZERO).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn keys_end() {
        let keys = keys(|_| ());
        let key = keys.begin("ann", TokenRequest::default());
        tokio::time::advance(Duration::from_secs(181)).await;
        let error = keys.report(&key, Map::new()).unwrap_err();
        assert!(error.to_string().contains("key does not exist"));
    }

    #[tokio::test(start_paused = true)]
    async fn no_caller_takes_the_places_of_others() {
        let keys = keys(|limits| {
            limits.logins_per_client = 10;
            limits.logins = 20;
            limits.login_checks_per_client = 2;
            limits.login_checks = 3;
        });
        let begin = |owner: &str| keys.begin(owner, TokenRequest::default());
        let key = begin("ann");
        let first = begin("mallory");
        for _ in 0..50 {
            begin("mallory");
        }
        assert!(keys.request(&key).is_ok());
        assert!(keys.request(&first).is_err(), "its own oldest gives way");
        assert_eq!(keys.counters.displaced_logins.get(), 41);

        let minute = Duration::from_secs(60);
        let mallorys = begin("mallory");
        let check = || keys.wait("mallory", &mallorys, minute);
        let (ann, one, two, three, ()) = tokio::join!(
            keys.wait("ann", &key, minute),
            check(),
            check(),
            check(),
            async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                keys.report(&key, Map::new()).unwrap();
            }
        );
        assert_eq!(ann, Ok(LoginOutcome::Reported(Map::new())));
        assert_eq!(one, Ok(LoginOutcome::Displaced));
        assert_eq!(
            (two, three),
            (Ok(LoginOutcome::TimedOut), Ok(LoginOutcome::TimedOut))
        );
        assert_eq!(keys.counters.displaced_checks.get(), 1);
        assert!(keys.waiting.lock().oldest().is_none());
    }
}
