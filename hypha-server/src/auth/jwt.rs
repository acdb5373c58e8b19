//! Signs and checks JSON Web Tokens (RFC 7519). The server accepts two forms: tokens that a server
//! has signed with HS256, and tokens that an identity provider has signed with RS256.
//!
//! JWT libraries use the cryptographic provider that is installed for the whole process. The
//! embedding program chooses this provider, and other dependencies of the program may install
//! another provider or none. Therefore this module calls cryptographic libraries directly.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::now;

/// Algorithm of the server's own tokens.
pub(super) const HS256: &str = "HS256";
/// Algorithm of the identity provider's tokens.
#[cfg(feature = "jwks")]
pub(super) const RS256: &str = "RS256";
/// Registered algorithms. If the server does not accept a registered algorithm, the error contains
/// the name of the algorithm. A header with any other name is malformed. This includes `none`,
/// which is deliberately not in the list.
const REGISTERED: [&str; 15] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "ES512", "ES256K", "EdDSA", "Ed25519",
];

/// The reason why the server does not accept a token. The texts are the same as in the Python
/// server, because users may search for them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwtError {
    #[error("Error decoding token headers.")]
    Malformed,
    #[error("Invalid algorithm: {0}")]
    Algorithm(String),
    #[error("Signature verification failed.")]
    Signature,
    #[error("Invalid token: {0}")]
    Claims(&'static str),
    #[error("missing required key '{0}'")]
    Missing(&'static str),
    #[error("The token has expired. Please fetch a new one")]
    Expired,
    #[error("The token is not yet valid (nbf)")]
    Immature,
    #[error("Invalid issuer")]
    Issuer,
    #[error("Invalid audience")]
    Audience,
}

/// The secret with which a server signs and checks its own tokens.
pub(super) struct Secret(Hmac<Sha256>);

impl Secret {
    /// Creates a signing key from a secret of any length.
    pub(super) fn new(secret: &[u8]) -> Secret {
        let key = Hmac::new_from_slice(secret)
            .unwrap_or_else(|_| unreachable!("HMAC accepts keys of every length"));
        Secret(key)
    }

    /// Returns a token with these claims, signed with HS256.
    pub(super) fn sign(&self, claims: &Map<String, Value>) -> String {
        let encode = |value: &[u8]| URL_SAFE_NO_PAD.encode(value);
        let header = json!({"typ": "JWT", "alg": HS256}).to_string();
        let payload = Value::Object(claims.clone()).to_string();
        let signed = format!(
            "{}.{}",
            encode(header.as_bytes()),
            encode(payload.as_bytes())
        );
        let mut mac = self.0.clone();
        mac.update(signed.as_bytes());
        let signature = encode(&mac.finalize().into_bytes());
        format!("{signed}.{signature}")
    }

    fn verify(&self, signed: &[u8], signature: &[u8]) -> bool {
        let mut mac = self.0.clone();
        mac.update(signed);
        // Compare the signatures in constant time, so that a client cannot guess a signature byte
        // by byte.
        mac.verify_slice(signature).is_ok()
    }
}

/// A public RSA key of 2048 bits or more.
#[cfg(feature = "jwks")]
#[derive(Clone, Debug)]
pub(super) struct RsaKey(ring::signature::RsaPublicKeyComponents<Vec<u8>>);

#[cfg(feature = "jwks")]
impl RsaKey {
    /// Returns the id and the key of a JSON Web Key (RFC 7517). If the JSON Web Key has no id, the
    /// returned id is empty. Returns `None` if the key is not for signatures with RS256.
    pub(super) fn from_jwk(jwk: &Value) -> Option<(String, RsaKey)> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let other = |name: &str, wanted: &str| text(name).is_some_and(|value| value != wanted);
        // Accept a key without `use` or `alg`, because both members are optional.
        if text("kty") != Some("RSA") || other("use", "sig") || other("alg", RS256) {
            return None;
        }
        let number = |name: &str| {
            let bytes = URL_SAFE_NO_PAD
                .decode(text(name)?.trim_end_matches('='))
                .ok()?;
            // Remove leading zeros. Some providers write leading zeros, and `ring` does not accept
            // them.
            let start = bytes.iter().position(|byte| *byte != 0)?;
            Some(bytes[start..].to_vec())
        };
        let key = ring::signature::RsaPublicKeyComponents {
            n: number("n")?,
            e: number("e")?,
        };
        Some((text("kid").unwrap_or_default().to_owned(), RsaKey(key)))
    }

    fn verify(&self, signed: &[u8], signature: &[u8]) -> bool {
        let algorithm = &ring::signature::RSA_PKCS1_2048_8192_SHA256;
        self.0.verify(algorithm, signed, signature).is_ok()
    }
}

