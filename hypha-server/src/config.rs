//! What an operator can set: addresses, secrets, and limits with their names.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use hypha_rpc::service::Method;
use serde::{Serialize, Serializer};
use serde_json::json;

use crate::auth::Authenticator;

/// Bounds that keep one client from harming the others. Every one has a variable of the original
/// server where that server has the limit; [`Limits::from_env`] reads them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Limits {
    /// A client from which no data frame came for so long is dropped (`HYPHA_WS_IDLE_TIMEOUT`).
    #[serde(serialize_with = "in_seconds")]
    pub idle_timeout: Duration,
    /// Binary messages per second and connection, on average (`HYPHA_WS_MSG_RATE_LIMIT`).
    pub messages_per_second: f64,
    /// How many may come at once (`HYPHA_WS_MSG_BURST_LIMIT`).
    pub message_burst: f64,
    /// Plain HTTP requests per second and address, on average; users may make ten times as many
    /// (`HYPHA_HTTP_RATE_LIMIT`).
    pub http_per_second: f64,
    /// How many may come at once (`HYPHA_HTTP_BURST_LIMIT`).
    pub http_burst: f64,
    /// Handshakes in progress (`HYPHA_MAX_CONCURRENT_CONNECTIONS`).
    pub concurrent_handshakes: usize,
    /// Connections per user (`HYPHA_MAX_CONNECTIONS_PER_USER`).
    pub connections_per_user: usize,
    /// Clients per workspace (`HYPHA_MAX_CLIENTS_PER_WORKSPACE`).
    pub clients_per_workspace: usize,
    /// Services per client, the built-in one not counted (`HYPHA_MAX_SERVICES_PER_CLIENT`).
    pub services_per_client: usize,
    /// Workspaces that a user owns (`HYPHA_MAX_WORKSPACES_PER_USER`).
    pub workspaces_per_user: usize,
    /// The largest frame that is accepted.
    pub frame_bytes: usize,
    /// Frames waiting for one receiver, in bytes; senders wait for room.
    pub queue_bytes: usize,
    /// A receiver that has no room for a message for so long is dropped: nothing else of the sender is
    /// read meanwhile, and clients give up a server that has not answered a ping for 20 s.
    #[serde(serialize_with = "in_seconds")]
    pub deliver_timeout: Duration,
    /// A receiver that takes nothing for so long is dropped.
    #[serde(serialize_with = "in_seconds")]
    pub stall_timeout: Duration,
    /// The first frame must come within this time.
    #[serde(serialize_with = "in_seconds")]
    pub handshake_timeout: Duration,
    /// The body of a request must come within this time.
    #[serde(serialize_with = "in_seconds")]
    pub body_timeout: Duration,
    /// A client over HTTP that has lost its stream keeps its place for so long.
    #[serde(serialize_with = "in_seconds")]
    pub stream_grace: Duration,
    /// A client over HTTP hears something at least this often.
    #[serde(serialize_with = "in_seconds")]
    pub stream_ping: Duration,
    /// A client over HTTP that has sent nothing for so long is asked whether it is there
    /// (`HYPHA_STREAM_IDLE_THRESHOLD`).
    #[serde(serialize_with = "in_seconds")]
    pub stream_idle: Duration,
    /// Between two such questions; after three without an answer it is dropped
    /// (`HYPHA_STREAM_SWEEP_INTERVAL`).
    #[serde(serialize_with = "in_seconds")]
    pub stream_sweep: Duration,
    /// Between two looks for services whose client is connected to no server
    /// (`HYPHA_ORPHAN_REAP_INTERVAL`); only where servers share a Redis.
    #[serde(serialize_with = "in_seconds")]
    pub orphan_interval: Duration,
    /// How long a client may take to answer then (`HYPHA_ORPHAN_REAP_PING_TIMEOUT`).
    #[serde(serialize_with = "in_seconds")]
    pub orphan_timeout: Duration,
    /// How long somebody may take to log in (`MAXIMUM_LOGIN_TIME`).
    #[serde(serialize_with = "in_seconds")]
    pub login_time: Duration,
    /// Somebody else wants a client's id: how long the client has to prove that it is there.
    #[serde(serialize_with = "in_seconds")]
    pub incumbent_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            idle_timeout: Duration::from_secs(600),
            messages_per_second: 200.0,
            message_burst: 2000.0,
            http_per_second: 100.0,
            http_burst: 500.0,
            concurrent_handshakes: 10,
            connections_per_user: 200,
            clients_per_workspace: 1000,
            services_per_client: 1000,
            workspaces_per_user: 100,
            frame_bytes: 16 * 1024 * 1024,
            queue_bytes: 2 * 1024 * 1024,
            deliver_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(60),
            stream_grace: Duration::from_secs(15),
            stream_ping: Duration::from_secs(10),
            stream_idle: Duration::from_secs(60),
            stream_sweep: Duration::from_secs(30),
            orphan_interval: Duration::from_secs(300),
            orphan_timeout: Duration::from_secs(3),
            login_time: Duration::from_secs(180),
            incumbent_timeout: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// The defaults, changed by the variables of the original server.
    ///
    /// # Errors
    /// A variable that is set but is not a number is named.
    pub fn from_env() -> Result<Limits, ConfigError> {
        let mut limits = Limits::default();
        set_seconds(&mut limits.idle_timeout, "HYPHA_WS_IDLE_TIMEOUT")?;
        set_seconds(&mut limits.orphan_interval, "HYPHA_ORPHAN_REAP_INTERVAL")?;
        set_seconds(&mut limits.orphan_timeout, "HYPHA_ORPHAN_REAP_PING_TIMEOUT")?;
        set_seconds(&mut limits.login_time, "MAXIMUM_LOGIN_TIME")?;
        set_seconds(&mut limits.stream_idle, "HYPHA_STREAM_IDLE_THRESHOLD")?;
        set_seconds(&mut limits.stream_sweep, "HYPHA_STREAM_SWEEP_INTERVAL")?;
        set(&mut limits.messages_per_second, "HYPHA_WS_MSG_RATE_LIMIT")?;
        set(&mut limits.message_burst, "HYPHA_WS_MSG_BURST_LIMIT")?;
        set(&mut limits.http_per_second, "HYPHA_HTTP_RATE_LIMIT")?;
        set(&mut limits.http_burst, "HYPHA_HTTP_BURST_LIMIT")?;
        set(
            &mut limits.concurrent_handshakes,
            "HYPHA_MAX_CONCURRENT_CONNECTIONS",
        )?;
        set(
            &mut limits.connections_per_user,
            "HYPHA_MAX_CONNECTIONS_PER_USER",
        )?;
        set(
            &mut limits.clients_per_workspace,
            "HYPHA_MAX_CLIENTS_PER_WORKSPACE",
        )?;
        set(
            &mut limits.services_per_client,
            "HYPHA_MAX_SERVICES_PER_CLIENT",
        )?;
        set(
            &mut limits.workspaces_per_user,
            "HYPHA_MAX_WORKSPACES_PER_USER",
        )?;
        Ok(limits)
    }
}

