//! Logs users in with a browser, and logs them out
//! (`docs/protocol/07-auth-login-encryption.md#s4`).

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{ConnectOptions, connect};
use crate::call::RemoteService;
use crate::error::{CallSite, CodecError, Error};
use hypha_wire::{Args, Map, Value};

/// Default id of the login service.
const LOGIN_SERVICE: &str = "public/hypha-login";

/// Default timeout of a login.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Display name of the connection. The Python and JavaScript clients use the same name.
const CLIENT_NAME: &str = "initial login client";

/// Callback that shows the login page or the URL of the logout page to the user.
type OnUrl<T> = Box<dyn FnOnce(T) -> BoxFuture<'static, ()> + Send>;

/// Closure that changes the options of the anonymous connection to the server.
type Change = Box<dyn FnOnce(ConnectOptions) -> ConnectOptions + Send>;

/// Logs a user in with a browser, and returns an access token.
///
/// If no [`on_url`](LoginOptions::on_url) callback is set, prints the URL of the login page to
/// standard output. Pass the returned token to [`ConnectOptions::token`].
///
/// # Errors
///
/// Awaiting the options fails with the errors of [`connect`]. Awaiting fails with the error of the
/// lookup if the server has no login service. Awaiting fails with [`Error::Remote`] if the user
/// does not log in before the timeout.
///
/// # Cancellation
///
/// Dropping the future cancels the login.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), hypha_rpc::Error> {
/// let url = "https://hypha.example.org";
/// let token = hypha_rpc::login(url)
///     .on_url(|page| async move { println!("log in at {}", page.login_url) })
///     .await?;
/// let client = hypha_rpc::connect(url).token(token).await?;
/// # Ok(())
/// # }
/// ```
pub fn login(server_url: impl Into<String>) -> LoginOptions {
    LoginOptions {
        site: Site::new(server_url.into()),
        workspace: None,
        expires_in: None,
        timeout: LOGIN_TIMEOUT,
        on_url: None,
    }
}

/// Requests the URL of the server's logout page.
///
/// If no [`on_url`](LogoutOptions::on_url) callback is set, prints the URL to standard output. A
/// logout does not revoke tokens. Delete the tokens, or revoke them with the workspace manager.
///
/// # Errors
///
/// Awaiting the options fails with the errors of [`connect`]. Awaiting also fails with
/// [`Error::Invalid`] if the server has no logout page.
///
/// # Cancellation
///
/// Dropping the future closes the connection.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), hypha_rpc::Error> {
/// let url = hypha_rpc::logout("https://hypha.example.org")
///     .on_url(|_| async {})
///     .await?;
/// println!("log out at {url}");
/// # Ok(())
/// # }
/// ```
pub fn logout(server_url: impl Into<String>) -> LogoutOptions {
    LogoutOptions {
        site: Site::new(server_url.into()),
        on_url: None,
    }
}

/// Page on which the user logs in. The login passes this value to the callback of
/// [`LoginOptions::on_url`]. `Debug` is not derived, because the key gives access to the token.
#[derive(Clone)]
#[non_exhaustive]
pub struct LoginPage {
    /// URL of the page.
    pub login_url: String,
    /// Key of this login. The key gives access to the token.
    pub key: String,
    /// URL to which a custom login page reports the token. Empty if the server has no such URL.
    pub report_url: String,
    /// All entries that the server returned. These entries include the three fields above.
    pub details: Map,
}

impl fmt::Debug for LoginPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginPage").finish_non_exhaustive()
    }
}

/// Token of a user. Also contains the properties of the user that the login page reported.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct LoginProfile {
    /// Access token.
    pub token: String,
    /// Workspace in which the token is valid.
    pub workspace: Option<String>,
    /// Lifetime of the token.
    pub expires_in: Option<Duration>,
    /// Id of the user.
    pub user_id: Option<String>,
    /// E-mail address of the user.
    pub email: Option<String>,
    /// Whether the e-mail address is verified.
    pub email_verified: Option<bool>,
    /// Name of the user.
    pub name: Option<String>,
    /// Nickname of the user.
    pub nickname: Option<String>,
    /// URL of a picture of the user.
    pub picture: Option<String>,
}

