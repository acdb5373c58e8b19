//! Manages the server's own accounts: users sign up and sign in with a password, and administrators
//! manage the accounts.

mod administration;
mod attempts;
#[cfg(feature = "jwks")]
mod email;
mod passwords;
mod pending;
mod record;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hypha_rpc::Context;
use hypha_rpc::workspace::{Permission, UserInfo};
use tokio::time::sleep;

pub(crate) use self::administration::service;
use self::attempts::Attempts;
#[cfg(feature = "jwks")]
use self::email::Mailer;
use self::passwords::Passwords;
use self::pending::{NewAccount, Pending};
use self::record::Record;
use crate::auth::{self, Lineage};
use crate::bus::Notice;
use crate::memory::Account;
use crate::registry::{AccountChange, RegistryError};
use crate::settings::Verification;
use crate::state::State;

/// Maximum time between two removals of expired sign-ups.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Time for which the server stores a revocation, in seconds. This is also the maximum lifetime of
/// a token, so a revoked token expires before the server forgets its revocation.
const REMEMBERED: u64 = 366 * 86_400;
/// Maximum number of attempts to change a record. An attempt fails if another request has changed
/// the record in the meantime.
const CHANGES_MAX: usize = 8;
/// Role of every account. The Python server uses the same role.
const ROLE: &str = "user";
/// Error text for a wrong password and for an unknown account. Both cases have the same text, so
/// that the text does not reveal whether an account exists.
const WRONG: &str = "Invalid email or password";

/// Reason why an account cannot be created, used or changed. The reason is a sentence for the user.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(String);

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Refusal(text)
    }
}

impl From<&str> for Refusal {
    fn from(text: &str) -> Self {
        Refusal(text.into())
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        Refusal(error.to_string())
    }
}

/// Result of a sign-up. The account still has to be verified.
pub(crate) struct SignedUp {
    pub(crate) email: String,
    /// The verification code, if the server did not send the code by e-mail.
    pub(crate) code: Option<String>,
    pub(crate) by: Verification,
}

/// Result of a successful sign-in.
pub(crate) struct SignedIn {
    pub(crate) user_id: String,
    pub(crate) email: String,
    pub(crate) email_verified: bool,
    pub(crate) name: String,
    pub(crate) workspace: String,
    pub(crate) token: String,
    /// Lifetime of the token in seconds.
    pub(crate) life: u64,
}

/// The accounts of a server.
pub(crate) struct Accounts {
    // This reference is weak to avoid a reference cycle. The state owns the server's internal
    // clients, and a service of such a client owns this value.
    state: Weak<State>,
    passwords: Passwords,
    pending: Pending,
    of_clients: Attempts,
    of_accounts: Attempts,
    #[cfg(feature = "jwks")]
    mailer: Option<Mailer>,
}

impl Accounts {
    /// Creates this value, and starts the task that removes expired sign-ups. Returns `None` if
    /// accounts are disabled in the settings.
    pub(crate) fn start(state: &Arc<State>) -> Option<Arc<Accounts>> {
        let settings = &state.settings.accounts;
        if !settings.enabled {
            return None;
        }
        let limits = &state.settings.limits;
        let accounts = Arc::new(Accounts {
            state: Arc::downgrade(state),
            passwords: Passwords::new(limits, state.counters.clone()),
            pending: Pending::new(limits, state.counters.clone()),
            of_clients: Attempts::new(limits.account_attempts_per_client),
            of_accounts: Attempts::new(limits.failed_sign_ins_per_account),
            #[cfg(feature = "jwks")]
            mailer: Mailer::new(settings),
        });
        let interval = limits.verification_time.min(SWEEP_INTERVAL);
        let swept = Arc::downgrade(&accounts);
        state.shutdown.spawn(async move {
            while let Some(accounts) = swept.upgrade() {
                accounts.pending.sweep();
                drop(accounts);
                sleep(interval).await;
            }
        });
        Some(accounts)
    }

    fn state(&self) -> Result<Arc<State>, Refusal> {
        let state = self.state.upgrade();
        state.ok_or_else(|| "The server is shutting down.".into())
    }

