//! The tokens that another token was made with. It does not outlive them.

use std::ops::{Deref, DerefMut};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hypha_rpc::workspace::UserInfo;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::bearer::{TokenError, TokenHash, bare, token_hash};
use super::now;

/// Claims of a token that was made with others: their hashes; the reconnection tokens that replace
/// each other; and the expiry of what they were made with. Their names are not standard.
const ANCESTORS: &str = "urn:hypha:ancestors";
const SESSION: &str = "urn:hypha:session";
const UNTIL: &str = "urn:hypha:until";
/// Time for which a revoked session is remembered that has no end of its own, in seconds.
const REMEMBERED: u64 = 366 * 86_400;
/// Bound on the ancestors of a token.
const ANCESTORS_MAX: usize = 32;

/// A user, and the credentials by which it was recognized. Peers get to see the user only.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(transparent)]
pub(crate) struct Authenticated {
    pub(crate) user: UserInfo,
    #[serde(skip)]
    pub(crate) lineage: Lineage,
}

impl From<UserInfo> for Authenticated {
    /// Returns a user without credentials.
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

/// The credentials of a client, of which it makes others: they end with them.
///
/// The reconnection tokens of a client replace each other. Together they count as one ancestor, the
/// session, however often the client reconnects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lineage {
    ancestors: Vec<TokenHash>,
    session: Option<TokenHash>,
    /// Expiry in seconds since 1970. `None` for a client without credentials, and for the root
    /// token.
    until: Option<u64>,
}

impl Lineage {
    /// Returns the credentials of a client that presents a token, which must have been checked.
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

    /// Returns the seconds until the credentials expire. `None` if they do not.
    fn left(&self) -> Option<u64> {
        self.until.map(|until| until.saturating_sub(now()))
    }

    /// Returns the life of a token that is made with the credentials.
    ///
    /// # Errors
    /// Fails if they have expired, or the token would have too many ancestors.
    pub(super) fn life_of_child(&self, wanted: u64) -> Result<u64, TokenError> {
        if self.ancestors.len() >= ANCESTORS_MAX {
            return Err(TokenError::Invalid(format!(
                "it would be made of more than {ANCESTORS_MAX} others"
            )));
        }
        match self.left() {
            Some(0) => Err(TokenError::Invalid(
                "Your own token has expired, it cannot make others.".into(),
            )),
            left => Ok(left.map_or(wanted, |left| wanted.min(left))),
        }
    }

    /// Returns the life of the token with which the client reconnects; 0 if its credentials have
    /// expired.
    pub(crate) fn life_of_session(&self, wanted: u64) -> u64 {
        self.left().map_or(wanted, |left| wanted.min(left))
    }

    /// Returns the same credentials within a session.
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

    /// Writes the claims of a reconnection token.
    pub(super) fn put_session(&self, claims: &mut Map<String, Value>) {
        put_ancestors(claims, &self.ancestors);
        if let Some(session) = &self.session {
            claims.insert(SESSION.into(), json!(URL_SAFE_NO_PAD.encode(session)));
        }
        if let Some(until) = self.until {
            claims.insert(UNTIL.into(), until.into());
        }
    }

    /// Writes the claims of any other token.
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

/// Returns the hashes that are revoked with a token: its own and that of its session.
pub(crate) fn hashes_to_revoke(token: &str) -> Vec<TokenHash> {
    let mut hashes = vec![token_hash(token)];
    hashes.extend(session(&claims(token)));
    hashes
}

/// Returns the time, in seconds since 1970, until which tokens can be valid that were made in the
/// session of a reconnection token. `None` for any other token.
pub(super) fn end_of_session(token: &str) -> Option<u64> {
    let claims = claims(token);
    session(&claims)?;
    let until = claims.get(UNTIL).and_then(Value::as_u64);
    Some(until.unwrap_or_else(|| now().saturating_add(REMEMBERED)))
}

/// Returns the hashes of which none may be revoked if a token is to be accepted: its own and those
/// of all that it was made with.
pub(super) fn hashes_to_check(token: &str) -> Vec<TokenHash> {
    let claims = claims(token);
    let mut hashes = ancestors(&claims);
    hashes.extend(session(&claims));
    hashes.push(token_hash(token));
    hashes
}

/// Returns the claims of a token, without any check: the tokens of others have none.
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

/// Returns a hash in a claim. Any other text, as of another issuer, stands for a hash of its own.
fn hash(text: &Value) -> Option<TokenHash> {
    let text = text.as_str()?;
    let decoded = URL_SAFE_NO_PAD.decode(text).ok();
    let decoded = decoded.and_then(|bytes| TokenHash::try_from(bytes).ok());
    Some(decoded.unwrap_or_else(|| Sha256::digest(text).into()))
}
