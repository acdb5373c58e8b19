//! The keys of logins in progress.

use std::collections::HashMap;
use std::time::Duration;

use hypha_rpc::Map;
use hypha_rpc::workspace::ManagerError;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Bound on the logins in progress, which anonymous callers can begin.
const KEYS_MAX: usize = 10_000;

/// The token that the program asked for when it began the login.
#[derive(Clone, Default)]
pub(super) struct TokenRequest {
    pub(super) workspace: Option<String>,
    pub(super) expires_in: Option<u64>,
}

struct Entry {
    until: Instant,
    request: TokenRequest,
    report: Option<Map>,
}

/// The result of waiting for a user.
#[derive(Debug, PartialEq)]
pub(super) enum LoginOutcome {
    Reported(Map),
    TimedOut,
}

pub(super) struct Keys {
    life: Duration,
    entries: Mutex<HashMap<String, Entry>>,
    reported: Notify,
}

impl Keys {
    pub(super) fn new(life: Duration) -> Keys {
        Keys {
            life,
            entries: Mutex::default(),
            reported: Notify::new(),
        }
    }

    /// Returns the entries that have not expired.
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        let mut entries = self.entries.lock();
        let now = Instant::now();
        entries.retain(|_, entry| entry.until > now);
        entries
    }

    /// Begins a login, and returns its key, which cannot be guessed.
    pub(super) fn begin(
        &self,
        workspace: Option<String>,
        expires_in: Option<u64>,
    ) -> Result<String, ManagerError> {
        let mut entries = self.entries();
        if entries.len() >= KEYS_MAX {
            return Err(ManagerError::Runtime(
                "Too many logins in progress, please retry".into(),
            ));
        }
        let key = hypha_wire::random_id();
        let entry = Entry {
            until: Instant::now() + self.life,
            request: TokenRequest {
                workspace,
                expires_in,
            },
            report: None,
        };
        entries.insert(key.clone(), entry);
        Ok(key)
    }

    pub(super) fn request(&self, key: &str) -> Result<TokenRequest, ManagerError> {
        let entries = self.entries();
        let entry = entries.get(key).ok_or_else(unknown)?;
        Ok(entry.request.clone())
    }

    /// Stores the report of a user who has logged in.
    pub(super) fn report(&self, key: &str, report: Map) -> Result<(), ManagerError> {
        let mut entries = self.entries();
        let entry = entries.get_mut(key).ok_or_else(unknown)?;
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

    /// Waits for the report of a key, which is returned once.
    pub(super) async fn wait(
        &self,
        key: &str,
        limit: Duration,
    ) -> Result<LoginOutcome, ManagerError> {
        let deadline = Instant::now() + limit.min(self.life);
        loop {
            let reported = self.reported.notified();
            {
                let mut entries = self.entries();
                let entry = entries.get_mut(key).ok_or_else(unknown)?;
                if let Some(report) = entry.report.take() {
                    entries.remove(key);
                    return Ok(LoginOutcome::Reported(report));
                }
            }
            if timeout_at(deadline, reported).await.is_err() {
                return Ok(LoginOutcome::TimedOut);
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

    #[tokio::test(start_paused = true)]
    async fn a_report_is_given_out_once() {
        let keys = Keys::new(Duration::from_secs(180));
        let key = keys.begin(Some("lab-1".into()), None).unwrap();
        assert_eq!(
            keys.wait(&key, Duration::ZERO).await,
            Ok(LoginOutcome::TimedOut)
        );
        let (outcome, ()) = tokio::join!(keys.wait(&key, Duration::from_secs(60)), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(
                keys.request(&key).unwrap().workspace.as_deref(),
                Some("lab-1")
            );
            keys.report(&key, Map::new()).unwrap();
            assert!(keys.report(&key, Map::new()).is_err(), "a second time");
        });
        assert_eq!(outcome, Ok(LoginOutcome::Reported(Map::new())));
        assert!(keys.wait(&key, Duration::ZERO).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn keys_end() {
        let keys = Keys::new(Duration::from_secs(180));
        let key = keys.begin(None, None).unwrap();
        tokio::time::advance(Duration::from_secs(181)).await;
        let error = keys.report(&key, Map::new()).unwrap_err();
        assert!(error.to_string().contains("key does not exist"));
    }
}
