//! Settings of tokens: their claims, and the identity provider.

use serde::Serialize;

use super::redacted_url;

/// Settings of tokens: their claims, and the identity provider whose tokens the server accepts in
/// addition to its own tokens.
///
/// The Python server has the same defaults. So both servers accept the same tokens if they have the
/// same secret.
#[derive(Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[non_exhaustive]
pub struct TokenSettings {
    /// Claim `iss` of the server's own tokens. Default: `https://amun.ai/`.
    #[cfg_attr(feature = "cli", arg(long = "token-issuer", env = "AUTH0_ISSUER"))]
    pub issuer: String,
    /// Claim `aud` of the server's own tokens and of the identity provider's tokens. Default:
    /// `https://amun-ai.eu.auth0.com/api/v2/`.
    #[cfg_attr(feature = "cli", arg(long = "token-audience", env = "AUTH0_AUDIENCE"))]
    pub audience: String,
    /// Prefix of the claims `roles`, `email` and `parent`. Default: `https://amun.ai/`.
    #[cfg_attr(
        feature = "cli",
        arg(long = "token-namespace", env = "AUTH0_NAMESPACE")
    )]
    pub namespace: String,
    /// Domain of the identity provider. The server reports the domain to clients. Default: none.
    ///
    /// If a domain is set, the default URL of the provider's keys is
    /// `https://DOMAIN/.well-known/jwks.json`, and the default issuer of its tokens is
    /// `https://DOMAIN/`.
    #[cfg_attr(feature = "cli", arg(long = "auth0-domain", env = "AUTH0_DOMAIN"))]
    pub domain: String,
    /// Client id that the identity provider issued for this server. The server reports this id to
    /// clients. Default: none.
    #[cfg_attr(
        feature = "cli",
        arg(long = "auth0-client-id", env = "AUTH0_CLIENT_ID")
    )]
    pub client_id: String,
    /// URL of the public keys of the identity provider, which signs its tokens with RS256. Default:
    /// derived from the domain. If neither a URL nor a domain is set, the server accepts no tokens
    /// of an identity provider.
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "HYPHA_JWKS_URL", hide_env_values = true)
    )]
    #[serde(serialize_with = "redacted_url")]
    pub jwks_url: Option<String>,
    /// Claim `iss` of the identity provider's tokens. Default: derived from the domain. If there is
    /// no domain, the default is the issuer of the server's own tokens.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_JWKS_ISSUER"))]
    pub jwks_issuer: Option<String>,
}

impl Default for TokenSettings {
    fn default() -> Self {
        TokenSettings {
            issuer: "https://amun.ai/".into(),
            audience: "https://amun-ai.eu.auth0.com/api/v2/".into(),
            namespace: "https://amun.ai/".into(),
            domain: String::new(),
            client_id: String::new(),
            jwks_url: None,
            jwks_issuer: None,
        }
    }
}

impl std::fmt::Debug for TokenSettings {
    /// Formats the settings as JSON without credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| std::fmt::Error)?;
        write!(f, "TokenSettings({text})")
    }
}

impl TokenSettings {
    /// Returns the full name of a non-standard claim: `namespace` followed by `name`.
    pub(crate) fn claim(&self, name: &str) -> String {
        format!("{}{name}", self.namespace)
    }

    /// Returns the URL of the identity provider's keys, or `None` if there is no provider.
    pub(crate) fn provider_keys_url(&self) -> Option<String> {
        let derived = || Some(format!("https://{}/.well-known/jwks.json", self.domain()?));
        self.jwks_url.clone().or_else(derived)
    }

    /// Returns the issuer of the identity provider's tokens.
    #[cfg(feature = "jwks")]
    pub(crate) fn provider_issuer(&self) -> String {
        let derived = || Some(format!("https://{}/", self.domain()?));
        let issuer = self.jwks_issuer.clone().or_else(derived);
        issuer.unwrap_or_else(|| self.issuer.clone())
    }

    fn domain(&self) -> Option<&str> {
        Some(self.domain.as_str()).filter(|domain| !domain.is_empty())
    }

    /// Replaces empty strings with the defaults.
    pub(super) fn ignore_empty(&mut self) {
        let default = TokenSettings::default();
        for (text, default) in [
            (&mut self.issuer, default.issuer),
            (&mut self.audience, default.audience),
            (&mut self.namespace, default.namespace),
        ] {
            if text.is_empty() {
                *text = default;
            }
        }
        self.jwks_url.take_if(|text| text.is_empty());
        self.jwks_issuer.take_if(|text| text.is_empty());
    }
}
