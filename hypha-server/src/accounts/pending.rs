//! Stores sign-ups that have not been verified. The sign-ups are only in memory, so a restart loses
//! them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::Refusal;
use crate::auth;
use crate::memory::{Account, Charge};
use crate::metrics::Counters;
use crate::settings::Limits;
use crate::shares::Shares;

/// Memory charged for an entry, in bytes, in addition to the length of the strings in the entry.
const ENTRY_BYTES: usize = 1024;
const DIGITS: u32 = 6;

/// A new account that is not verified yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NewAccount {
    pub(super) email: String,
    pub(super) name: String,
    /// The hash of the password.
    pub(super) password: String,
}

struct Entry {
    new: NewAccount,
    /// User or IP address that signed up.
    owner: String,
    code: String,
    wrong: usize,
    until: Instant,
    sent: Instant,
    _charge: Charge,
}

pub(super) struct Pending {
    life: Duration,
    interval: Duration,
    attempts: usize,
    entries: Mutex<Entries>,
    counters: Arc<Counters>,
}

struct Entries {
    in_order: Shares<Entry>,
    numbers: HashMap<String, u64>,
}

impl Entries {
    fn get(&mut self, email: &str) -> Option<&mut Entry> {
        let number = self.numbers.get(email)?;
        self.in_order.get_mut(*number)
    }

    fn remove(&mut self, email: &str) -> Option<Entry> {
        let number = self.numbers.remove(email)?;
        self.in_order.remove(number)
    }
}

impl Pending {
    pub(super) fn new(limits: &Limits, counters: Arc<Counters>) -> Pending {
        Pending {
            life: limits.verification_time,
            interval: limits.verification_interval,
            attempts: limits.verification_attempts,
            entries: Mutex::new(Entries {
                in_order: Shares::new(limits.pending_accounts_per_client, limits.pending_accounts),
                numbers: HashMap::new(),
            }),
            counters,
        }
    }

    /// Locks the entries, and removes the expired entries.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        let mut entries = self.entries.lock();
        let now = Instant::now();
        // All entries have the same lifetime, so the oldest entry expires first.
        while let Some((number, entry)) = entries.in_order.oldest()
            && entry.until <= now
        {
            if let Some(entry) = entries.in_order.remove(number) {
                entries.numbers.remove(&entry.new.email);
            }
        }
        entries
    }

    /// Removes the expired entries. A periodic call frees their memory even if there are no further
    /// requests.
    pub(super) fn sweep(&self) {
        drop(self.entries());
    }

    /// Adds a new account. Replaces a pending account with the same address, if the same owner
    /// signed up. Returns the verification code.
    ///
    /// # Errors
    ///
    /// Fails if another owner has a pending sign-up with the address. If the new sign-up replaced
    /// the pending one, the user of the address could verify an account that has another person's
    /// password.
    pub(super) fn add(&self, account: &Account, new: NewAccount) -> Result<String, Refusal> {
        let length = new.email.len() + new.name.len() + new.password.len();
        let charge = account.try_charge(ENTRY_BYTES + length);
        let charge = charge.map_err(|error| Refusal::from(error.to_string()))?;
        let (code, now) = (new_code(), Instant::now());
        let mut entries = self.entries();
        if let Some(entry) = entries.get(&new.email) {
            if entry.owner != account.owner() {
                let left = entry.until.duration_since(now).as_secs() + 1;
                return Err(format!(
                    "A code for this email is on its way to somebody else who has signed up with \
                     it. Please try again in {left} s."
                )
                .into());
            }
            entries.remove(&new.email);
        }
        let email = new.email.clone();
        let entry = Entry {
            owner: account.owner().to_owned(),
            code: code.clone(),
            wrong: 0,
            until: now + self.life,
            sent: now,
            new,
            _charge: charge,
        };
        let (number, displaced) = entries.in_order.insert(account.owner(), entry);
        if let Some(displaced) = displaced {
            self.counters.displaced_sign_ups.add();
            entries.numbers.remove(&displaced.new.email);
        }
        entries.numbers.insert(email, number);
        Ok(code)
    }

    /// Returns the new account of an address if `code` is correct. Does not remove the entry: call
    /// [`remove`](Self::remove) afterwards.
    pub(super) fn verify(&self, email: &str, code: &str) -> Result<NewAccount, Refusal> {
        let mut entries = self.entries();
        let Some(entry) = entries.get(email) else {
            return Err(
                "No pending verification for this email, or the code has expired. Please \
                        sign up again."
                    .into(),
            );
        };
        if auth::is_secret(&entry.code, code) {
            return Ok(entry.new.clone());
        }
        entry.wrong += 1;
        let left = self.attempts.saturating_sub(entry.wrong);
        if left == 0 {
            entries.remove(email);
            return Err("Too many incorrect attempts. Please sign up again.".into());
        }
        Err(format!("Incorrect code. {left} attempt(s) remaining.").into())
    }

    /// Returns a new code for an address. Does not reset the number of wrong codes, because this
    /// number limits the guesses during the whole sign-up.
    pub(super) fn renew(&self, email: &str) -> Result<String, Refusal> {
        let now = Instant::now();
        let mut entries = self.entries();
        let Some(entry) = entries.get(email) else {
            return Err("No pending verification for this email. Please sign up again.".into());
        };
        let next = entry.sent + self.interval;
        if next > now {
            let wait = next.duration_since(now).as_secs() + 1;
            return Err(format!("Please wait {wait}s before requesting another code.").into());
        }
        entry.sent = now;
        entry.code = new_code();
        Ok(entry.code.clone())
    }

    pub(super) fn remove(&self, email: &str) {
        self.entries().remove(email);
    }
}

