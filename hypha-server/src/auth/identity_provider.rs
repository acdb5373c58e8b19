//! Checks the tokens of an external identity provider with the keys that the provider publishes.
//!
//! Lock order: `tried`, then `keys`. `keys` is locked only to read or replace the map. `tried`
//! stays locked during a request to the provider, and only tokens with an unknown key lock it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hypha_rpc::workspace::UserInfo;
use parking_lot::RwLock;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::bearer::TokenError;
use super::jwt::{Key, RsaKey, Validation};
use crate::settings::TokenSettings;

/// Timeout of a request for the keys.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of the response with the keys, in bytes.
const FETCH_BYTES: usize = 1024 * 1024;
/// Time after which the keys are fetched again, because the provider may have withdrawn some of
/// them.
const KEYS_MAX_AGE: Duration = Duration::from_secs(3600);
/// Minimum interval between two requests. Without this interval, each token with an unknown key
/// would cause a request, and anyone can send such tokens.
const FETCH_INTERVAL: Duration = Duration::from_secs(30);

/// The identity provider of the settings, with a cache of its keys.
pub(super) struct IdentityProvider {
    /// URL of the keys (a JSON Web Key Set).
    url: String,
    validation: Validation,
    client: reqwest::Client,
    keys: RwLock<Keys>,
    /// Time of the last request. Locked while the keys are fetched, so that one request serves all
    /// waiting tokens. The check of a token with a known key does not take the lock.
    tried: Mutex<Option<Instant>>,
}

/// The keys of the provider, by key id (`kid`).
#[derive(Default)]
struct Keys {
    by_id: HashMap<String, RsaKey>,
    /// `None` before the first successful request.
    fetched: Option<Instant>,
}

impl IdentityProvider {
    /// Returns the provider of the settings, or `None` if the settings contain no provider. Also
    /// returns `None`, and logs the error, if the HTTP client cannot be created: the server then
    /// accepts no tokens of the provider.
    pub(super) fn new(settings: &TokenSettings) -> Option<IdentityProvider> {
        let url = settings.provider_keys_url()?;
        let client = https_client()
            .inspect_err(|error| tracing::error!(error, "cannot set up the identity provider"))
            .ok()?;
        let validation = Validation {
            issuer: settings.provider_issuer().to_string(),
            audience: settings.audience.clone(),
            // Not 0, because the provider's clock may differ from the local clock.
            leeway: 60,
        };
        Some(IdentityProvider {
            url,
            validation,
            client,
            keys: RwLock::default(),
            tried: Mutex::default(),
        })
    }

    /// Returns the user of a token of the provider. `user_of` reads the user from the claims. May
    /// wait for a request to the provider.
    ///
    /// # Errors
    ///
    /// Fails if the key is unknown or cannot be fetched, or the token is not valid.
    pub(super) async fn user(
        &self,
        token: &str,
        key_id: Option<&str>,
        user_of: impl Fn(&Map<String, Value>) -> Option<UserInfo>,
    ) -> Result<UserInfo, TokenError> {
        let key = self.key(key_id.unwrap_or_default()).await?;
        let claims = self.validation.decode(token, &Key::Rsa(&key))?;
        user_of(&claims).ok_or_else(|| TokenError::Invalid("Invalid token: unusable claims".into()))
    }

    /// Returns the key with this id. Fetches the keys if the key is unknown or too old.
    async fn key(&self, id: &str) -> Result<RsaKey, TokenError> {
        if let Some(key) = self.known(id) {
            return Ok(key);
        }
        let mut tried = self.tried.lock().await;
        // Checked again, because another token may have fetched the keys while this token waited.
        if let Some(key) = self.known(id) {
            return Ok(key);
        }
        if !is_within(*tried, FETCH_INTERVAL) {
            // Set before the request, so that failed requests are limited too.
            *tried = Some(Instant::now());
            match self.fetch().await {
                Ok(by_id) => {
                    let fetched = *tried;
                    *self.keys.write() = Keys { by_id, fetched };
                }
                Err(error) => tracing::warn!(
                    error,
                    url = self.url,
                    "cannot fetch the keys of the identity provider"
                ),
            }
        }
        self.known(id)
            .ok_or_else(|| TokenError::Invalid("Unable to find appropriate key".into()))
    }

    /// Returns a cached key that is not too old.
    fn known(&self, id: &str) -> Option<RsaKey> {
        let keys = self.keys.read();
        let key = keys.by_id.get(id)?;
        is_within(keys.fetched, KEYS_MAX_AGE).then(|| key.clone())
    }

    /// Requests the keys from the provider.
    async fn fetch(&self) -> Result<HashMap<String, RsaKey>, String> {
        let failed = |error: reqwest::Error| error.to_string();
        let mut response = self.client.get(&self.url).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(format!("status {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&piece);
            if body.len() > FETCH_BYTES {
                return Err(format!("more than {FETCH_BYTES} bytes"));
            }
        }
        let set: KeySet = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        // Keys that cannot check RS256 are skipped, because providers publish keys for other
        // purposes too.
        Ok(set.keys.iter().filter_map(RsaKey::from_jwk).collect())
    }
}

fn is_within(since: Option<Instant>, time: Duration) -> bool {
    since.is_some_and(|at| at.elapsed() < time)
}

/// The JSON Web Key Set that a provider publishes (RFC 7517).
#[derive(serde::Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// Returns the HTTP client for requests of the server itself.
///
/// The client has its own cryptographic provider, because the process-wide default belongs to the
/// embedding program. It follows no redirects, so that keys come from the configured host.
pub(crate) fn https_client() -> Result<reqwest::Client, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        // Not an error, because a request for keys over plain HTTP needs no certificates.
        tracing::warn!(errors = ?found.errors, "no root certificates on this machine");
    }
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(FETCH_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| error.to_string())
}
