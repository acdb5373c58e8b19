//! The lineage of a token: its ancestors, which are the tokens from which it was made.
//!
//! A token does not outlive its ancestors, and revoking an ancestor revokes the token. Each token
//! of the server lists the hashes of its ancestors in its claims, so that no server has to store
//! them. A revocation adds one hash to the list of revoked tokens, and every check compares all
//! hashes of a token with that list.

use std::ops::{Deref, DerefMut};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hypha_rpc::workspace::UserInfo;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::bearer::{TokenError, TokenHash, bare, token_hash};
use super::now;

/// Claim with the hashes of the ancestors, as a list of strings in base64.
const ANCESTORS: &str = "urn:hypha:ancestors";
/// Claim of a reconnection token: the id of its session, in base64. When a reconnection token
/// replaces another reconnection token, both tokens have the same session id.
const SESSION: &str = "urn:hypha:session";
/// Claim of a reconnection token: the expiry of the credentials with which the client first
/// connected, in seconds since 1970. The token itself may expire earlier.
const UNTIL: &str = "urn:hypha:until";
/// Time for which the server stores a revoked session that has no expiry, in seconds.
const REMEMBERED: u64 = 366 * 86_400;
/// Maximum number of ancestors of a token. Without this limit, a chain of tokens, each made from
/// the token before, could grow without end, and the cost of each check would grow with the chain.
const ANCESTORS_MAX: usize = 32;

/// A user, with the lineage of its token. Serializes as the user alone, because peers must not see
/// the lineage.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(transparent)]
pub(crate) struct Authenticated {
    pub(crate) user: UserInfo,
    #[serde(skip)]
    pub(crate) lineage: Lineage,
}

impl From<UserInfo> for Authenticated {
    /// Returns a user with the lineage of a client without a token.
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

/// The ancestors of the tokens that a client makes: the client's own token and its ancestors.
///
/// The reconnection tokens of a client replace each other. Together they count as one ancestor, the
/// session, so that the list does not grow when the client reconnects.
///
/// The default is the lineage of a client without a token, and of the root token: no revocation
/// affects the tokens that such clients make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lineage {
    ancestors: Vec<TokenHash>,
    /// The id of the session, if the client has one.
    session: Option<TokenHash>,
    /// Expiry in seconds since 1970. `None`: no expiry.
    until: Option<u64>,
}

impl Lineage {
    /// Returns the lineage of a client that presents `token`, which must have been checked.
    /// `expires` is the expiry of the token. The expiry of a reconnection token is ignored, because
    /// the server replaces the token with a new reconnection token.
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

    /// Returns the seconds until the client's credentials expire, or `None` if they do not expire.
    fn left(&self) -> Option<u64> {
        self.until.map(|until| until.saturating_sub(now()))
    }

    /// Returns the lifetime of a new token in seconds: `wanted`, or less if the client's
    /// credentials expire earlier.
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

    /// Returns the lifetime of a new reconnection token in seconds: `wanted`, or less if the
    /// client's credentials expire earlier. Returns 0 if the credentials have expired.
    pub(crate) fn life_of_session(&self, wanted: u64) -> u64 {
        self.left().map_or(wanted, |left| wanted.min(left))
    }

    /// Returns this lineage with its session, or with a new random session if it has none.
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

    /// Adds this lineage to the claims of a token that is not a reconnection token. The session is
    /// added as an ancestor, so that revoking the session revokes the token.
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

/// Returns the hashes to revoke for a token: the hash of the token and, for a reconnection token,
/// the id of its session. Revoking the session also revokes the reconnection tokens that have
/// replaced this token.
pub(crate) fn hashes_to_revoke(token: &str) -> Vec<TokenHash> {
    let mut hashes = vec![token_hash(token)];
    hashes.extend(session(&claims(token)));
    hashes
}

/// Returns the time, in seconds since 1970, at which all tokens in the session of a reconnection
/// token have expired. Returns `None` for any other token.
pub(super) fn end_of_session(token: &str) -> Option<u64> {
    let claims = claims(token);
    session(&claims)?;
    let until = claims.get(UNTIL).and_then(Value::as_u64);
    Some(until.unwrap_or_else(|| now().saturating_add(REMEMBERED)))
}

/// Returns the hashes of a token, of its session and of its ancestors. A token is revoked if one of
/// these hashes was revoked.
pub(super) fn hashes_to_check(token: &str) -> Vec<TokenHash> {
    let claims = claims(token);
    let mut hashes = ancestors(&claims);
    hashes.extend(session(&claims));
    hashes.push(token_hash(token));
    hashes
}

/// Returns the claims of a token, without any check. Returns an empty map if the token is not a
/// JSON Web Token, because the embedding program may use another format.
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

/// Returns the hash in a claim. If the claim is not a hash, returns its SHA-256 hash. Other issuers
/// may write such session ids, and their sessions must be revocable too.
fn hash(text: &Value) -> Option<TokenHash> {
    let text = text.as_str()?;
    let decoded = URL_SAFE_NO_PAD.decode(text).ok();
    let decoded = decoded.and_then(|bytes| TokenHash::try_from(bytes).ok());
    Some(decoded.unwrap_or_else(|| Sha256::digest(text).into()))
}