fn new_code() -> String {
    use rand::RngExt;
    let number = rand::rng().random_range(0..10_u32.pow(DIGITS));
    format!("{number:0width$}", width = DIGITS as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Budget, MemoryLimits};

    fn budget() -> Arc<Budget> {
        Budget::new(MemoryLimits {
            process: 1 << 20,
            owner: 1 << 20,
            account: 1 << 20,
            patience: Duration::ZERO,
        })
    }

    fn pending(change: impl FnOnce(&mut Limits)) -> Pending {
        let mut limits = Limits::default();
        change(&mut limits);
        Pending::new(&limits, Arc::default())
    }

    fn new(email: &str) -> NewAccount {
        NewAccount {
            email: email.into(),
            name: "Ann".into(),
            password: "hash".into(),
        }
    }

    fn wrong(code: &str) -> &'static str {
        if code == "000000" { "000001" } else { "000000" }
    }

    #[tokio::test(start_paused = true)]
    async fn a_code_is_valid_for_some_attempts_and_some_time() {
        let pending = pending(|limits| limits.verification_attempts = 3);
        let budget = budget();
        let ann = budget.open("ann");
        let code = pending.add(&ann, new("a@x")).unwrap();
        assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()));
        let error = pending.verify("a@x", wrong(&code)).unwrap_err();
        assert_eq!(error.to_string(), "Incorrect code. 2 attempt(s) remaining.");
        assert!(
            pending
                .renew("a@x")
                .unwrap_err()
                .to_string()
                .contains("wait 31s")
        );
        tokio::time::advance(Duration::from_secs(31)).await;
        let renewed = pending.renew("a@x").unwrap();
        // A new code does not reset the number of wrong codes.
        assert!(pending.verify("a@x", wrong(&renewed)).is_err());
        assert_eq!(pending.verify("a@x", &renewed).unwrap(), new("a@x"));
        assert!(pending.verify("a@x", wrong(&renewed)).is_err());
        assert!(
            pending.verify("a@x", &renewed).is_err(),
            "the sign-up is discarded"
        );

        let code = pending.add(&ann, new("a@x")).unwrap();
        tokio::time::advance(Duration::from_secs(601)).await;
        assert!(pending.verify("a@x", &code).is_err());
        assert_eq!(budget.stats().used, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_takes_over_the_sign_up_of_another() {
        let pending = pending(|limits| {
            limits.pending_accounts_per_client = 2;
            limits.pending_accounts = 3;
        });
        let budget = budget();
        let (ann, mallory) = (budget.open("ann"), budget.open("mallory"));
        let code = pending.add(&ann, new("a@x")).unwrap();
        let error = pending.add(&mallory, new("a@x")).unwrap_err();
        assert!(error.to_string().contains("somebody else"), "{error}");
        let again = pending.add(&ann, new("a@x")).unwrap();
        assert!(again == code || pending.verify("a@x", &code).is_err());
        for number in 0..10 {
            pending.add(&mallory, new(&format!("{number}@x"))).unwrap();
        }
        assert_eq!(pending.counters.displaced_sign_ups.get(), 8);
        assert!(pending.verify("a@x", &again).is_ok());
        pending.remove("a@x");
        assert!(pending.verify("a@x", &again).is_err());
    }
}