/// The names in tokens, and who besides the server itself issues them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TokenSettings {
    /// Who signs the server's own tokens (`AUTH0_ISSUER`).
    pub issuer: String,
    /// For whom tokens are (`AUTH0_AUDIENCE`).
    pub audience: String,
    /// What stands in front of the claims `roles`, `email` and `parent` (`AUTH0_NAMESPACE`).
    pub namespace: String,
    /// The identity provider's name (`AUTH0_DOMAIN`), for clients to know.
    pub domain: String,
    /// The server's id there (`AUTH0_CLIENT_ID`), for clients to know.
    pub client_id: String,
    /// Where the identity provider publishes the keys of its RS256 tokens (`HYPHA_JWKS_URL`, or
    /// `https://<domain>/.well-known/jwks.json`). Without it only the server's own tokens are good.
    pub jwks_url: Option<String>,
    /// Who signs the provider's tokens (`HYPHA_JWKS_ISSUER`, or `https://<domain>/`); the same as
    /// `issuer` if not set.
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

impl TokenSettings {
    /// The defaults, changed by the variables of the original server.
    pub fn from_env() -> TokenSettings {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let mut settings = TokenSettings::default();
        for (target, name) in [
            (&mut settings.issuer, "AUTH0_ISSUER"),
            (&mut settings.audience, "AUTH0_AUDIENCE"),
            (&mut settings.namespace, "AUTH0_NAMESPACE"),
            (&mut settings.domain, "AUTH0_DOMAIN"),
            (&mut settings.client_id, "AUTH0_CLIENT_ID"),
        ] {
            if let Some(given) = text(name) {
                *target = given;
            }
        }
        let domain = Some(&settings.domain).filter(|domain| !domain.is_empty());
        let keys = domain.map(|domain| format!("https://{domain}/.well-known/jwks.json"));
        let issuer = domain.map(|domain| format!("https://{domain}/"));
        settings.jwks_url = text("HYPHA_JWKS_URL").or(keys);
        settings.jwks_issuer = text("HYPHA_JWKS_ISSUER").or(issuer);
        settings
    }

