//! Defines the stored record of an account.

use hypha_rpc::workspace::{Scope, UserInfo};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::pending::NewAccount;
use super::{Grants, ROLE, Refusal};
use crate::auth;

/// Maximum length of an e-mail address, in bytes.
const EMAIL_MAX: usize = 254;
/// Maximum length of the name of a user, in bytes.
const NAME_MAX: usize = 256;

/// An account as it is stored.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    /// The e-mail address in lower case, which is also the key of the record.
    pub(super) email: String,
    pub(super) name: String,
    /// The hash of the password.
    pub(super) password: String,
    /// Time of creation in seconds since 1970.
    pub(super) created_at: u64,
    pub(super) email_verified: bool,
    #[serde(default)]
    pub(super) disabled: bool,
    pub(super) roles: Vec<String>,
    #[serde(default)]
    pub(super) workspaces: Grants,
    /// Random id. Replacing this id revokes the tokens of the account.
    generation: String,
}

impl Record {
    pub(super) fn new(new: NewAccount, email_verified: bool) -> Record {
        Record {
            id: auth::readable_id(),
            email: new.email,
            name: new.name,
            password: new.password,
            created_at: auth::now(),
            email_verified,
            disabled: false,
            roles: vec![ROLE.into()],
            workspaces: Grants::new(),
            generation: hypha_wire::random_id(),
        }
    }

    pub(super) fn read(text: &str) -> Result<Record, Refusal> {
        serde_json::from_str(text).map_err(|error| {
            tracing::error!(%error, "the record of an account cannot be read");
            "The account cannot be read. Please ask an administrator.".into()
        })
    }

    pub(super) fn to_text(&self) -> Result<String, Refusal> {
        serde_json::to_string(self).map_err(|error| error.to_string().into())
    }

    /// Returns the string that identifies the account as an ancestor of its tokens.
    pub(super) fn credentials(&self) -> String {
        auth::account_credentials(&self.id, &self.generation)
    }

    pub(super) fn renew_credentials(&mut self) {
        self.generation = hypha_wire::random_id();
    }

    /// Returns the user of the account. If `workspace` is set, the user may use only that
    /// workspace.
    pub(super) fn user(&self, workspace: Option<String>) -> UserInfo {
        let mut user = UserInfo {
            id: self.id.clone(),
            is_anonymous: false,
            email: Some(self.email.clone()),
            roles: self.roles.clone(),
            ..UserInfo::default()
        };
        let mut workspaces = self.workspaces.clone();
        workspaces.insert(
            user.own_workspace(),
            hypha_rpc::workspace::Permission::Admin,
        );
        user.scope = Some(Scope {
            current_workspace: workspace,
            workspaces: workspaces.into_iter().collect(),
            ..Scope::default()
        });
        user
    }

    /// Returns the account in the form that administrators see, without its secrets.
    pub(super) fn shown(&self) -> serde_json::Value {
        json!({
            "id": self.id,
            "email": self.email,
            "name": self.name,
            "created_at": self.created_at,
            "email_verified": self.email_verified,
            "disabled": self.disabled,
            "roles": self.roles,
            "workspaces": self.workspaces,
            "workspace": self.user(None).own_workspace(),
        })
    }
}

/// Checks an e-mail address. Returns the address in lower case, the form in which it is a key.
pub(super) fn email(text: &str) -> Result<String, Refusal> {
    let email = text.trim().to_lowercase();
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control();
    let parts = email.split_once('@');
    let is_address = parts.is_some_and(|(user, domain)| {
        !user.is_empty() && !domain.is_empty() && !domain.contains('@')
    });
    if !is_address || !email.chars().all(is_plain) || email.len() > EMAIL_MAX {
        return Err("This is not an email address".into());
    }
    Ok(email)
}

/// Checks the name of a user. Returns the name without surrounding spaces.
pub(super) fn name(text: &str) -> Result<String, Refusal> {
    let name = text.trim();
    if name.is_empty() || name.len() > NAME_MAX || name.contains(char::is_control) {
        return Err(format!("A name has 1 to {NAME_MAX} bytes without control characters").into());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_in_lower_case() {
        assert_eq!(email(" Ann@Example.ORG ").unwrap(), "ann@example.org");
        let long = format!("{}@x", "a".repeat(EMAIL_MAX));
        for bad in ["", "ann", "@x", "ann@", "a b@x", "a@b@c", "a\n@x", &long] {
            assert!(email(bad).is_err(), "{bad}");
        }
        assert_eq!(name(" Ann ").unwrap(), "Ann");
        assert!(name(" ").is_err() && name("a\nb").is_err());
    }

    #[test]
    fn a_record_shows_no_secrets() {
        let new = NewAccount {
            email: "ann@x".into(),
            name: "Ann".into(),
            password: "hash".into(),
        };
        let record = Record::new(new, true);
        let read = Record::read(&record.to_text().unwrap()).unwrap();
        assert!(read == record);
        let shown = record.shown().to_string();
        assert!(!shown.contains("hash") && !shown.contains(&record.generation));
        assert_eq!(
            record.shown()["workspace"],
            format!("ws-user-{}", record.id)
        );
        let mut renewed = record.clone();
        renewed.renew_credentials();
        assert_ne!(record.credentials(), renewed.credentials());
    }
}
