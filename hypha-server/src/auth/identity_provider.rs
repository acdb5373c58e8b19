//! An external identity provider: tokens that it signs with keys that it publishes.

use std::collections::HashMap;
use std::time::Duration;

use hypha_rpc::workspace::UserInfo;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::tokens::{TokenError, explain};
use crate::settings::TokenSettings;

/// Timeout of a request for the keys.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
const FETCH_BYTES: usize = 1024 * 1024;
/// Time after which the keys are fetched again, so that a withdrawn key is no longer accepted.
const KEYS_MAX_AGE: Duration = Duration::from_secs(3600);
/// Shortest interval between two requests, however many unknown tokens arrive.
const FETCH_INTERVAL: Duration = Duration::from_secs(30);

pub(super) struct IdentityProvider {
    url: String,
    validation: Validation,
    client: reqwest::Client,
    // Held while the keys are fetched, so that one request serves all tokens that wait.
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    by_id: HashMap<String, DecodingKey>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

impl IdentityProvider {
    /// Returns the provider of the settings, if they name one.
    pub(super) fn new(settings: &TokenSettings) -> Option<IdentityProvider> {
        let url = settings.provider_keys_url()?;
        // A provider that the program has installed serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(FETCH_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let client = client
            .inspect_err(|error| tracing::error!(%error, "cannot set up the identity provider"))
            .ok()?;
        let mut validation = super::tokens::validation(
            Algorithm::RS256,
            &settings.provider_issuer(),
            &settings.audience,
        );
        // Clocks differ between machines.
        validation.leeway = 60;
        Some(IdentityProvider {
            url,
            validation,
            client,
            keys: Mutex::default(),
        })
    }

    /// Returns the user of a token of the provider.
    pub(super) async fn user(
        &self,
        token: &str,
        key_id: Option<&str>,
        user_of: impl Fn(&Map<String, Value>) -> Option<UserInfo>,
    ) -> Result<UserInfo, TokenError> {
        let key = self.key(key_id.unwrap_or_default()).await?;
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &self.validation)
            .map_err(|error| TokenError::Invalid(explain(token, error.kind())))?;
        user_of(&decoded.claims)
            .ok_or_else(|| TokenError::Invalid("Invalid token: unusable claims".into()))
    }

    async fn key(&self, id: &str) -> Result<DecodingKey, TokenError> {
        let mut keys = self.keys.lock().await;
        let within = |since: Option<Instant>, time| since.is_some_and(|at| at.elapsed() < time);
        let known = keys
            .by_id
            .get(id)
            .filter(|_| within(keys.fetched, KEYS_MAX_AGE));
        if let Some(key) = known {
            return Ok(key.clone());
        }
        if !within(keys.tried, FETCH_INTERVAL) {
            keys.tried = Some(Instant::now());
            match self.fetch().await {
                Ok(by_id) => {
                    keys.by_id = by_id;
                    keys.fetched = keys.tried;
                }
                Err(error) => tracing::warn!(
                    error,
                    url = self.url,
                    "cannot fetch the keys of the identity provider"
                ),
            }
        }
        let known = keys
            .by_id
            .get(id)
            .filter(|_| within(keys.fetched, KEYS_MAX_AGE));
        known
            .cloned()
            .ok_or_else(|| TokenError::Invalid("Unable to find appropriate key".into()))
    }

    async fn fetch(&self) -> Result<HashMap<String, DecodingKey>, String> {
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
        let set: JwkSet = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let usable = set.keys.iter().filter_map(|jwk| {
            let key = DecodingKey::from_jwk(jwk).ok()?;
            Some((jwk.common.key_id.clone().unwrap_or_default(), key))
        });
        Ok(usable.collect())
    }
}
