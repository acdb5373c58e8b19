//! The settings of a server. Each setting is defined once, with its name, environment variable,
//! default and meaning.
//!
//! A program that embeds the server sets the fields, or uses [`Builder`](crate::Builder). The
//! binary derives its options and variables from the same fields (feature `cli`), so the doc
//! comment of a field is also its text in `--help`. Do not use Markdown links in these comments.
//! `docs/operate` lists the settings by hand.
//!
//! [`Settings::check`] is the only place that refuses settings. Code that reads settings later
//! relies on this check.

mod accounts;
mod limits;
mod tokens;

use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderValue;
use serde::{Serialize, Serializer};

#[cfg(feature = "accounts")]
pub(crate) use self::accounts::HASH_KIB;
pub use self::accounts::{AccountSettings, Verification};
pub use self::limits::Limits;
pub use self::tokens::TokenSettings;

/// Minimum length of a signing secret, in bytes. The server accepts shorter secrets with a warning,
/// because the Python server accepts them too.
const JWT_SECRET_MIN: usize = 16;
/// File that must exist in the folder of the JavaScript client: the build of the client as an ES
/// module.
const JS_CLIENT_FILE: &str = "hypha-rpc-websocket.mjs";
/// Minimum length of a root token, in bytes.
const ROOT_TOKEN_MIN: usize = 32;
/// Minimum length of a root token that may contain common words, in bytes.
const ROOT_TOKEN_LONG: usize = 64;
/// Words that show that a short root token does not come from a random generator.
const COMMON_WORDS: [&str; 8] = [
    "test", "admin", "token", "root", "password", "secret", "default", "example",
];

