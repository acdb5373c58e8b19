//! Settings of the server's own accounts.

use std::time::Duration;

use serde::Serialize;

#[cfg(feature = "cli")]
use super::seconds;
use super::{ConfigError, Settings, at_least, in_seconds, invalid, redacted};

/// Memory for one password hash, in KiB. OWASP recommends this size for Argon2id.
pub(crate) const HASH_KIB: u32 = 19 * 1024;

/// Verification that a new account needs before it can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verification {
    /// The user enters a code, which the server sends by e-mail. Without `email_api_key`, the
    /// server logs the code instead, and returns the code to the client that signs up.
    #[default]
    Code,
    /// An administrator verifies the account.
    Administrator,
    /// Nobody can sign up. Administrators create the accounts, which are usable immediately.
    Closed,
}

/// Settings of the server's own accounts. Users sign up and sign in on the login page of the
/// server.
#[derive(Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[non_exhaustive]
pub struct AccountSettings {
    /// Offer accounts with passwords on the login page. Default: false.
    #[cfg_attr(
        feature = "cli",
        arg(
            long = "enable-local-auth",
            env = "HYPHA_ENABLE_LOCAL_AUTH",
            value_parser = clap::builder::BoolishValueParser::new()
        )
    )]
    pub enabled: bool,
    /// Verification that a new account needs before it can be used. Default: code.
    #[cfg_attr(
        feature = "cli",
        arg(
            long = "account-verification",
            env = "HYPHA_ACCOUNT_VERIFICATION",
            value_enum
        )
    )]
    pub verification: Verification,
    /// Lifetime of the token that a user gets by signing in, at least 1 s. Default: one day (86400
    /// s).
    #[cfg_attr(
        feature = "cli",
        arg(long = "account-token-life", env = "HYPHA_ACCOUNT_TOKEN_LIFE", value_parser = seconds)
    )]
    #[serde(serialize_with = "in_seconds")]
    pub token_life: Duration,
    /// API key of resend.com, which sends the codes by e-mail. Default: none.
    #[cfg_attr(
        feature = "cli",
        arg(long = "email-api-key", env = "RESEND_API_KEY", hide_env_values = true)
    )]
    #[serde(serialize_with = "redacted")]
    pub email_api_key: Option<String>,
    /// URL of the e-mail API. Default: `https://api.resend.com/emails`.
    #[cfg_attr(
        feature = "cli",
        arg(long = "email-api-url", env = "HYPHA_EMAIL_API_URL")
    )]
    pub email_api_url: String,
    /// Sender of the e-mails. Default: `Hypha <onboarding@resend.dev>`.
    #[cfg_attr(
        feature = "cli",
        arg(long = "email-from", env = "HYPHA_VERIFICATION_FROM_EMAIL")
    )]
    pub email_from: String,
}

impl Default for AccountSettings {
    fn default() -> Self {
        AccountSettings {
            enabled: false,
            verification: Verification::default(),
            token_life: Duration::from_secs(86_400),
            email_api_key: None,
            email_api_url: "https://api.resend.com/emails".into(),
            email_from: "Hypha <onboarding@resend.dev>".into(),
        }
    }
}

impl std::fmt::Debug for AccountSettings {
    /// Formats the settings without secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| std::fmt::Error)?;
        write!(f, "AccountSettings({text})")
    }
}

impl AccountSettings {
    /// Replaces empty strings with the defaults.
    pub(super) fn ignore_empty(&mut self) {
        let default = AccountSettings::default();
        self.email_api_key.take_if(|key| key.is_empty());
        if self.email_api_url.is_empty() {
            self.email_api_url = default.email_api_url;
        }
        if self.email_from.is_empty() {
            self.email_from = default.email_from;
        }
    }

    pub(super) fn check(&self, settings: &Settings) -> Result<(), ConfigError> {
        if !self.enabled {
            return Ok(());
        }
        if cfg!(not(feature = "accounts")) {
            return invalid("this server was built without the feature `accounts`");
        }
        let hash = HASH_KIB as usize * 1024;
        if settings.limits.connection_memory_bytes < hash {
            return invalid(format!(
                "`connection_memory_bytes` must be at least {hash} if accounts are enabled: the \
                 memory to check a password"
            ));
        }
        if self.email_api_key.is_some() {
            if cfg!(not(feature = "jwks")) {
                return invalid(
                    "this server was built without the feature `jwks`, it cannot send e-mails",
                );
            }
            if !self.email_api_url.starts_with("http") {
                return invalid(format!("'{}' is no URL", self.email_api_url));
            }
        }
        at_least(
            "accounts.token_life",
            self.token_life,
            Duration::from_secs(1),
        )
    }

    /// Returns warnings for the log about settings that are valid but unsafe.
    pub(super) fn warnings(&self, settings: &Settings) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.enabled {
            return warnings;
        }
        if settings.data_dir.is_none() && settings.redis_uri.is_none() {
            warnings.push(
                "accounts are kept in memory and end with this process; set --data-dir or \
                 --redis-uri to keep them"
                    .into(),
            );
        }
        if self.verification == Verification::Code && self.email_api_key.is_none() {
            warnings.push(
                "anybody can sign up with any e-mail address: without RESEND_API_KEY the codes are \
                 logged and returned, not sent; use --account-verification administrator"
                    .into(),
            );
        }
        warnings
    }
}