    /// Counts an attempt of a caller. Fails if the caller has made too many attempts. Returns the
    /// account to which the memory of the caller's requests is charged.
    fn attempt(&self, ctx: &Context) -> Result<Account, Refusal> {
        let state = self.state()?;
        let owner = state.account_owner(ctx);
        self.of_clients
            .take(&owner)
            .inspect_err(|_| state.counters.account_attempts_refused.add())?;
        Ok(state.memory.open(&owner))
    }

    /// Starts a sign-up. The user can use the account after the account has been verified.
    pub(crate) async fn sign_up(
        &self,
        ctx: &Context,
        name: &str,
        email: &str,
        password: String,
    ) -> Result<SignedUp, Refusal> {
        let state = self.state()?;
        let by = state.settings.accounts.verification;
        if by == Verification::Closed {
            return Err("Only an administrator can create accounts.".into());
        }
        passwords::check(&password, "Password")?;
        let (email, name) = (record::email(email)?, record::name(name)?);
        let account = self.attempt(ctx)?;
        if state.registry.account(&email).await?.is_some() {
            return Err("Email already registered".into());
        }
        let password = self.passwords.hash(&account, password).await?;
        let new = NewAccount {
            email: email.clone(),
            name,
            password,
        };
        if by == Verification::Administrator {
            self.wait_for_administrator(&state, new).await?;
            let code = None;
            return Ok(SignedUp { email, code, by });
        }
        let code = self.pending.add(&account, new)?;
        let code = match self.send(&email, code).await {
            Ok(code) => code,
            Err(error) => {
                self.pending.remove(&email);
                return Err(error);
            }
        };
        Ok(SignedUp { email, code, by })
    }

    /// Stores an account that cannot be used until an administrator verifies it.
    async fn wait_for_administrator(&self, state: &State, new: NewAccount) -> Result<(), Refusal> {
        let all = self.all(state).await?;
        let waiting = all.iter().filter(|record| !record.email_verified).count();
        if waiting >= state.settings.limits.pending_accounts {
            state.counters.sign_ups_refused.add();
            return Err(
                "Too many accounts wait for an administrator. Please try again later.".into(),
            );
        }
        let email = new.email.clone();
        self.create(state, Record::new(new, false)).await?;
        tracing::info!(email, "an account waits for an administrator to verify it");
        Ok(())
    }

    async fn create(&self, state: &State, record: Record) -> Result<(), Refusal> {
        let max = state.settings.limits.accounts;
        let text = Some(record.to_text()?);
        let created = state
            .registry
            .change_account(&record.email, None, text, max)
            .await?;
        match created {
            AccountChange::Done => Ok(()),
            AccountChange::Conflict => Err("Email already registered".into()),
            AccountChange::Full => {
                state.counters.sign_ups_refused.add();
                tracing::warn!(max, "a sign-up was refused: there are too many accounts");
                Err("This server has reached its maximum number of accounts.".into())
            }
        }
    }

