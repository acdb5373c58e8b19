//! The lineage of a token. It consists of the token's ancestors. A token A is an ancestor of a
//! token B if a client used A to request B, or to request another ancestor of B.
//!
//! A token does not outlive its ancestors. Revoking an ancestor also revokes the token. Each token
//! of the server contains the hashes of its ancestors in its claims, so that no server has to store
//! the ancestors. A revocation adds one hash to the list of revoked tokens. Every check of a token
//! looks up the hashes of the token and of its ancestors in that list.

use std::ops::{Deref, DerefMut};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hypha_rpc::workspace::UserInfo;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::bearer::{TokenError, TokenHash, bare, token_hash};
use super::now;

/// Claim that contains the hashes of the ancestors, as a list of strings in base64.
const ANCESTORS: &str = "urn:hypha:ancestors";
/// Claim of a reconnection token that contains the id of the session, in base64. When a
/// reconnection token replaces another reconnection token, both tokens have the same session id.
const SESSION: &str = "urn:hypha:session";
/// Claim of a reconnection token that contains an expiry in seconds since 1970. This is the expiry
/// of the credentials with which the client first connected. The reconnection token itself may
/// expire earlier.
const UNTIL: &str = "urn:hypha:until";
/// Time for which the server stores the revocation of a session without an expiry, in seconds.
const REMEMBERED: u64 = 366 * 86_400;
/// Maximum number of ancestors of a token. Each token can be used to request the next token.
/// Without this limit, such a chain could grow without end, and the cost of each check would grow
/// with the chain.
const ANCESTORS_MAX: usize = 32;

/// A user, and the lineage of the user's token. Serialization contains only the user, because peers
/// must not see the lineage.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(transparent)]
pub(crate) struct Authenticated {
    pub(crate) user: UserInfo,
    #[serde(skip)]
    pub(crate) lineage: Lineage,
}

impl From<UserInfo> for Authenticated {
    /// Returns the user with an empty lineage, as for a client without a token.
    fn from(user: UserInfo) -> Self {
        Authenticated {
            user,
            lineage: Lineage::default(),
        }
    }
}

impl Deref for Authenticated {
    type Target = UserInfo;

    fn deref(&self) -> &UserInfo {
        &self.user
    }
}

impl DerefMut for Authenticated {
    fn deref_mut(&mut self) -> &mut UserInfo {
        &mut self.user
    }
}

/// The ancestors of the tokens that a client requests. These are the token of the client itself,
/// and the ancestors of this token.
///
/// The reconnection tokens of a client replace each other. All of them together count as one
/// ancestor, called the session, so that the number of ancestors does not grow when the client
/// reconnects.
///
/// The default lineage is empty. It is the lineage of a client without a token, or with the root
/// token. No revocation affects the tokens that such a client requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lineage {
    ancestors: Vec<TokenHash>,
    /// The id of the session, if the client has one.
    session: Option<TokenHash>,
    /// Expiry in seconds since 1970. `None` means no expiry.
    until: Option<u64>,
}

impl Lineage {
    /// Returns the lineage of a client that presents `token`. The token must already have been
    /// checked. `expires` is the expiry of the token. If the token is a reconnection token, its
    /// expiry is ignored, because the server replaces such a token with a new one.
    pub(super) fn of(token: &str, expires: Option<u64>) -> Lineage {
        let claims = claims(token);
        let mut ancestors = ancestors(&claims);
        let session = session(&claims);
        if session.is_none() {
            ancestors.push(token_hash(token));
        }
        let until = match session {
            Some(_) => claims.get(UNTIL).and_then(Value::as_u64),
            None => expires,
        };
        Lineage {
            ancestors,
            session,
            until,
        }
    }

    /// Returns the seconds until the credentials of the client expire. Returns `None` if they do
    /// not expire.
    fn left(&self) -> Option<u64> {
        self.until.map(|until| until.saturating_sub(now()))
    }

    /// Returns the lifetime of a new token in seconds. The lifetime is `wanted`, or shorter if the
    /// credentials of the client expire earlier.
    ///
    /// # Errors
    ///
    /// Fails if the credentials have expired, or if the token would have too many ancestors.
    pub(super) fn life_of_child(&self, wanted: u64) -> Result<u64, TokenError> {
        if self.ancestors.len() >= ANCESTORS_MAX {
            return Err(TokenError::Invalid(format!(
                "it would have more than {ANCESTORS_MAX} ancestors"
            )));
        }
        match self.left() {
            Some(0) => Err(TokenError::Invalid(
                "Your own token has expired, so it cannot issue others.".into(),
            )),
            left => Ok(left.map_or(wanted, |left| wanted.min(left))),
        }
    }

