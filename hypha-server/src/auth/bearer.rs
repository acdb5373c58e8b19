//! Hashes tokens, and removes the prefix `Bearer` with which clients present tokens. Also defines
//! the reasons to refuse a token.

use sha2::{Digest, Sha256};

use super::jwt::JwtError;

/// The reason why the server does not accept or does not issue a token. Clients receive the text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// The token is malformed, expired, or not permitted.
    #[error("{0}")]
    Invalid(String),
    /// The token, or one of its ancestors, was revoked.
    #[error("Token has been revoked")]
    Revoked,
    /// The server could not check the token. The token may be valid, so the client may try again.
    #[error("{0}")]
    Failed(String),
}

impl From<JwtError> for TokenError {
    fn from(error: JwtError) -> Self {
        TokenError::Invalid(error.to_string())
    }
}

/// The SHA-256 hash of a token. The server keeps and compares hashes, so that its memory and its
/// database contain no tokens.
pub(crate) type TokenHash = [u8; 32];

/// Returns the hash of a token. The hash is the same with and without the prefix `Bearer`.
pub(crate) fn token_hash(token: &str) -> TokenHash {
    Sha256::digest(bare(token).unwrap_or(token)).into()
}

/// Returns a token without surrounding blanks and without the prefix `Bearer`. The prefix may be in
/// upper or lower case.
///
/// # Errors
///
/// Fails if the remaining token is empty or contains blanks.
pub(super) fn bare(token: &str) -> Result<&str, TokenError> {
    let token = token.trim();
    let bearer = token
        .get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case("bearer "));
    let token = if bearer {
        token[7..].trim_start()
    } else {
        token
    };
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(TokenError::Invalid(
            "the token is empty or contains blanks".into(),
        ));
    }
    Ok(token)
}
