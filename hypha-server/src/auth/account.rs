//! Identifies the credentials of an account. The credentials are an ancestor of all tokens of the
//! user, so revoking the credentials revokes these tokens.

const PREFIX: &str = "account:";

/// Returns a string that identifies the credentials of a user. The server replaces `generation`,
/// for example when the password changes. The user then has new credentials.
#[cfg_attr(
    not(feature = "accounts"),
    allow(dead_code, reason = "there are no accounts")
)]
pub(crate) fn account_credentials(user_id: &str, generation: &str) -> String {
    format!("{PREFIX}{user_id}:{generation}")
}

/// Returns the user that the credentials belong to. Returns `None` if the string is a token.
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "only a cluster uses it")
)]
pub(crate) fn account_of(credentials: &str) -> Option<&str> {
    Some(credentials.strip_prefix(PREFIX)?.rsplit_once(':')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_name_their_user() {
        let credentials = account_credentials("ann", "1");
        assert_eq!(account_of(&credentials), Some("ann"));
        assert_eq!(account_of("eyJhbGciOiJub25lIn0.e30."), None);
    }
}