impl fmt::Debug for LoginProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginProfile")
            .field("user_id", &self.user_id)
            .field("workspace", &self.workspace)
            .finish_non_exhaustive()
    }
}

impl LoginProfile {
    fn of(report: &Map) -> LoginProfile {
        let text = |key: &str| report.get(key).and_then(Value::as_str).map(str::to_owned);
        LoginProfile {
            token: text("token").unwrap_or_default(),
            workspace: text("workspace"),
            expires_in: report.get("expires_in").and_then(seconds),
            user_id: text("user_id"),
            email: text("email"),
            email_verified: report.get("email_verified").and_then(Value::as_bool),
            name: text("name"),
            nickname: text("nickname"),
            picture: text("picture"),
        }
    }
}

/// Reads a number of seconds. Also accepts a string, because some login pages report values in a
/// query string.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::String(text) => text.trim().parse().ok(),
        number => number.as_f64(),
    };
    Duration::try_from_secs_f64(seconds?).ok()
}

/// Options of a login. When the options are awaited, the user logs in, and the future returns the
/// token.
///
/// Returned by [`login`]. The method [`profile`](Self::profile) also returns the properties of the
/// user.
#[must_use = "the login begins when this is awaited"]
pub struct LoginOptions {
    site: Site,
    workspace: Option<String>,
    expires_in: Option<Duration>,
    timeout: Duration,
    on_url: Option<OnUrl<LoginPage>>,
}

impl LoginOptions {
    /// Sets the id of the login service. Default: `public/hypha-login`.
    pub fn service(mut self, id: impl Into<String>) -> Self {
        self.site.service = id.into();
        self
    }

    /// Sets the workspace of the token. Default: none. The token is then valid in all workspaces of
    /// the user.
    pub fn workspace(mut self, workspace: impl Into<String>) -> Self {
        self.workspace = Some(workspace.into());
        self
    }

    /// Sets the lifetime of the token, in whole seconds. By default, the server chooses the
    /// lifetime. The lifetime is usually one hour, or one day with accounts of `hypha-server`.
    ///
    /// Awaiting fails with [`Error::Invalid`] if a lifetime is set without a
    /// [`workspace`](Self::workspace).
    pub fn expires_in(mut self, life: Duration) -> Self {
        self.expires_in = Some(life);
        self
    }

