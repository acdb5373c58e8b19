//! Provides the service `ws-user-root/accounts`, which administrators use to manage the accounts.

use std::collections::BTreeMap;
use std::sync::Arc;

use hypha_rpc::service::{IntoService, Service};
use hypha_rpc::workspace::{ManagerError, Permission, Visibility};
use hypha_rpc::{Context, Value, hypha_service};

use super::pending::NewAccount;
use super::record::{self, Record};
use super::{Accounts, REMEMBERED, Refusal, end_tokens, issue, passwords};
use crate::auth;
use crate::registry::AccountChange;
use crate::shown::shown;
use crate::state::State;

/// Default lifetime of a token, in seconds.
const DEFAULT_LIFE: u64 = 3600;
/// Maximum number of roles of an account.
const ROLES_MAX: usize = 64;
/// Maximum number of workspaces that an account may enter, in addition to the user's own workspace.
const WORKSPACES_MAX: usize = 256;
/// Maximum length of a role or workspace id, in bytes.
const TEXT_MAX: usize = 128;

type Answer<T> = Result<T, ManagerError>;

impl From<Refusal> for ManagerError {
    fn from(refusal: Refusal) -> Self {
        ManagerError::Value(refusal.to_string())
    }
}

/// Returns the service that manages these accounts.
pub(crate) fn service(accounts: Arc<Accounts>) -> Service {
    Administration { accounts }
        .into_service()
        .name("Accounts")
        .description("Manage the accounts of this server.")
        .visibility(Visibility::Protected)
        .require_context(false)
}

struct Administration {
    accounts: Arc<Accounts>,
}

impl Administration {
    /// Returns the server's state. Fails if the caller may not manage the accounts.
    fn state(&self, ctx: &Context) -> Answer<Arc<State>> {
        State::for_administrator(&self.accounts.state, ctx)
    }

    /// Returns the account with this id or e-mail address.
    async fn find(&self, state: &State, user: &str) -> Answer<Record> {
        let all = self.accounts.all(state).await?;
        let email = user.trim().to_lowercase();
        let found = all
            .into_iter()
            .find(|record| record.id == user || record.email == email);
        found.ok_or_else(|| ManagerError::Key(format!("User not found: {}", shown(user))))
    }

    /// Changes the account of `user`. Returns the changed account, without its secrets.
    async fn change(
        &self,
        ctx: &Context,
        user: &str,
        ends_tokens: bool,
        change: impl Fn(&mut Record),
    ) -> Answer<Value> {
        let state = self.state(ctx)?;
        let email = self.find(&state, user).await?.email;
        let change = |record: &mut Record| {
            change(record);
            Ok(())
        };
        let accounts = &self.accounts;
        let changed = accounts.change(&state, &email, ends_tokens, change).await?;
        Ok(changed.shown().into())
    }
}

#[hypha_service(id = "accounts")]
impl Administration {
    /// Lists the accounts, without their secrets.
    pub(crate) async fn list(
        &self,
        ctx: &Context,
        /// Return only accounts that are verified (true), or only accounts that are not (false).
        /// Default: all.
        verified: Option<bool>,
    ) -> Answer<Vec<Value>> {
        let state = self.state(ctx)?;
        let mut all = self.accounts.all(&state).await?;
        all.retain(|record| verified.is_none_or(|verified| record.email_verified == verified));
        Ok(all.iter().map(|record| record.shown().into()).collect())
    }

    /// Returns an account, without its secrets.
    pub(crate) async fn get(
        &self,
        ctx: &Context,
        /// Id or e-mail address of the user.
        user: String,
    ) -> Answer<Value> {
        let state = self.state(ctx)?;
        Ok(self.find(&state, &user).await?.shown().into())
    }

    /// Creates a verified account, which its user can use immediately. Returns the account.
    pub(crate) async fn create(
        &self,
        ctx: &Context,
        /// Name of the user.
        name: String,
        /// E-mail address of the user.
        email: String,
        /// The password, which the user should change.
        password: String,
    ) -> Answer<Value> {
        let state = self.state(ctx)?;
        passwords::check(&password, "Password")?;
        let (email, name) = (record::email(&email)?, record::name(&name)?);
        let account = state.memory.open(&state.account_owner(ctx));
        let password = self.accounts.passwords.hash(&account, password).await?;
        let new = NewAccount {
            email,
            name,
            password,
        };
        let record = Record::new(new, true);
        let shown = record.shown();
        self.accounts.create(&state, record).await?;
        Ok(shown.into())
    }

    /// Verifies an account, so that its user can sign in. Returns the account.
    pub(crate) async fn verify(
        &self,
        ctx: &Context,
        /// Id or e-mail address of the user.
        user: String,
    ) -> Answer<Value> {
        let verify = |record: &mut Record| record.email_verified = true;
        self.change(ctx, &user, false, verify).await
    }