/// All settings of a server that are plain data. Settings that are code, such as an authenticator,
/// are set with [`Builder`](crate::Builder).
///
/// The settings serialize as JSON without secrets: `(set)` replaces each secret, and the
/// credentials and the query in a URL. `Debug` hides the secrets in the same way.
///
/// # Examples
///
/// ```
/// let mut settings = hypha_server::Settings::default();
/// settings.port = 0;
/// settings.limits.clients_per_workspace = 10;
/// let builder = hypha_server::Builder::from(settings);
/// ```
#[derive(Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[non_exhaustive]
pub struct Settings {
    /// Host name or IP address to listen on. Default: 127.0.0.1.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_HOST"))]
    pub host: String,
    /// Port to listen on; 0 for any free port. Default: 9527.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_PORT"))]
    pub port: u16,
    /// Path prefix of all URLs of the server, for a proxy that serves several programs under one
    /// host name. Default: /.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_BASE_PATH"))]
    pub base_path: String,
    /// URL at which clients reach this server. Default: http://HOST:PORT and the base path.
    ///
    /// Clients use this URL to recognize functions of this server, so all clients must use the same
    /// URL.
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "HYPHA_PUBLIC_BASE_URL", hide_env_values = true)
    )]
    #[serde(serialize_with = "redacted_url")]
    pub public_base_url: Option<String>,
    /// Origins of the web pages that may use the server, each with scheme and host, separated by
    /// commas; * for any. Default: *.
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "HYPHA_ALLOW_ORIGINS", value_delimiter = ',')
    )]
    pub allow_origins: Vec<String>,
    /// Take the IP address of a client from the header X-Forwarded-For. Set this only if all
    /// requests come through a proxy that writes the header, because clients could otherwise claim
    /// any address. Default: false.
    #[cfg_attr(
        feature = "cli",
        arg(
            long,
            env = "HYPHA_BEHIND_PROXY",
            value_parser = clap::builder::BoolishValueParser::new()
        )
    )]
    pub behind_proxy: bool,
    /// Id of the server, unique among the servers that share a Redis. Default: the id in the data
    /// folder, or a random id.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_SERVER_ID"))]
    pub server_id: Option<String>,
    /// Secret that signs tokens. The server warns about a secret of fewer than 16 characters.
    /// Default: the secret in the data folder, or a random secret. Tokens signed with a random
    /// secret become invalid when the process ends.
    ///
    /// The program also reads the variable JWT_SECRET of the Python server.
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "HYPHA_JWT_SECRET", hide_env_values = true)
    )]
    #[serde(serialize_with = "redacted")]
    pub jwt_secret: Option<String>,
    /// Token that grants all permissions in all workspaces, with at least 32 characters. Default:
    /// none.
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "HYPHA_ROOT_TOKEN", hide_env_values = true)
    )]
    #[serde(serialize_with = "redacted")]
    pub root_token: Option<String>,
    /// Lifetime of a reconnection token: the maximum time after which a disconnected client can
    /// reconnect without another token. Default: two days (172800 s).
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "RECONNECTION_TOKEN_LIFE_TIME", value_parser = seconds)
    )]
    #[serde(serialize_with = "in_seconds")]
    pub reconnection_token_life: Duration,
    /// Folder for data that survives a restart: the server's id and secret, workspaces, accounts
    /// and revoked tokens. The server creates the folder if it does not exist. Each server needs
    /// its own folder.
    ///
    /// Default of an embedded server: none, so that nothing survives. Default of the program:
    /// hypha-server/PORT in the user's data folder, or none if the port is 0.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_DATA_DIR"))]
    pub data_dir: Option<PathBuf>,
    /// URL of the Redis through which several servers share their workspaces, such as
    /// redis://localhost:6379. Default: none.
    ///
    /// The servers need the same secret for tokens, the same public URL and different ids.
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "HYPHA_REDIS_URI", hide_env_values = true)
    )]
    #[serde(serialize_with = "redacted")]
    pub redis_uri: Option<String>,
    /// Folder with the files of the JavaScript client, which web pages load from /assets/: the
    /// folder dist of the npm package hypha-rpc. Default: none.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_JS_CLIENT"))]
    pub js_client: Option<PathBuf>,
    /// Folders whose files the server serves, each as PATH:FOLDER, such as /pages:./pages.
    /// Separated by blanks. Default: none.
    #[cfg_attr(
        feature = "cli",
        arg(
            long,
            env = "HYPHA_STATIC_MOUNTS",
            num_args = 0..,
            value_delimiter = ' '
        )
    )]
    pub static_mounts: Vec<String>,
    /// Serve no documents for agents at /{workspace}/agent-skills/. Default: false.
    #[cfg_attr(
        feature = "cli",
        arg(
            long,
            env = "HYPHA_DISABLE_AGENT_SKILLS",
            value_parser = clap::builder::BoolishValueParser::new()
        )
    )]
    pub disable_agent_skills: bool,
    /// Serve the console: the web pages for people at /. Default: no for an embedded server, yes
    /// for the program.
    #[cfg_attr(
        feature = "cli",
        arg(
            long,
            env = "HYPHA_CONSOLE",
            value_parser = clap::builder::BoolishValueParser::new()
        )
    )]
    pub console: Option<bool>,
    /// Settings of tokens: their claims, and the identity provider.
    #[cfg_attr(feature = "cli", command(flatten, next_help_heading = "Tokens"))]
    pub tokens: TokenSettings,
    /// Settings of the server's own accounts.
    #[cfg_attr(feature = "cli", command(flatten, next_help_heading = "Accounts"))]
    pub accounts: AccountSettings,
    /// Limits that prevent one client from harming other clients.
    #[cfg_attr(feature = "cli", command(flatten, next_help_heading = "Limits"))]
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            host: "127.0.0.1".into(),
            port: 9527,
            base_path: "/".into(),
            public_base_url: None,
            allow_origins: vec!["*".into()],
            behind_proxy: false,
            server_id: None,
            jwt_secret: None,
            root_token: None,
            reconnection_token_life: Duration::from_secs(172_800),
            data_dir: None,
            redis_uri: None,
            js_client: None,
            static_mounts: Vec::new(),
            disable_agent_skills: false,
            console: None,
            tokens: TokenSettings::default(),
            accounts: AccountSettings::default(),
            limits: Limits::default(),
        }
    }
}

impl std::fmt::Debug for Settings {
    /// Formats the settings without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| std::fmt::Error)?;
        write!(f, "Settings({text})")
    }
}

