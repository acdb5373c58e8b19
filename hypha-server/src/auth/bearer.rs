//! Tokens as clients present them: without `Bearer`, their hashes, and the reasons for which one is
//! refused.

use sha2::{Digest, Sha256};

use super::jwt::JwtError;

/// The reason why a token is not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("{0}")]
    Invalid(String),
    #[error("Token has been revoked")]
    Revoked,
    /// The token could not be checked; it may be good.
    #[error("{0}")]
    Failed(String),
}

impl From<JwtError> for TokenError {
    fn from(error: JwtError) -> Self {
        TokenError::Invalid(error.to_string())
    }
}

/// The SHA-256 hash of a token, by which it is recognized without being stored.
pub(crate) type TokenHash = [u8; 32];

/// Returns the hash of a token, with or without `Bearer`.
pub(crate) fn token_hash(token: &str) -> TokenHash {
    Sha256::digest(bare(token).unwrap_or(token)).into()
}

/// Returns the token without `Bearer `.
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
        return Err(TokenError::Invalid("it is empty or contains blanks".into()));
    }
    Ok(token)
}