    /// Sends a verification code by e-mail. Returns the code instead if the server cannot send
    /// e-mails.
    #[cfg_attr(
        not(feature = "jwks"),
        allow(clippy::unused_async, clippy::unused_self, reason = "nothing is sent")
    )]
    async fn send(&self, email: &str, code: String) -> Result<Option<String>, Refusal> {
        #[cfg(feature = "jwks")]
        if let Some(mailer) = &self.mailer {
            let minutes = self.state()?.settings.limits.verification_time.as_secs() / 60;
            mailer.send(email, &code, minutes).await?;
            return Ok(None);
        }
        tracing::warn!(
            email,
            code,
            "RESEND_API_KEY is not set: a code was not sent"
        );
        Ok(Some(code))
    }

    /// Creates the account of `email` if `code` is the correct verification code. Returns the id of
    /// the new user.
    pub(crate) async fn verify(
        &self,
        ctx: &Context,
        email: &str,
        code: &str,
    ) -> Result<String, Refusal> {
        let state = self.state()?;
        let email = record::email(email)?;
        self.attempt(ctx)?;
        let new = self.pending.verify(&email, code.trim())?;
        let record = Record::new(new, true);
        let id = record.id.clone();
        let created = self.create(&state, record).await;
        self.pending.remove(&email);
        created.map(|()| id)
    }

    /// Sends a new verification code to an address with a pending sign-up. Returns the address, and
    /// the code if the server did not send the code by e-mail.
    pub(crate) async fn resend(
        &self,
        ctx: &Context,
        email: &str,
    ) -> Result<(String, Option<String>), Refusal> {
        let email = record::email(email)?;
        self.attempt(ctx)?;
        let code = self.pending.renew(&email)?;
        let code = self.send(&email, code).await?;
        Ok((email, code))
    }

    /// Returns the account of `email`. Fails if the password is wrong or the account cannot be
    /// used.
    async fn authenticate(
        &self,
        account: &Account,
        email: &str,
        password: String,
    ) -> Result<Record, Refusal> {
        let state = self.state()?;
        let email = record::email(email).map_err(|_| Refusal::from(WRONG))?;
        let record = match state.registry.account(&email).await? {
            Some(text) => Some(Record::read(&text)?),
            None => None,
        };
        // Count only attempts on existing accounts, so that unknown addresses do not create
        // buckets.
        if record.is_some() {
            self.of_accounts
                .take(&email)
                .inspect_err(|_| state.counters.account_attempts_refused.add())?;
        }
        let hash = record.as_ref().map(|record| record.password.clone());
        if passwords::check(&password, "Password").is_err()
            || !self.passwords.verify(account, password, hash).await?
        {
            state.counters.sign_ins_failed.add();
            return Err(WRONG.into());
        }
        let record = record.ok_or(WRONG)?;
        self.of_accounts.give_back(&email);
        if !record.email_verified {
            return Err("An administrator has not verified this account yet.".into());
        }
        if record.disabled {
            return Err("This account is disabled.".into());
        }
        Ok(record)
    }

    /// Signs a user in and issues a token. The token is bound to `workspace`, unless `workspace` is
    /// `None`.
    pub(crate) async fn sign_in(
        &self,
        ctx: &Context,
        email: &str,
        password: String,
        workspace: Option<String>,
        life: Option<u64>,
    ) -> Result<SignedIn, Refusal> {
        let state = self.state()?;
        let account = self.attempt(ctx)?;
        let record = self.authenticate(&account, email, password).await?;
        let own = record.user(None).own_workspace();
        let workspace = workspace.filter(|id| !id.is_empty());
        if let Some(id) = workspace.as_ref().filter(|id| **id != own) {
            let found = state.registry.workspace(id).await?;
            let user = record.user(None);
            let is_owner = found.is_some_and(|workspace| workspace.owned_by(&user));
            if !is_owner && !user.may(Permission::Read, id) {
                return Err(format!("You have no permission for the workspace {id}.").into());
            }
        }
        let longest = state.settings.accounts.token_life.as_secs().min(REMEMBERED);
        let life = life
            .filter(|life| *life > 0)
            .unwrap_or(longest)
            .min(longest);
        let user = record.user(workspace.clone());
        let token = issue(&state, &record, &user, life).await?;
        tracing::info!(user = record.id, "signed in");
        Ok(SignedIn {
            user_id: record.id,
            email: record.email,
            email_verified: record.email_verified,
            name: record.name,
            workspace: workspace.unwrap_or(own),
            token,
            life,
        })
    }

    /// Changes the name or the password of an account. The caller needs a token of the account, or
    /// the current password. Setting a new password always requires the current password, and
    /// revokes all tokens of the user.
    pub(crate) async fn update(
        &self,
        ctx: &Context,
        email: Option<&str>,
        name: Option<&str>,
        present: Option<String>,
        new: Option<String>,
    ) -> Result<(), Refusal> {
        let state = self.state()?;
        let user = ctx.user();
        let email = email.or(user.email.as_deref());
        let email = email.ok_or("Email is required for profile updates")?;
        let name = name.filter(|name| !name.is_empty());
        let name = name.map(record::name).transpose()?;
        if new.is_some() && present.is_none() {
            return Err("Current password required to change password".into());
        }
        if let Some(new) = &new {
            passwords::check(new, "New password")?;
        }
        let account = self.attempt(ctx)?;
        let id = match present {
            Some(present) => {
                let record = self.authenticate(&account, email, present).await;
                record
                    .map_err(|error| match error.0.as_str() {
                        WRONG => Refusal::from("Current password is incorrect"),
                        _ => error,
                    })?
                    .id
            }
            None => {
                let text = state.registry.account(&record::email(email)?).await?;
                let record = text.map(|text| Record::read(&text)).transpose()?;
                // If `user.parent` is set, the caller uses a token that the owner of the account
                // created for a program. Such a program must not change the account.
                let own = record.filter(|record| {
                    record.id == user.id && user.parent.is_none() && !record.disabled
                });
                own.ok_or("Sign in, or give the current password, to change a profile")?
                    .id
            }
        };
        let password = match new {
            Some(new) => Some(self.passwords.hash(&account, new).await?),
            None => None,
        };
        let ends_tokens = password.is_some();
        self.change(&state, &record::email(email)?, ends_tokens, |record| {
            if record.id != id {
                return Err("User not found".into());
            }
            if let Some(name) = &name {
                record.name.clone_from(name);
            }
            if let Some(password) = &password {
                record.password.clone_from(password);
            }
            Ok(())
        })
        .await
        .map(drop)
    }

    async fn all(&self, state: &State) -> Result<Vec<Record>, Refusal> {
        let texts = state.registry.accounts().await?;
        // Skip a record that cannot be read. Do not delete such a record, because another version
        // of the server may be able to read it.
        Ok(texts
            .iter()
            .filter_map(|text| Record::read(text).ok())
            .collect())
    }

    /// Changes the record of an account atomically. Revokes the tokens of the account if
    /// `ends_tokens` is true. Returns the new record.
    async fn change(
        &self,
        state: &State,
        email: &str,
        ends_tokens: bool,
        change: impl Fn(&mut Record) -> Result<(), Refusal>,
    ) -> Result<Record, Refusal> {
        for _ in 0..CHANGES_MAX {
            let text = state.registry.account(email).await?;
            let text = text.ok_or("User not found")?;
            let mut record = Record::read(&text)?;
            let former = record.credentials();
            change(&mut record)?;
            if ends_tokens {
                record.renew_credentials();
            }
            let new = Some(record.to_text()?);
            let changed = state
                .registry
                .change_account(email, Some(text), new, usize::MAX)
                .await?;
            if changed == AccountChange::Done {
                if ends_tokens {
                    end_tokens(state, &former, &record.id).await?;
                }
                return Ok(record);
            }
        }
        Err("The account is being changed by others. Please try again.".into())
    }
}

/// Issues a token for the user of an account. Revoking the credentials of the account also revokes
/// this token.
async fn issue(
    state: &State,
    record: &Record,
    user: &UserInfo,
    life: u64,
) -> Result<String, Refusal> {
    let lineage: Lineage = state.issuer.lineage(&record.credentials(), user);
    let token = state.issuer.issue(user, life, &lineage).await;
    token.map_err(|error| error.to_string().into())
}

/// Revokes all tokens that were made with `credentials`, and disconnects the clients of the user.
async fn end_tokens(state: &State, credentials: &str, user_id: &str) -> Result<(), Refusal> {
    let end = auth::now() + REMEMBERED;
    for hash in auth::hashes_to_revoke(credentials) {
        state.issuer.remember_revoked(hash, end);
    }
    let token = credentials.to_owned();
    let kept = state.registry.revoke(credentials, REMEMBERED).await;
    state.router.bus().announce(Notice::Revoked { token, end });
    state.disconnect_user(user_id);
    Ok(kept?)
}

/// Maps each workspace that a user may enter, other than the user's own workspace, to the user's
/// permission in that workspace.
type Grants = BTreeMap<String, Permission>;