    /// The full name of a claim that is not standard.
    pub(crate) fn claim(&self, name: &str) -> String {
        format!("{}{name}", self.namespace)
    }
}

fn in_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

fn number<T: FromStr>(variable: &'static str) -> Result<Option<T>, ConfigError> {
    match std::env::var(variable) {
        Err(_) => Ok(None),
        Ok(text) => match text.trim().parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(ConfigError::variable(variable, text)),
        },
    }
}

fn set<T: FromStr>(target: &mut T, variable: &'static str) -> Result<(), ConfigError> {
    if let Some(value) = number(variable)? {
        *target = value;
    }
    Ok(())
}

fn set_seconds(target: &mut Duration, variable: &'static str) -> Result<(), ConfigError> {
    if let Some(seconds) = number::<f64>(variable)? {
        *target = Duration::try_from_secs_f64(seconds)
            .map_err(|_| ConfigError::variable(variable, seconds))?;
    }
    Ok(())
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub(crate) String);

impl ConfigError {
    fn variable(name: &str, value: impl std::fmt::Display) -> ConfigError {
        ConfigError(format!(
            "environment variable {name}: '{value}' is not a usable number"
        ))
    }
}

/// Everything that a server is told before it starts.
#[derive(Clone, Default)]
pub(crate) struct Config {
    pub(crate) bind: String,
    pub(crate) base_path: String,
    pub(crate) public_base_url: Option<String>,
    pub(crate) server_id: Option<String>,
    pub(crate) jwt_secret: Option<String>,
    pub(crate) root_token: Option<String>,
    pub(crate) tokens: TokenSettings,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) redis_uri: Option<String>,
    pub(crate) reconnection_token_life: Option<Duration>,
    pub(crate) allow_origins: Vec<String>,
    pub(crate) behind_proxy: bool,
    pub(crate) limits: Limits,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) login_methods: Vec<Method>,
}

impl std::fmt::Debug for Config {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Config({})", self.describe())
    }
}

/// The shortest secret for signing.
const JWT_SECRET_MIN: usize = 16;
/// The shortest root token, and the length from which its words no longer matter.
const ROOT_TOKEN_MIN: usize = 32;
const ROOT_TOKEN_LONG: usize = 64;
const WEAK_WORDS: [&str; 8] = [
    "test", "admin", "token", "root", "password", "secret", "default", "example",
];

impl Config {
    /// The settings without the secrets, of which only is said whether they are set.
    pub(crate) fn describe(&self) -> serde_json::Value {
        let life = self.reconnection_token_life;
        json!({
            "bind": self.bind,
            "base_path": self.base_path,
            "public_base_url": self.public_base_url,
            "server_id": self.server_id,
            "data_dir": self.data_dir,
            "redis_uri": self.redis_uri.as_ref().map(|_| "(set)"),
            "allow_origins": self.allow_origins,
            "behind_proxy": self.behind_proxy,
            "reconnection_token_life": life.map(|life| life.as_secs()),
            "jwt_secret": self.jwt_secret.as_ref().map(|_| "(set)"),
            "root_token": self.root_token.as_ref().map(|_| "(set)"),
            "tokens": self.tokens,
            "limits": self.limits,
        })
    }

