//! Hashes passwords. Computing a hash takes much memory and time by design, so the server computes
//! only a few hashes at the same time.

use std::sync::Arc;

use argon2::password_hash::{Encoding, PasswordHash, SaltString};
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::Semaphore;

use super::Refusal;
use crate::memory::Account;
use crate::metrics::Counters;
use crate::settings::{HASH_KIB, Limits};
use crate::shares::Slots;

/// Iterations of Argon2id. OWASP recommends this number with one lane and [`HASH_KIB`] of memory.
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Minimum length of a password, in characters.
const LENGTH_MIN: usize = 8;
/// Maximum length of a password, in bytes.
const BYTES_MAX: usize = 1024;
const SALT_BYTES: usize = 16;

/// Computes and verifies hashes on blocking threads.
pub(super) struct Passwords {
    permits: Arc<Semaphore>,
    /// Slots of the calls that wait for a permit.
    waiting: Arc<Slots>,
    counters: Arc<Counters>,
}

impl Passwords {
    pub(super) fn new(limits: &Limits, counters: Arc<Counters>) -> Passwords {
        Passwords {
            permits: Arc::new(Semaphore::new(limits.concurrent_hashes)),
            waiting: Slots::new(limits.hashes_waiting_per_client, limits.hashes_waiting),
            counters,
        }
    }

    /// Returns the hash of a new password as a PHC string. The memory that the computation needs is
    /// charged to `account`.
    pub(super) async fn hash(
        &self,
        account: &Account,
        password: String,
    ) -> Result<String, Refusal> {
        self.run(account, move || hash(&password)).await?
    }

    /// Returns whether a password matches the hash `expected`. If there is no hash, returns false
    /// after the same time, so that the response time does not reveal whether an account exists.
    pub(super) async fn verify(
        &self,
        account: &Account,
        password: String,
        expected: Option<String>,
    ) -> Result<bool, Refusal> {
        let work = move || match expected {
            Some(expected) => verify(&password, &expected),
            None => hash(&password).map(|_| false),
        };
        self.run(account, work).await?
    }

    /// Waits for a slot and a permit, then runs `work` on a blocking thread.
    async fn run<T: Send + 'static>(
        &self,
        account: &Account,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (mut slot, displaced) = self.waiting.take(account.owner());
        if displaced {
            self.counters.displaced_passwords.add();
        }
        let busy = "The server is busy with other sign-ins. Please try again later.";
        let permit = tokio::select! {
            // Check for an eviction first, so that an evicted call fails even if a permit becomes
            // free at the same time.
            biased;
            () = slot.evicted() => return Err(busy.into()),
            permit = self.permits.clone().acquire_owned() => permit,
        };
        drop(slot);
        let permit = permit.map_err(|error| Refusal::from(error.to_string()))?;
        let charge = account.charge(HASH_KIB as usize * 1024).await;
        let charge = charge.map_err(|error| Refusal::from(error.to_string()))?;
        let done = tokio::task::spawn_blocking(move || {
            // Move the permit and the charge into the closure, because the thread still uses the
            // memory if the future of the caller is dropped.
            let _held = (permit, charge);
            work()
        });
        done.await
            .map_err(|error| Refusal::from(format!("cannot check a password: {error}")))
    }
}

/// Checks the length of a new password. The error text calls the password `name`.
pub(super) fn check(password: &str, name: &str) -> Result<(), Refusal> {
    if password.chars().count() < LENGTH_MIN {
        return Err(format!("{name} must be at least {LENGTH_MIN} characters").into());
    }
    if password.len() > BYTES_MAX {
        return Err(format!("{name} must be at most {BYTES_MAX} bytes").into());
    }
    Ok(())
}

fn hasher() -> Result<Argon2<'static>, Refusal> {
    let params = Params::new(HASH_KIB, PASSES, LANES, None);
    let params = params.map_err(|error| Refusal::from(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str) -> Result<String, Refusal> {
    use rand::RngExt;
    let failed = |error: argon2::password_hash::Error| Refusal::from(error.to_string());
    let salt: [u8; SALT_BYTES] = rand::rng().random();
    let salt = SaltString::encode_b64(&salt).map_err(failed)?;
    let hashed = hasher()?.hash_password(password.as_bytes(), &salt);
    Ok(hashed.map_err(failed)?.to_string())
}

/// Verifies a password with the parameters of the stored hash. The comparison takes constant time.
fn verify(password: &str, expected: &str) -> Result<bool, Refusal> {
    let expected = PasswordHash::parse(expected, Encoding::B64);
    let expected = expected.map_err(|error| {
        tracing::error!(%error, "the hash of a password cannot be read");
        Refusal::from("The account cannot be read. Please ask an administrator.")
    })?;
    let verified = hasher()?.verify_password(password.as_bytes(), &expected);
    Ok(verified.is_ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::memory::{Budget, MemoryLimits};

    fn budget(account: usize) -> Arc<Budget> {
        Budget::new(MemoryLimits {
            process: 256 << 20,
            owner: account,
            account,
            patience: Duration::ZERO,
        })
    }

    #[tokio::test]
    async fn passwords_are_verified_and_stored_only_as_hashes() {
        let passwords = Passwords::new(&Limits::default(), Arc::default());
        let budget = budget(64 << 20);
        let account = budget.open("ann");
        let word = || "correct horse".to_owned();
        let hash = passwords.hash(&account, word()).await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(!hash.contains("horse"));
        assert_ne!(passwords.hash(&account, word()).await.unwrap(), hash);
        let verify = |word: &str, hash| passwords.verify(&account, word.into(), hash);
        assert!(verify("correct horse", Some(hash.clone())).await.unwrap());
        assert!(!verify("wrong horse", Some(hash)).await.unwrap());
        assert!(!verify("correct horse", None).await.unwrap());
        assert!(verify("x", Some("garbage".into())).await.is_err());
        assert_eq!(account.used(), 0);
        assert!(passwords.waiting.are_free());
    }

    #[tokio::test]
    async fn hashes_are_charged_and_few_run_concurrently() {
        let limits = Limits {
            concurrent_hashes: 1,
            hashes_waiting_per_client: 1,
            ..Limits::default()
        };
        let passwords = Passwords::new(&limits, Arc::default());
        let small = budget(1 << 20).open("ann");
        let refused = passwords.hash(&small, "correct horse".into()).await;
        assert!(refused.unwrap_err().to_string().contains("memory limit"));

        let account = budget(64 << 20).open("ann");
        let held = passwords.permits.clone().acquire_owned().await.unwrap();
        let first = passwords.hash(&account, "correct horse".into());
        let second = passwords.hash(&account, "correct horse".into());
        let release = async {
            tokio::task::yield_now().await;
            drop(held);
        };
        let (first, second, ()) = tokio::join!(first, second, release);
        assert!(first.unwrap_err().to_string().contains("busy"));
        assert!(second.is_ok());
        assert_eq!(passwords.counters.displaced_passwords.get(), 1);
    }

    #[test]
    fn too_short_and_too_long_passwords_are_refused() {
        assert!(check("1234567", "Password").is_err());
        assert!(check("12345678", "Password").is_ok());
        assert!(check(&"x".repeat(1025), "Password").is_err());
    }
}
