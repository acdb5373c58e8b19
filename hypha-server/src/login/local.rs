//! Implements the login service of a server with accounts, with which users sign up, sign in and
//! change their passwords. The names, arguments and results of the methods are the same as in the
//! Python server.

use std::sync::Arc;

use hypha_rpc::service::{IntoService, Service};
use hypha_rpc::{Context, Map, Value, hypha_service};
use serde_json::json;

use super::keys::Keys;
use super::{Answer, deliver, page};
use crate::accounts::{Accounts, Refusal};
use crate::settings::Verification;

const PAGE: &str = include_str!("local.html");
const SCRIPT: &str = include_str!("local.js");

/// Returns the methods of the login service of a server with accounts.
pub(super) fn service(accounts: Arc<Accounts>, keys: Arc<Keys>) -> Service {
    Local { accounts, keys }.into_service()
}

struct Local {
    accounts: Arc<Accounts>,
    keys: Arc<Keys>,
}

/// Converts a result to the form of the Python server, which returns refusals as values, not as
/// errors.
fn answer(result: Result<serde_json::Value, Refusal>) -> Value {
    match result {
        Ok(mut value) => {
            if let Some(value) = value.as_object_mut() {
                value.shift_insert(0, "success".into(), true.into());
            }
            value.into()
        }
        Err(refusal) => refused(&refusal.to_string()),
    }
}

fn refused(text: &str) -> Value {
    json!({"success": false, "error": text}).into()
}

/// Adds the code to the response, if the server did not send it by e-mail.
fn with_code(mut value: serde_json::Value, code: Option<String>) -> serde_json::Value {
    if let Some(code) = code {
        value["dev_code"] = code.into();
    }
    value
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

#[hypha_service(id = "hypha-login")]
impl Local {
    /// Starts a sign-up. The account can be used after its verification.
    pub(crate) async fn signup(
        &self,
        ctx: &Context,
        /// The user's name.
        name: Option<String>,
        /// The user's e-mail address.
        email: Option<String>,
        /// The password, of at least 8 characters.
        password: Option<String>,
    ) -> Answer<Value> {
        let (Some(name), Some(email), Some(password)) =
            (given(name), given(email), given(password))
        else {
            return Ok(refused("Name, email and password are required"));
        };
        let begun = self.accounts.sign_up(ctx, &name, &email, password).await;
        Ok(answer(begun.map(|begun| {
            let by = match begun.by {
                Verification::Administrator => "administrator",
                _ => "code",
            };
            let value = json!({
                "verification_required": true,
                "email": begun.email,
                "verification": by,
            });
            with_code(value, begun.code)
        })))
    }

    /// Verifies a new account with the code that was sent to its e-mail address.
    pub(crate) async fn verify_email(
        &self,
        ctx: &Context,
        /// The user's e-mail address.
        email: Option<String>,
        /// The code.
        code: Option<String>,
    ) -> Answer<Value> {
        let (Some(email), Some(code)) = (given(email), given(code)) else {
            return Ok(refused("Email and verification code are required"));
        };
        let created = self.accounts.verify(ctx, &email, &code).await;
        let created = created.map(|id| json!({"user_id": id, "email_verified": true}));
        Ok(answer(created))
    }

    /// Sends a new code to an e-mail address with a pending sign-up.
    pub(crate) async fn resend_code(
        &self,
        ctx: &Context,
        /// The user's e-mail address.
        email: Option<String>,
    ) -> Answer<Value> {
        let Some(email) = given(email) else {
            return Ok(refused("Email is required"));
        };
        let sent = self.accounts.resend(ctx, &email).await;
        Ok(answer(sent.map(|(email, code)| {
            with_code(json!({"email": email}), code)
        })))
    }

    /// Signs a user in. Returns the token, and also passes the token to the program that waits for
    /// the login.
    pub(crate) async fn login(
        &self,
        ctx: &Context,
        /// The user's e-mail address.
        email: Option<String>,
        /// The password.
        password: Option<String>,
        /// Workspace of the token. Default: the workspace that the waiting program has requested,
        /// or else all workspaces of the user.
        workspace: Option<String>,
        /// The key from `start`, if a program waits for the login.
        key: Option<String>,
    ) -> Answer<Value> {
        let (Some(email), Some(password)) = (given(email), given(password)) else {
            return Ok(refused("Email and password are required"));
        };
        let key = given(key);
        let request = match &key {
            Some(key) => match self.keys.request(key) {
                Ok(request) => request,
                Err(error) => return Ok(refused(&error.to_string())),
            },
            None => Default::default(),
        };
        let workspace = given(workspace).or(request.workspace);
        let accounts = &self.accounts;
        let life = request.expires_in;
        let user = accounts
            .sign_in(ctx, &email, password, workspace, life)
            .await;
        let user = match user {
            Ok(user) => user,
            Err(refusal) => return Ok(refused(&refusal.to_string())),
        };
        if let Some(key) = &key {
            let report = Map::from_iter([
                ("token".to_owned(), Value::from(user.token.as_str())),
                ("workspace".to_owned(), user.workspace.as_str().into()),
                ("expires_in".to_owned(), user.life.into()),
                ("email".to_owned(), user.email.as_str().into()),
                ("email_verified".to_owned(), user.email_verified.into()),
                ("name".to_owned(), user.name.as_str().into()),
                ("nickname".to_owned(), user.name.as_str().into()),
                ("user_id".to_owned(), user.user_id.as_str().into()),
                ("picture".to_owned(), Value::Null),
            ]);
            if let Err(error) = deliver(&self.keys, key, report) {
                return Ok(refused(&error.to_string()));
            }
        }
        Ok(answer(Ok(json!({
            "token": user.token,
            "user_id": user.user_id,
            "email": user.email,
            "workspace": user.workspace,
        }))))
    }

    /// Changes the name or the password of the caller's account, or of an account whose current
    /// password is given.
    pub(crate) async fn update_profile(
        &self,
        ctx: &Context,
        /// The new name. Default: no change.
        name: Option<String>,
        /// The current password. Required to change the password, and for a caller without a token
        /// of the account.
        current_password: Option<String>,
        /// The new password, of at least 8 characters. Default: no change.
        new_password: Option<String>,
        /// E-mail address of the account. Default: the address of the caller.
        user_email: Option<String>,
    ) -> Answer<Value> {
        let (name, email) = (given(name), given(user_email));
        let (present, new) = (given(current_password), given(new_password));
        let updated = self
            .accounts
            .update(ctx, email.as_deref(), name.as_deref(), present, new)
            .await;
        let message = json!({"message": "Profile updated successfully"});
        Ok(answer(updated.map(|()| message)))
    }

    /// Returns the login page.
    pub(crate) async fn index(&self, _request: Option<Value>) -> Answer<Value> {
        Ok(page("text/html; charset=utf-8", PAGE))
    }

    /// Returns the script of the login page.
    pub(crate) async fn script(&self, _request: Option<Value>) -> Answer<Value> {
        Ok(page("text/javascript; charset=utf-8", SCRIPT))
    }

    /// Returns the page on which users change their names and passwords.
    pub(crate) async fn profile(&self, _request: Option<Value>) -> Answer<Value> {
        Ok(page("text/html; charset=utf-8", PAGE))
    }
}
