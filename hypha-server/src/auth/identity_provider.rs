//! Checks tokens of an external identity provider. The provider publishes the keys that are needed
//! for this check.
//!
//! Lock order: `tried`, then `keys`. `keys` is locked only while the map is read or replaced.
//! `tried` is locked while the keys are fetched, but only the check of a token with an unknown key
//! takes this lock.

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
/// Time after which the server fetches the keys again, because the provider may have withdrawn some
/// of the keys.
const KEYS_MAX_AGE: Duration = Duration::from_secs(3600);
/// Minimum interval between two requests for the keys. Without this interval, each token with an
/// unknown key would cause a request, and anyone can send such tokens.
const FETCH_INTERVAL: Duration = Duration::from_secs(30);

/// The identity provider of the settings, with a cache of its keys.
pub(super) struct IdentityProvider {
    /// URL of the keys (a JSON Web Key Set).
    url: String,
    validation: Validation,
    client: reqwest::Client,
    keys: RwLock<Keys>,
    /// Time of the last request for the keys. Locked while the keys are fetched, so that one
    /// request serves all tokens that wait for the keys. The check of a token with a known key does
    /// not take this lock.
    tried: Mutex<Option<Instant>>,
}

/// The keys of the provider, by key id (`kid`).
#[derive(Default)]
struct Keys {
    by_id: HashMap<String, RsaKey>,
    /// Time at which the keys were fetched. `None` if no request has succeeded yet.
    fetched: Option<Instant>,
}

impl IdentityProvider {
    /// Creates the identity provider of the settings. Returns `None` if the settings contain no
    /// provider. Also returns `None`, and logs the error, if the HTTP client cannot be created. The
    /// server then accepts no tokens of the provider.
    pub(super) fn new(settings: &TokenSettings) -> Option<IdentityProvider> {
        let url = settings.provider_keys_url()?;
        let client = https_client()
            .inspect_err(|error| tracing::error!(error, "cannot set up the identity provider"))
            .ok()?;
        let validation = Validation {
            issuer: settings.provider_issuer().to_string(),
            audience: settings.audience.clone(),
            // The tolerance is not 0, because the clock of the provider may differ from the clock
            // of this machine.
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

    /// Returns the user of a token that the provider has issued. `user_of` reads the user from the
    /// claims. This method may wait until the keys have been fetched.
    ///
    /// # Errors
    ///
    /// Fails if the key is unknown or cannot be fetched, or if the token is not valid.
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

    /// Returns the key `id`. Fetches the keys if this key is unknown or too old.
    async fn key(&self, id: &str) -> Result<RsaKey, TokenError> {
        if let Some(key) = self.known(id) {
            return Ok(key);
        }
        let mut tried = self.tried.lock().await;
        // Look up the key again, because the check of another token may have fetched the keys
        // during the wait for the lock.
        if let Some(key) = self.known(id) {
            return Ok(key);
        }
        if !is_within(*tried, FETCH_INTERVAL) {
            // Set the time before the request, so that the interval also limits failed requests.
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

    /// Returns the cached key `id`, unless the cache is too old.
    fn known(&self, id: &str) -> Option<RsaKey> {
        let keys = self.keys.read();
        let key = keys.by_id.get(id)?;
        is_within(keys.fetched, KEYS_MAX_AGE).then(|| key.clone())
    }

    /// Fetches the keys from the provider.
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
        // Skip keys that are not for RS256, because providers also publish keys for other purposes.
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

/// Creates an HTTP client for requests that the server itself sends.
///
/// The client has its own cryptographic provider, because the default of the process belongs to the
/// embedding program. The client follows no redirects, so that only the configured host can provide
/// keys.
pub(crate) fn https_client() -> Result<reqwest::Client, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        // Do not fail, because the keys may be at a plain HTTP URL, which needs no certificates.
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