/// The key that must have signed a token. The key also determines the algorithm. The header of a
/// token names an algorithm too, but the sender of the token could write a weaker algorithm there.
pub(super) enum Key<'a> {
    /// For HS256.
    Secret(&'a Secret),
    /// For RS256.
    #[cfg(feature = "jwks")]
    Rsa(&'a RsaKey),
}

impl Key<'_> {
    fn algorithm(&self) -> &'static str {
        match self {
            Key::Secret(_) => HS256,
            #[cfg(feature = "jwks")]
            Key::Rsa(_) => RS256,
        }
    }

    fn verify(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Key::Secret(secret) => secret.verify(signed, signature),
            #[cfg(feature = "jwks")]
            Key::Rsa(key) => key.verify(signed, signature),
        }
    }
}

/// The unverified header of a token, with the algorithm and the id of the signing key.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    #[cfg_attr(
        not(feature = "jwks"),
        allow(dead_code, reason = "only providers have many keys")
    )]
    pub(super) kid: Option<String>,
    /// Extensions that a server must support to accept the token (RFC 7515, section 4.1.11). This
    /// server supports no extension, so it refuses a token with this field.
    crit: Option<Value>,
}

/// Returns the header of a token. Checks the format of the header, but not the signature.
pub(super) fn header(token: &str) -> Result<Header, JwtError> {
    let (header, rest) = token.split_once('.').ok_or(JwtError::Malformed)?;
    if rest.matches('.').count() != 1 {
        return Err(JwtError::Malformed);
    }
    let header = decode_part(header).ok_or(JwtError::Malformed)?;
    let header: Header = serde_json::from_slice(&header).map_err(|_| JwtError::Malformed)?;
    if header.crit.is_some() || !REGISTERED.contains(&header.alg.as_str()) {
        return Err(JwtError::Malformed);
    }
    Ok(header)
}

fn decode_part(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// The values that the claims of a valid token must have.
pub(super) struct Validation {
    /// Required claim `iss`.
    pub(super) issuer: String,
    /// Required claim `aud`.
    pub(super) audience: String,
    /// Tolerance for `exp` and `nbf` in seconds, because the clocks of the issuer and of the server
    /// may differ.
    pub(super) leeway: u64,
}

impl Validation {
    /// Returns the claims of a token. The token must be signed with `key`, and must be valid now.
    ///
    /// # Errors
    ///
    /// Checks the algorithm, the signature and the claims, in this order, and returns the first
    /// failure.
    pub(super) fn decode(
        &self,
        token: &str,
        key: &Key<'_>,
    ) -> Result<Map<String, Value>, JwtError> {
        let header = header(token)?;
        if header.alg != key.algorithm() {
            return Err(JwtError::Algorithm(header.alg));
        }
        // Check the signature before decoding the claims, so that unauthenticated input reaches as
        // little code as possible.
        let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
        let signature = decode_part(signature).ok_or(JwtError::Signature)?;
        if !key.verify(signed.as_bytes(), &signature) {
            return Err(JwtError::Signature);
        }
        let payload = signed
            .split_once('.')
            .and_then(|(_, payload)| decode_part(payload));
        let claims = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
        let claims = claims.ok_or(JwtError::Claims("its claims are no JSON object"))?;
        self.check(&claims)?;
        Ok(claims)
    }

    /// Checks the claims `exp`, `nbf`, `sub`, `iss` and `aud`. All of these claims except `nbf` are
    /// required.
    fn check(&self, claims: &Map<String, Value>) -> Result<(), JwtError> {
        let required = |name: &'static str| match claims.get(name) {
            None | Some(Value::Null) => Err(JwtError::Missing(name)),
            Some(claim) => Ok(claim),
        };
        let now = now();
        let end = time(required("exp")?).ok_or(JwtError::Claims("`exp` is no time"))?;
        if end < now.saturating_sub(self.leeway) {
            return Err(JwtError::Expired);
        }
        if let Some(start) = claims.get("nbf").filter(|start| !start.is_null()) {
            let start = time(start).ok_or(JwtError::Claims("`nbf` is no time"))?;
            if start > now.saturating_add(self.leeway) {
                return Err(JwtError::Immature);
            }
        }
        if !required("sub")?.is_string() {
            return Err(JwtError::Claims("`sub` is no string"));
        }
        if !names(required("iss")?, &self.issuer) {
            return Err(JwtError::Issuer);
        }
        if !names(required("aud")?, &self.audience) {
            return Err(JwtError::Audience);
        }
        Ok(())
    }
}

/// Returns the time in a claim, in seconds since 1970. Rounds fractions of a second.
fn time(claim: &Value) -> Option<u64> {
    // Accept fractions, because an issuer may write fractions. Do not convert integers to floating
    // point, because large integers would lose digits.
    let seconds = claim.as_f64()?;
    (seconds >= 0.0 && seconds < u64::MAX as f64)
        .then(|| claim.as_u64().unwrap_or(seconds.round() as u64))
}

/// Returns whether a claim is the string `wanted`, or a list that contains this string.
fn names(claim: &Value, wanted: &str) -> bool {
    match claim {
        Value::String(name) => name == wanted,
        Value::Array(names) => names.iter().any(|name| name == wanted),
        _ => false,
    }
}