    /// Returns the lifetime of a new reconnection token in seconds. The lifetime is `wanted`, or
    /// shorter if the credentials of the client expire earlier. Returns 0 if the credentials have
    /// expired.
    pub(crate) fn life_of_session(&self, wanted: u64) -> u64 {
        self.left().map_or(wanted, |left| wanted.min(left))
    }

    /// Returns a copy of this lineage that has a session: the session of this lineage, or a new
    /// session with a random id.
    pub(crate) fn in_session(&self) -> Lineage {
        let session = self.session.unwrap_or_else(|| {
            use rand::RngExt;
            rand::rng().random()
        });
        Lineage {
            session: Some(session),
            ..self.clone()
        }
    }

    /// Adds this lineage to the claims of a reconnection token.
    pub(super) fn put_session(&self, claims: &mut Map<String, Value>) {
        put_ancestors(claims, &self.ancestors);
        if let Some(session) = &self.session {
            claims.insert(SESSION.into(), json!(URL_SAFE_NO_PAD.encode(session)));
        }
        if let Some(until) = self.until {
            claims.insert(UNTIL.into(), until.into());
        }
    }

    /// Adds this lineage to the claims of a token that is not a reconnection token. The session
    /// becomes an ancestor, so that revoking the session also revokes the token.
    pub(super) fn put_child(&self, claims: &mut Map<String, Value>) {
        let mut ancestors = self.ancestors.clone();
        ancestors.extend(self.session);
        put_ancestors(claims, &ancestors);
    }
}

fn put_ancestors(claims: &mut Map<String, Value>, hashes: &[TokenHash]) {
    if !hashes.is_empty() {
        let texts: Vec<_> = hashes
            .iter()
            .map(|hash| URL_SAFE_NO_PAD.encode(hash))
            .collect();
        claims.insert(ANCESTORS.into(), json!(texts));
    }
}

/// Returns the hashes that revoke a token. These are the hash of the token and, for a reconnection
/// token, the id of its session. Revoking the session also revokes the reconnection tokens that
/// have replaced this token.
pub(crate) fn hashes_to_revoke(token: &str) -> Vec<TokenHash> {
    let mut hashes = vec![token_hash(token)];
    hashes.extend(session(&claims(token)));
    hashes
}

/// Returns the time at which all tokens in the session of a reconnection token have expired, in
/// seconds since 1970. Returns `None` for any other token.
pub(super) fn end_of_session(token: &str) -> Option<u64> {
    let claims = claims(token);
    session(&claims)?;
    let until = claims.get(UNTIL).and_then(Value::as_u64);
    Some(until.unwrap_or_else(|| now().saturating_add(REMEMBERED)))
}

/// Returns the hash of a token, the id of its session, and the hashes of its ancestors. The token
/// is revoked if one of these hashes was revoked.
pub(super) fn hashes_to_check(token: &str) -> Vec<TokenHash> {
    let claims = claims(token);
    let mut hashes = ancestors(&claims);
    hashes.extend(session(&claims));
    hashes.push(token_hash(token));
    hashes
}

/// Returns the claims of a token, without checking the token. Returns an empty map if the token is
/// not a JSON Web Token, because the embedding program may use another format.
fn claims(token: &str) -> Map<String, Value> {
    let payload = bare(token).ok().and_then(|token| token.split('.').nth(1));
    payload
        .and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok())
        .and_then(|payload| serde_json::from_slice(&payload).ok())
        .unwrap_or_default()
}

fn ancestors(claims: &Map<String, Value>) -> Vec<TokenHash> {
    let texts = claims.get(ANCESTORS).and_then(Value::as_array);
    texts.into_iter().flatten().filter_map(hash).collect()
}

fn session(claims: &Map<String, Value>) -> Option<TokenHash> {
    claims.get(SESSION).and_then(hash)
}

/// Returns the hash that a claim contains. If the claim does not contain a hash, returns the
/// SHA-256 hash of the claim, because another issuer may write a session id in another format. The
/// server must be able to revoke such a session too.
fn hash(text: &Value) -> Option<TokenHash> {
    let text = text.as_str()?;
    let decoded = URL_SAFE_NO_PAD.decode(text).ok();
    let decoded = decoded.and_then(|bytes| TokenHash::try_from(bytes).ok());
    Some(decoded.unwrap_or_else(|| Sha256::digest(text).into()))
}