/// An invalid setting. The text contains the name of the setting and the accepted values.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// Creates an error with this text.
    pub(crate) fn new(text: impl Into<String>) -> ConfigError {
        ConfigError(text.into())
    }
}

fn invalid<T>(text: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::new(text))
}

/// Checks that the time of the setting `name` is at least `least`.
fn at_least(name: &str, time: Duration, least: Duration) -> Result<(), ConfigError> {
    if time >= least {
        return Ok(());
    }
    let (least, given) = (least.as_secs_f64(), time.as_secs_f64());
    invalid(format!(
        "`{name}` must be at least {least} s, got {given} s"
    ))
}

impl Settings {
    /// Replaces empty strings with the defaults. The program calls this method, because a user can
    /// write an option without a value, as in `--redis-uri=`.
    pub fn ignore_empty(&mut self) {
        for text in [
            &mut self.public_base_url,
            &mut self.server_id,
            &mut self.jwt_secret,
            &mut self.root_token,
            &mut self.redis_uri,
        ] {
            text.take_if(|text| text.is_empty());
        }
        for folder in [&mut self.data_dir, &mut self.js_client] {
            folder.take_if(|path| path.as_os_str().is_empty());
        }
        self.static_mounts.retain(|mount| !mount.is_empty());
        self.tokens.ignore_empty();
        self.accounts.ignore_empty();
    }