    /// Sets the maximum time in which the user must log in. Default: 60 s.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Sets the callback that shows the login page to the user. By default, the URL is printed to
    /// standard output.
    ///
    /// The login waits until the future that the callback returns has completed.
    pub fn on_url<F, Fut>(mut self, show: F) -> Self
    where
        F: FnOnce(LoginPage) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_url = Some(Box::new(move |page| Box::pin(show(page))));
        self
    }

    /// Changes the options of the anonymous connection to the server, such as its transport,
    /// headers and timeouts.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), hypha_rpc::Error> {
    /// let token = hypha_rpc::login("https://hypha.example.org")
    ///     .connection(|options| options.header("x-api-key", "1234"))
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connection(
        mut self,
        change: impl FnOnce(ConnectOptions) -> ConnectOptions + Send + 'static,
    ) -> Self {
        self.site.change = Some(Box::new(change));
        self
    }

    /// Logs in. Returns the token with the properties of the user that the login page reported.
    ///
    /// # Errors
    ///
    /// Fails with the errors of [`login`].
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels the login.
    pub async fn profile(self) -> Result<LoginProfile, Error> {
        match self.run(true).await? {
            Value::Map(report) => Ok(LoginProfile::of(&report)),
            other => Err(unfit("a map", &other)),
        }
    }

    async fn run(self, profile: bool) -> Result<Value, Error> {
        let LoginOptions {
            site,
            workspace,
            expires_in,
            timeout,
            on_url,
        } = self;
        if expires_in.is_some() && workspace.is_none() {
            return Err(Error::Invalid(
                "a login with a lifetime of the token needs a workspace: `.workspace(..)`".into(),
            ));
        }
        let base = site.server_url.clone();
        let work = move |service: RemoteService| async move {
            let mut args = Args::new(0, 2);
            if let Some(workspace) = &workspace {
                args.push_named("workspace", workspace);
                args.push_named("expires_in", &expires_in.map(|life| life.as_secs()));
            }
            let details: Map = service.call("start", args).await?;
            let text = |key: &str| details.get(key).and_then(Value::as_str);
            let (Some(url), Some(key)) = (text("login_url"), text("key")) else {
                return Err(unfit("a `login_url` and a `key`", &Value::Map(details)));
            };
            let page = LoginPage {
                login_url: absolute_url(&base, url),
                report_url: text("report_url")
                    .map_or(String::new(), |url| absolute_url(&base, url)),
                key: key.to_owned(),
                details: details.clone(),
            };
            let key = page.key.clone();
            match on_url {
                Some(show) => show(page).await,
                None => println!("Please open your browser and login at {}", page.login_url),
            }
            let mut args = Args::new(1, 2);
            args.push("key", &key);
            args.push_named("timeout", &timeout.as_secs_f64());
            args.push_named("profile", &profile);
            service.call("check", args).await
        };
        site.with_service(work).await
    }
}

impl IntoFuture for LoginOptions {
    type Output = Result<String, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            match self.run(false).await? {
                Value::String(token) => Ok(token),
                other => Err(unfit("a token", &other)),
            }
        })
    }
}

impl fmt::Debug for LoginOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginOptions")
            .field("service", &self.site.service)
            .field("workspace", &self.workspace)
            .finish_non_exhaustive()
    }
}

/// Options of a logout. When the options are awaited, the future fetches the URL of the logout
/// page. Returned by [`logout`].
#[must_use = "the logout begins when this is awaited"]
pub struct LogoutOptions {
    site: Site,
    on_url: Option<OnUrl<String>>,
}

impl LogoutOptions {
    /// Sets the id of the login service. Default: `public/hypha-login`.
    pub fn service(mut self, id: impl Into<String>) -> Self {
        self.site.service = id.into();
        self
    }

    /// Sets the callback that shows the logout page to the user. By default, the URL is printed to
    /// standard output.
    pub fn on_url<F, Fut>(mut self, show: F) -> Self
    where
        F: FnOnce(String) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_url = Some(Box::new(move |url| Box::pin(show(url))));
        self
    }

    /// Changes the options of the connection to the server, like [`LoginOptions::connection`].
    pub fn connection(
        mut self,
        change: impl FnOnce(ConnectOptions) -> ConnectOptions + Send + 'static,
    ) -> Self {
        self.site.change = Some(Box::new(change));
        self
    }
}

impl IntoFuture for LogoutOptions {
    type Output = Result<String, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let LogoutOptions { site, on_url } = self;
        let base = site.server_url.clone();
        let work = move |service: RemoteService| async move {
            if !service.has_method("logout") {
                return Err(Error::Invalid(
                    "Logout is not supported by this server: its login service has no method \
                     `logout`"
                        .into(),
                ));
            }
            let mut args = Args::new(1, 0);
            args.push("config", &Map::new());
            let details: Map = service.call("logout", args).await?;
            let url = match details.get("logout_url").and_then(Value::as_str) {
                Some(url) => absolute_url(&base, url),
                None => return Err(unfit("a `logout_url`", &Value::Map(details))),
            };
            match on_url {
                Some(show) => show(url.clone()).await,
                None => println!("Please open your browser to logout at {url}"),
            }
            Ok(url)
        };
        Box::pin(site.with_service(work))
    }
}