    /// Sets the roles of a user. The role `admin` grants access to every workspace. Revokes all
    /// tokens of the user. Returns the account.
    pub(crate) async fn set_roles(
        &self,
        ctx: &Context,
        /// Id or e-mail address of the user.
        user: String,
        /// The new roles.
        roles: Vec<String>,
    ) -> Answer<Value> {
        if roles.len() > ROLES_MAX || !roles.iter().all(|role| is_word(role)) {
            return Err(ManagerError::Value(format!(
                "argument `roles` of `accounts.set_roles`: expected at most {ROLES_MAX} words"
            )));
        }
        let set = |record: &mut Record| record.roles.clone_from(&roles);
        self.change(ctx, &user, true, set).await
    }

    /// Sets the workspaces that a user may enter besides its own, with the permission in each:
    /// `read`, `read_write` or `admin`. Revokes all tokens of the user. Returns the account.
    pub(crate) async fn set_workspaces(
        &self,
        ctx: &Context,
        /// Id or e-mail address of the user.
        user: String,
        /// The permission in each workspace, by workspace id.
        workspaces: BTreeMap<String, Permission>,
    ) -> Answer<Value> {
        let usable = |id: &String| is_word(id) && !id.contains(['#', '/', ':']);
        if workspaces.len() > WORKSPACES_MAX || !workspaces.keys().all(usable) {
            return Err(ManagerError::Value(format!(
                "argument `workspaces` of `accounts.set_workspaces`: expected the ids of at most \
                 {WORKSPACES_MAX} workspaces"
            )));
        }
        let set = |record: &mut Record| record.workspaces.clone_from(&workspaces);
        self.change(ctx, &user, true, set).await
    }

    /// Sets the password of a user. Revokes all tokens of the user.
    pub(crate) async fn set_password(
        &self,
        ctx: &Context,
        /// Id or e-mail address of the user.
        user: String,
        /// The password, which the user should change.
        password: String,
    ) -> Answer<()> {
        let state = self.state(ctx)?;
        passwords::check(&password, "Password")?;
        let account = state.memory.open(&state.account_owner(ctx));
        let password = self.accounts.passwords.hash(&account, password).await?;
        let set = |record: &mut Record| record.password.clone_from(&password);
        self.change(ctx, &user, true, set).await.map(drop)
    }

    /// Disables an account: its user cannot sign in, and all tokens of the user are revoked.
    /// Returns the account.
    pub(crate) async fn disable(
        &self,
        ctx: &Context,
        /// Id or e-mail address of the user.
        user: String,
    ) -> Answer<Value> {
        let disable = |record: &mut Record| record.disabled = true;
        self.change(ctx, &user, true, disable).await
    }

    /// Enables a disabled account. Returns the account.
    pub(crate) async fn enable(
        &self,
        ctx: &Context,
        /// Id or e-mail address of the user.
        user: String,
    ) -> Answer<Value> {
        let enable = |record: &mut Record| record.disabled = false;
        self.change(ctx, &user, false, enable).await
    }

    /// Removes an account and revokes all tokens of the user. Keeps the user's workspaces.
    pub(crate) async fn remove(
        &self,
        ctx: &Context,
        /// Id or e-mail address of the user.
        user: String,
    ) -> Answer<()> {
        let state = self.state(ctx)?;
        let record = self.find(&state, &user).await?;
        // Disable the account first. Otherwise, a user who signs in between the revocation and the
        // removal would get a token that remains valid.
        let disable = |record: &mut Record| {
            record.disabled = true;
            Ok(())
        };
        let accounts = &self.accounts;
        let disabled = accounts
            .change(&state, &record.email, true, disable)
            .await?;
        let former = Some(disabled.to_text()?);
        let removed = state
            .registry
            .change_account(&record.email, former, None, usize::MAX)
            .await
            .map_err(Refusal::from)?;
        end_tokens(&state, &disabled.credentials(), &record.id).await?;
        match removed {
            AccountChange::Done => Ok(()),
            AccountChange::Conflict | AccountChange::Full => Err(ManagerError::Runtime(
                "other requests are changing the account, so it was disabled but not removed"
                    .into(),
            )),
        }
    }

    /// Creates a token of a user, for a program that acts as that user. The token is revoked
    /// together with the user's own tokens.
    pub(crate) async fn generate_token(
        &self,
        ctx: &Context,
        /// Id or e-mail address of the user.
        user: String,
        /// Lifetime of the token in seconds, at most 366 days. Default: 3600.
        expires_in: Option<u64>,
    ) -> Answer<String> {
        let state = self.state(ctx)?;
        let record = self.find(&state, &user).await?;
        if record.disabled || !record.email_verified {
            return Err(ManagerError::Value(format!(
                "the account of {user} is disabled or not verified"
            )));
        }
        let life = expires_in.filter(|life| *life > 0).unwrap_or(DEFAULT_LIFE);
        let life = life.min(REMEMBERED);
        tracing::info!(
            user = record.id,
            by = auth::payer(ctx.user()),
            life,
            "an administrator has made a token"
        );
        Ok(issue(&state, &record, &record.user(None), life).await?)
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_MAX && !text.contains(char::is_whitespace)
}