    /// Checks the settings. Starts nothing, but reads the file system to check folders.
    ///
    /// # Errors
    ///
    /// Returns the error of the first invalid setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_secrets()?;
        let unusable = |id: &&String| !hypha_wire::valid_client_id(id);
        if let Some(id) = self.server_id.as_ref().filter(unusable) {
            return invalid(format!(
                "`server_id`: '{id}' is empty or contains one of '/', ':' and '@'"
            ));
        }
        if cfg!(not(feature = "jwks")) && self.tokens.provider_keys_url().is_some() {
            return invalid(
                "this server was built without the feature `jwks`, it cannot read the tokens of an \
                 identity provider",
            );
        }
        if self.console == Some(true) && cfg!(not(feature = "console")) {
            return invalid("this server was built without the feature `console`");
        }
        if self.redis_uri.is_some() && cfg!(not(feature = "redis")) {
            return invalid("this server was built without the feature `redis`");
        }
        self.base()?;
        self.origins()?;
        self.mounts()?;
        if let Some(folder) = &self.js_client
            && !folder.join(JS_CLIENT_FILE).is_file()
        {
            return invalid(format!(
                "`js_client`: there is no {JS_CLIENT_FILE} in {}; set it to the folder `dist` of \
                 the npm package hypha-rpc",
                folder.display()
            ));
        }
        // The expiry of a token is a number of whole seconds, so a token with a shorter lifetime
        // would already be expired when it is issued.
        at_least(
            "reconnection_token_life",
            self.reconnection_token_life,
            Duration::from_secs(1),
        )?;
        self.accounts.check(self)?;
        self.limits.check()
    }

    /// Returns warnings about settings that are accepted but unsafe or incomplete, as strings for
    /// the log.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let length = self.jwt_secret.as_deref().map(str::len);
        if let Some(length) = length.filter(|length| *length < JWT_SECRET_MIN) {
            warnings.push(format!(
                "the secret for tokens has {length} characters and can be guessed; use at least \
                 {JWT_SECRET_MIN}"
            ));
        }
        if self.redis_uri.is_some() && length.is_none() {
            warnings.push(
                "servers that share a Redis need the same secret for tokens; this server accepts \
                 only its own tokens until JWT_SECRET is set"
                    .into(),
            );
        }
        warnings.extend(self.accounts.warnings(self));
        warnings
    }

    /// Checks the signing secret and the root token.
    fn check_secrets(&self) -> Result<(), ConfigError> {
        if self.jwt_secret.as_deref() == Some("") {
            return invalid("the secret for tokens must not be empty");
        }
        let Some(token) = &self.root_token else {
            return Ok(());
        };
        if token.len() < ROOT_TOKEN_MIN {
            return invalid(format!(
                "the root token must have at least {ROOT_TOKEN_MIN} characters"
            ));
        }
        let lower = token.to_lowercase();
        let common = COMMON_WORDS.iter().find(|word| lower.contains(**word));
        match common.filter(|_| token.len() < ROOT_TOKEN_LONG) {
            Some(word) => invalid(format!(
                "the root token contains the word '{word}'; use a random token, or a token of at \
                 least {ROOT_TOKEN_LONG} characters"
            )),
            None => Ok(()),
        }
    }

    /// Returns the base path as a prefix for paths: empty, or `/something` without a slash at the
    /// end.
    ///
    /// # Errors
    ///
    /// Fails if the path contains an empty part, or characters other than letters, digits and
    /// `-_.~/`.
    pub(crate) fn base(&self) -> Result<String, ConfigError> {
        let base = self.base_path.trim_matches('/');
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~/".contains(&b);
        if base.is_empty() {
            Ok(String::new())
        } else if base.bytes().all(plain) && !base.contains("//") {
            Ok(format!("/{base}"))
        } else {
            invalid(format!(
                "`base_path`: '{base}' may contain only letters, digits and '-_.~', in parts \
                 separated by single slashes"
            ))
        }
    }

    /// Returns the folders from which the server serves files.
    ///
    /// # Errors
    ///
    /// Fails if a mount is malformed, if its path belongs to the server, if its folder does not
    /// exist, or if two mounts have the same path.
    pub(crate) fn mounts(&self) -> Result<Vec<Mount>, ConfigError> {
        let mount = |text: &String| {
            let parts = text.split_once(':').filter(|(path, _)| is_mount_path(path));
            let (path, folder) = parts.ok_or_else(|| {
                ConfigError(format!(
                    "`static_mounts`: '{text}' is not of the form PATH:FOLDER, with a path such as \
                     /pages"
                ))
            })?;
            let folder = PathBuf::from(folder);
            if !folder.is_dir() {
                let folder = folder.display();
                return invalid(format!("`static_mounts`: there is no folder {folder}"));
            }
            let path = path.trim_end_matches('/').to_owned();
            Ok(Mount { path, folder })
        };
        let mounts = self.static_mounts.iter().map(mount);
        let mounts: Vec<Mount> = mounts.collect::<Result<_, _>>()?;
        for (index, mount) in mounts.iter().enumerate() {
            if mounts[..index].iter().any(|other| other.path == mount.path) {
                return invalid(format!("`static_mounts`: {} is listed twice", mount.path));
            }
        }
        Ok(mounts)
    }

    /// Returns the allowed origins. An empty list means that all origins are allowed.
    ///
    /// # Errors
    ///
    /// Fails if an origin cannot be the value of a header.
    pub(crate) fn origins(&self) -> Result<Vec<HeaderValue>, ConfigError> {
        let origins = self.allow_origins.iter().map(|origin| origin.trim());
        if origins.clone().any(|origin| origin == "*") {
            return Ok(Vec::new());
        }
        let value = |origin: &str| {
            origin
                .parse()
                .map_err(|_| ConfigError(format!("`allow_origins`: '{origin}' is not an origin")))
        };
        origins
            .filter(|origin| !origin.is_empty())
            .map(value)
            .collect()
    }
}

/// A folder from which the server serves files below a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mount {
    /// The path without a slash at the end, such as `/pages`.
    pub(crate) path: String,
    /// The folder, which exists.
    pub(crate) folder: PathBuf,
}

/// Returns whether the server may serve files at a path. The path must consist of one part. None of
/// the server's own paths may begin with this part.
fn is_mount_path(path: &str) -> bool {
    const OWN: [&str; 11] = [
        "api-docs",
        "api-docs.js",
        "assets",
        "console",
        "health",
        "login",
        "metrics",
        "openapi.json",
        "public",
        "rpc",
        "ws",
    ];
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    path.strip_prefix('/').is_some_and(|path| {
        let name = path.trim_end_matches('/');
        !name.is_empty() && name.bytes().all(plain) && !OWN.contains(&name)
    })
}

/// Serializes a time as a number of seconds, like the variables and options.
fn in_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// Serializes `(set)` in place of a secret.
fn redacted<S: Serializer>(secret: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| "(set)").serialize(serializer)
}