impl fmt::Debug for LogoutOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogoutOptions")
            .field("service", &self.site.service)
            .finish_non_exhaustive()
    }
}

/// URL of a server, id of the login service, and changes of the connection options.
struct Site {
    server_url: String,
    service: String,
    change: Option<Change>,
}

impl Site {
    fn new(server_url: String) -> Site {
        Site {
            server_url: super::connect::trim(&server_url).to_owned(),
            service: LOGIN_SERVICE.to_owned(),
            change: None,
        }
    }

    /// Connects to the server anonymously, passes the login service to `work`, and disconnects.
    async fn with_service<T, Fut>(self, work: impl FnOnce(RemoteService) -> Fut) -> Result<T, Error>
    where
        Fut: Future<Output = Result<T, Error>>,
    {
        let options = connect(self.server_url).name(CLIENT_NAME);
        let options = match self.change {
            Some(change) => change(options),
            None => options,
        };
        let client = options.await?;
        let result = match client.get_service(self.service).await {
            Ok(service) => work(service).await,
            Err(error) => Err(error),
        };
        client.disconnect().await;
        result
    }
}

fn unfit(expected: &str, got: &Value) -> Error {
    let text = format!("expected {expected}, got a {}", got.kind());
    let call = CallSite {
        method: "hypha-login".to_owned(),
        ..CallSite::default()
    };
    Error::Codec(CodecError::unfit(text, call))
}

/// Resolves `url`, which may be relative to the server URL.
fn absolute_url(server_url: &str, url: &str) -> String {
    if url.contains("://") {
        return url.to_owned();
    }
    // Convert a `ws://` URL to an `http://` URL. The login page has the same host as the server.
    let base = match server_url.strip_prefix("ws") {
        Some(rest) => format!("http{}", rest.strip_suffix("/ws").unwrap_or(rest)),
        None => server_url.to_owned(),
    };
    let base = base.trim_end_matches('/');
    if !url.starts_with('/') {
        return format!("{base}/{url}");
    }
    let host = base.find("://").map_or(0, |at| at + 3);
    let end = base[host..].find('/').map_or(base.len(), |at| host + at);
    format!("{}{url}", &base[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_urls_are_resolved_against_the_server() {
        for (server, url, expected) in [
            (
                "http://a:1",
                "https://b/login?key=1",
                "https://b/login?key=1",
            ),
            ("http://a:1", "/login?key=1", "http://a:1/login?key=1"),
            ("https://a/base/", "/login", "https://a/login"),
            ("https://a/base/", "login", "https://a/base/login"),
            ("wss://a/ws", "/login", "https://a/login"),
            ("ws://a:1/ws", "login", "http://a:1/login"),
        ] {
            assert_eq!(absolute_url(server, url), expected, "{server} {url}");
        }
    }

    #[test]
    fn a_profile_is_read_with_missing_and_textual_entries() {
        let report = Map::from_iter([
            ("token".to_owned(), Value::from("secret")),
            ("expires_in".to_owned(), Value::from("60")),
            ("email".to_owned(), Value::Null),
            ("email_verified".to_owned(), Value::from(true)),
        ]);
        let profile = LoginProfile::of(&report);
        assert_eq!(profile.token, "secret");
        assert_eq!(profile.expires_in, Some(Duration::from_secs(60)));
        assert_eq!(
            (profile.email.as_deref(), profile.email_verified),
            (None, Some(true))
        );
        assert!(!format!("{profile:?}").contains("secret"));
    }

    #[tokio::test]
    async fn a_lifetime_needs_a_workspace() {
        let login = login("http://127.0.0.1:1").expires_in(Duration::from_secs(1));
        let error = login.await.unwrap_err();
        assert!(
            matches!(&error, Error::Invalid(text) if text.contains("workspace")),
            "{error}"
        );
    }
}