    /// The base path as it stands in front of a path: empty, or `/something`.
    pub(crate) fn base(&self) -> Result<String, ConfigError> {
        let base = self.base_path.trim_matches('/');
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~/".contains(&b);
        if base.is_empty() {
            Ok(String::new())
        } else if base.bytes().all(plain) && !base.contains("//") {
            Ok(format!("/{base}"))
        } else {
            Err(ConfigError(format!("'{base}' cannot be a base path")))
        }
    }

    /// The origins that are allowed; none for any.
    pub(crate) fn origins(&self) -> Result<Vec<HeaderValue>, ConfigError> {
        let origins = self.allow_origins.iter().map(|origin| origin.trim());
        if origins.clone().any(|origin| origin == "*") {
            return Ok(Vec::new());
        }
        let value = |origin: &str| {
            origin
                .parse()
                .map_err(|_| ConfigError(format!("'{origin}' is no origin of a web page")))
        };
        origins
            .filter(|origin| !origin.is_empty())
            .map(value)
            .collect()
    }

    /// What can be said about the settings before anything is started.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if let Some(secret) = &self.jwt_secret
            && secret.len() < JWT_SECRET_MIN
        {
            return Err(ConfigError(format!(
                "the secret for tokens must have at least {JWT_SECRET_MIN} characters"
            )));
        }
        if let Some(token) = &self.root_token {
            if token.len() < ROOT_TOKEN_MIN {
                return Err(ConfigError(format!(
                    "the root token must have at least {ROOT_TOKEN_MIN} characters"
                )));
            }
            let lower = token.to_lowercase();
            let weak = WEAK_WORDS.iter().find(|word| lower.contains(**word));
            if let Some(word) = weak.filter(|_| token.len() < ROOT_TOKEN_LONG) {
                return Err(ConfigError(format!(
                    "the root token contains the word '{word}'; take a random one, or one of at \
                     least {ROOT_TOKEN_LONG} characters"
                )));
            }
        }
        let unusable = |id: &&String| !hypha_wire::valid_client_id(id);
        if let Some(id) = self.server_id.as_ref().filter(unusable) {
            return Err(ConfigError(format!("'{id}' cannot be a server id")));
        }
        if cfg!(not(feature = "jwks")) && self.tokens.jwks_url.is_some() {
            return Err(ConfigError(
                "this server was built without the feature `jwks`, and cannot know tokens of others"
                    .into(),
            ));
        }
        if self.redis_uri.is_some() {
            if cfg!(not(feature = "redis")) {
                return Err(ConfigError(
                    "this server was built without the feature `redis`".into(),
                ));
            }
            if self.jwt_secret.is_none() {
                return Err(ConfigError(
                    "servers that share a Redis need the same secret for tokens: set JWT_SECRET"
                        .into(),
                ));
            }
        }
        self.base()?;
        self.origins()?;
        let limits = &self.limits;
        for (name, rate, burst) in [
            ("message", limits.messages_per_second, limits.message_burst),
            ("HTTP", limits.http_per_second, limits.http_burst),
        ] {
            // Neither is a number that is none.
            if !(rate > 0.0 && burst >= 1.0) {
                return Err(ConfigError(format!(
                    "the {name} rate limit must be positive"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_secrets_are_refused_and_none_is_printed() {
        let with = |secret: &str| Config {
            jwt_secret: Some(secret.into()),
            root_token: Some("0123456789abcdef0123456789abcdef".into()),
            ..Config::default()
        };
        assert!(with("").check().is_err());
        assert!(with("fifteen letters").check().is_err());
        let usable = with("sixteen letters!");
        assert!(usable.check().is_ok());
        let printed = format!("{usable:?}");
        assert!(!printed.contains("letters") && !printed.contains("0123456789"));
    }

    #[test]
    fn weak_root_tokens_are_refused() {
        let with = |token: &str| Config {
            root_token: Some(token.into()),
            ..Config::default()
        };
        assert!(with("short").check().is_err());
        assert!(
            with("admin-0123456789-0123456789-0123456789")
                .check()
                .is_err()
        );
        assert!(with("0123456789abcdef0123456789abcdef").check().is_ok());
        assert!(with(&"admin".repeat(13)).check().is_ok());
    }
}