/// Serializes a URL without the parts that may hold credentials.
fn redacted_url<S: Serializer>(url: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_deref()
        .map(without_credentials)
        .serialize(serializer)
}

/// Returns a URL with `(set)` in place of the user info, the query and the fragment, which may be
/// secret.
fn without_credentials(url: &str) -> String {
    let (place, query) = match url.find(['?', '#']) {
        Some(at) => (&url[..at], "?(set)"),
        None => (url, ""),
    };
    let start = place.find("://").map_or(0, |at| at + 3);
    // The search for the last `@` stops at the query, but includes the path. A password with an
    // unescaped slash would otherwise be partly visible.
    match place[start..].rfind('@') {
        Some(at) => format!("{}(set){}{query}", &place[..start], &place[start + at..]),
        None => format!("{place}{query}"),
    }
}

/// Parses an interval in seconds. Zero or a negative number results in zero, which means no
/// repetition.
#[cfg(feature = "cli")]
fn interval(text: &str) -> Result<Duration, String> {
    match text.trim().parse::<f64>() {
        Ok(number) if number <= 0.0 => Ok(Duration::ZERO),
        _ => seconds(text),
    }
}

/// Parses a time in seconds, which may have a fraction and must not be negative.
#[cfg(feature = "cli")]
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .trim()
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|_| "not a number of seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_secrets_are_reported_and_none_is_printed() {
        let with = |secret: &str| Settings {
            jwt_secret: Some(secret.into()),
            root_token: Some("0123456789abcdef0123456789abcdef".into()),
            ..Settings::default()
        };
        assert!(with("").check().is_err());
        let short = with("fifteen letters");
        assert!(short.check().is_ok() && short.warnings().len() == 1);
        let usable = with("sixteen letters!");
        assert!(usable.check().is_ok() && usable.warnings().is_empty());
        let shared = Settings {
            redis_uri: Some("redis://localhost".into()),
            ..Settings::default()
        };
        assert_eq!(shared.warnings().len(), 1);
        let printed = format!("{usable:?}");
        assert!(!printed.contains("letters") && !printed.contains("0123456789"));
    }

    #[test]
    fn credentials_in_urls_are_not_printed() {
        for (url, shown) in [
            ("https://a.example.org/hypha", "https://a.example.org/hypha"),
            (
                "https://me:word@a.example.org:1/b",
                "https://(set)@a.example.org:1/b",
            ),
            (
                "https://me:wo/r@d@a.example.org",
                "https://(set)@a.example.org",
            ),
            (
                "https://a.example.org/b?key=word",
                "https://a.example.org/b?(set)",
            ),
            (
                "https://me@a.example.org?at=@word#x",
                "https://(set)@a.example.org?(set)",
            ),
            ("https://a.example.org#word", "https://a.example.org?(set)"),
            ("me:word@a.example.org", "(set)@a.example.org"),
        ] {
            let mut settings = Settings {
                public_base_url: Some(url.into()),
                ..Settings::default()
            };
            settings.tokens.jwks_url = Some(url.into());
            let printed = serde_json::to_value(&settings).expect("settings");
            assert_eq!(printed["public_base_url"], shown);
            assert_eq!(printed["tokens"]["jwks_url"], shown);
            for debug in [format!("{settings:?}"), format!("{:?}", settings.tokens)] {
                assert!(debug.contains(shown) && !debug.contains("word"), "{debug}");
            }
        }
    }

    #[test]
    fn limits_that_would_disconnect_every_client_are_refused() {
        let refused = |set: &dyn Fn(&mut Settings)| {
            let mut settings = Settings::default();
            set(&mut settings);
            let refused = settings.check();
            refused.map_err(|error| error.to_string()).unwrap_err()
        };
        type Time = fn(&mut Limits) -> &mut Duration;
        let times: [(&str, Time); 9] = [
            ("idle_timeout", |l| &mut l.idle_timeout),
            ("stall_timeout", |l| &mut l.stall_timeout),
            ("handshake_timeout", |l| &mut l.handshake_timeout),
            ("body_timeout", |l| &mut l.body_timeout),
            ("stream_ping", |l| &mut l.stream_ping),
            ("stream_sweep", |l| &mut l.stream_sweep),
            ("orphan_timeout", |l| &mut l.orphan_timeout),
            ("login_time", |l| &mut l.login_time),
            ("deliver_timeout", |l| &mut l.deliver_timeout),
        ];
        for (name, time) in times {
            let error = refused(&|settings| *time(&mut settings.limits) = Duration::ZERO);
            assert_eq!(error, format!("`{name}` must be at least 0.001 s, got 0 s"));
        }
        type Count = fn(&mut Limits) -> &mut usize;
        let counts: [(&str, Count, usize); 4] = [
            ("concurrent_handshakes", |l| &mut l.concurrent_handshakes, 1),
            ("connections_per_user", |l| &mut l.connections_per_user, 1),
            ("clients_per_workspace", |l| &mut l.clients_per_workspace, 1),
            ("frame_bytes", |l| &mut l.frame_bytes, 1024),
        ];
        for (name, count, least) in counts {
            let error = refused(&|settings| *count(&mut settings.limits) = least - 1);
            let given = least - 1;
            assert_eq!(
                error,
                format!("`{name}` must be at least {least}, got {given}")
            );
            let mut settings = Settings::default();
            *count(&mut settings.limits) = least;
            assert!(settings.check().is_ok(), "{name}");
        }
        let error = refused(&|s| s.reconnection_token_life = Duration::from_millis(999));
        assert_eq!(
            error,
            "`reconnection_token_life` must be at least 1 s, got 0.999 s"
        );

        // These values disable a feature or a limit, and are accepted.
        let mut settings = Settings::default();
        let limits = &mut settings.limits;
        limits.services_per_client = 0;
        limits.workspaces_per_user = 0;
        limits.queue_bytes = 0;
        limits.orphan_interval = Duration::ZERO;
        limits.stream_grace = Duration::ZERO;
        limits.stream_idle = Duration::ZERO;
        limits.incumbent_timeout = Duration::ZERO;
        assert!(settings.check().is_ok());
    }

    #[test]
    fn folders_are_served_below_paths_of_their_own() {
        let with = |mounts: &[&str]| Settings {
            static_mounts: mounts.iter().map(|mount| (*mount).to_owned()).collect(),
            ..Settings::default()
        };
        let folder = std::env::temp_dir();
        let folder = folder.to_str().expect("text");
        let mounts = with(&[&format!("/pages/:{folder}"), &format!("/b:{folder}")]).mounts();
        let mounts = mounts.expect("mounts");
        assert_eq!(
            (mounts[0].path.as_str(), mounts[1].path.as_str()),
            ("/pages", "/b")
        );
        for bad in [
            "",
            "pages",
            "pages:",
            ":/",
            "/:/",
            "/a{b}:/",
            "/a/b:/",
            "/ws:/",
            "/api-docs:/",
            "/x:/no/such",
        ] {
            assert!(with(&[bad]).check().is_err(), "{bad}");
        }
        let twice = with(&[&format!("/x:{folder}"), &format!("/x/:{folder}")]);
        assert!(twice.check().is_err());
        let nowhere = Settings {
            js_client: Some("/no/such/folder".into()),
            ..Settings::default()
        };
        let error = nowhere.check().expect_err("a folder").to_string();
        assert!(error.contains("npm package hypha-rpc"), "{error}");
    }

    #[test]
    fn weak_root_tokens_are_refused() {
        let with = |token: &str| Settings {
            root_token: Some(token.into()),
            ..Settings::default()
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

    #[test]
    fn the_domain_of_the_identity_provider_implies_its_urls() {
        let mut tokens = TokenSettings::default();
        assert_eq!(tokens.provider_keys_url(), None);
        tokens.domain = "login.example.org".into();
        let derived = "https://login.example.org/.well-known/jwks.json";
        assert_eq!(tokens.provider_keys_url().as_deref(), Some(derived));
        tokens.jwks_url = Some("https://elsewhere.example.org/keys".into());
        assert_eq!(tokens.provider_keys_url(), tokens.jwks_url);
    }
}
