//! Implements the login service `public/hypha-login`. A program requests a key, the user of the
//! program logs in on a page, and the program receives the user's token.
//!
//! The program calls `start`, which returns a key, and `check`, which waits for the report of the
//! login with this key. The page calls `report` with the key and the user's token. `server` starts
//! the service; `keys` contains the logins in progress.
//!
//! Callers are not authenticated. Therefore the memory of a login or a waiting call is charged to
//! the user or the IP address of the caller. Each user or IP address has a limited number of slots.

mod keys;
#[cfg(feature = "accounts")]
mod local;

use std::sync::{Arc, Weak};
use std::time::Duration;

use hypha_rpc::service::{IntoService, Method, Service};
use hypha_rpc::workspace::{ManagerError, TokenConfig, Visibility};
use hypha_rpc::{Context, Error, Map, Value, hypha_service};
use serde_json::json;
use tokio::time::sleep;

use self::keys::{Keys, LoginOutcome, TokenRequest};
#[cfg(feature = "accounts")]
use crate::accounts::Accounts;
use crate::memory::Account;
use crate::state::State;
use crate::{internal_client, manager};

/// Maximum number of concurrent calls of the service. Up to half of these calls may wait for users;
/// see `Limits::login_checks`.
const CONCURRENT_CALLS: usize = 4096;
/// Size of the queue of messages for the service, in bytes.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// Maximum length of the workspace name in a login, in bytes.
const WORKSPACE_MAX: usize = 256;
/// Maximum size of the report in a login, in bytes.
const REPORT_MAX: usize = 16 * 1024;
/// Maximum interval between two removals of expired logins.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Default timeout of `check`, in seconds.
const CHECK_TIMEOUT: f64 = 180.0;
/// The login page.
const PAGE: &str = include_str!("page.html");
/// The script of the login page.
const SCRIPT: &str = include_str!("page.js");
/// Content security policy of the login page, on which users enter a token. The page may only run
/// its own script and send requests to its own server, and no other page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

type Answer<T> = Result<T, ManagerError>;

/// Registers the service `public/hypha-login`. A method in `methods`, which the embedding program
/// provides, replaces the method of the service with the same name. If the server has accounts,
/// users enter a password on the login page. Otherwise, users enter a token.
///
/// # Errors
///
/// Fails if the service cannot be registered, or the client id of the server is taken.
pub(crate) async fn start(
    state: &Arc<State>,
    #[cfg(feature = "accounts")] accounts: Option<Arc<Accounts>>,
    methods: Vec<Method>,
    others: Vec<Service>,
) -> Result<(), Error> {
    let id = &state.info.server_id;
    let client =
        internal_client::connect_shared(state, "public", id, QUEUE_BYTES, CONCURRENT_CALLS).await;
    let client = client.ok_or_else(|| Error::Invalid(format!("public/{id} already exists")))?;
    let limits = &state.settings.limits;
    let keys = Arc::new(Keys::new(limits, state.counters.clone()));
    let interval = limits.login_time.min(SWEEP_INTERVAL);
    // The reference is weak, so that the task ends when the service is dropped.
    let swept = Arc::downgrade(&keys);
    state.shutdown.spawn(async move {
        while let Some(keys) = swept.upgrade() {
            keys.sweep();
            drop(keys);
            sleep(interval).await;
        }
    });
    #[cfg(feature = "accounts")]
    let local = accounts.map(|accounts| local::service(accounts, keys.clone()));
    let login = Login {
        state: Arc::downgrade(state),
        keys,
    };
    let service = login
        .into_service()
        .name("Hypha Login")
        .description("Log in with a browser.")
        .service_type("functions")
        .visibility(Visibility::Public);
    #[cfg(feature = "accounts")]
    let service = match local {
        Some(local) => service.with_members_of(local),
        None => service,
    };
    let service = methods
        .into_iter()
        .fold(service, |service, method| service.method(method))
        // The methods receive a context, but the record of the Python server does not say that they
        // require a context. This record says the same.
        .require_context(false);
    for service in std::iter::once(service).chain(others) {
        client.register_service(service).await?;
    }
    state.clients.keep_service(client);
    Ok(())
}

/// The login service.
struct Login {
    // The reference is weak, because the state owns the client, and the client owns this service.
    state: Weak<State>,
    keys: Arc<Keys>,
}

impl Login {
    /// Returns the state of the server.
    ///
    /// # Errors
    ///
    /// Fails while the server shuts down.
    fn state(&self) -> Answer<Arc<State>> {
        let state = self.state.upgrade();
        state.ok_or_else(|| ManagerError::Runtime("the server is shutting down".into()))
    }

    /// Returns the URL of this service below `/public/`; `kind` is `apps` or `services`. In a
    /// cluster, the URL contains the id of this server, because each server has its own login
    /// service, with its own keys. Otherwise, the URL is that of the Python server, which proxies
    /// and content security policies may name.
    fn url(&self, kind: &str) -> Answer<String> {
        let state = self.state()?;
        let (base, id) = (&state.info.public_base_url, &state.info.server_id);
        Ok(match state.router.bus().has_others() {
            true => format!("{base}/public/{kind}/{id}:hypha-login"),
            false => format!("{base}/public/{kind}/hypha-login"),
        })
    }

    /// Opens a memory account for the caller's user or IP address. Data that outlives the call is
    /// charged to this account.
    fn account(&self, ctx: &Context) -> Answer<Account> {
        let state = self.state()?;
        Ok(state.memory.open(&state.account_owner(ctx)))
    }

    /// Returns the URL of the login page.
    fn page_url(&self) -> Answer<String> {
        Ok(format!("{}/", self.url("apps")?))
    }
}

#[hypha_service(id = "hypha-login")]
impl Login {
    /// Starts a login. Returns the URL for the user and the key for `check`.
    pub(crate) async fn start(
        &self,
        ctx: &Context,
        /// Workspace of the token. Default: none; the program then receives the user's own token.
        workspace: Option<String>,
        /// Lifetime of the token in seconds.
        expires_in: Option<u64>,
    ) -> Answer<Value> {
        // The length is limited, because the login stores the name, and a caller needs no
        // credentials to start a login.
        let length = workspace.as_ref().map_or(0, String::len);
        if length > WORKSPACE_MAX {
            return Err(ManagerError::Value(format!(
                "argument `workspace` of `hypha-login.start`: {length} bytes are more than \
                 {WORKSPACE_MAX}"
            )));
        }
        let request = TokenRequest {
            workspace: workspace.clone(),
            expires_in,
        };
        let key = self.keys.begin(&self.account(ctx)?, request)?;
        let more = match (&workspace, expires_in) {
            (Some(workspace), _) => format!("&workspace={workspace}"),
            (None, Some(life)) => format!("&expires_in={life}"),
            (None, None) => String::new(),
        };
        let service = self.url("services")?;
        Ok(json!({
            "login_url": format!("{}?key={key}{more}", self.page_url()?),
            "key": key,
            "report_url": format!("{service}/report"),
            "check_url": format!("{service}/check"),
            "generate_url": format!("{service}/generate"),
        })
        .into())
    }

    /// Waits until the user has logged in. Returns the token.
    pub(crate) async fn check(
        &self,
        ctx: &Context,
        /// The key from `start`.
        key: String,
        /// Timeout in seconds; 0 does not wait. Default: 180.
        timeout: Option<f64>,
        /// Whether to return the whole report instead of only the token.
        profile: Option<bool>,
    ) -> Answer<Value> {
        // The default is applied here, because clients send null for omitted arguments.
        let timeout = timeout.unwrap_or(CHECK_TIMEOUT);
        // A timeout that is not a valid duration, such as a negative number, counts as 0. It is not
        // an error.
        let limit = Duration::try_from_secs_f64(timeout).unwrap_or(Duration::ZERO);
        let (state, account) = (self.state()?, self.account(ctx)?);
        let outcome = tokio::select! {
            outcome = self.keys.wait(&account, &key, limit) => outcome?,
            () = state.departure(ctx) => {
                return Err(ManagerError::Runtime("the caller has disconnected".into()));
            }
        };
        match outcome {
            LoginOutcome::Reported(report) if profile == Some(true) => Ok(report.into()),
            LoginOutcome::Reported(mut report) => {
                Ok(report.shift_remove("token").unwrap_or_default())
            }
            LoginOutcome::TimedOut if limit.is_zero() => Ok(Value::Null),
            LoginOutcome::Displaced => Err(ManagerError::Runtime(
                "`hypha-login.check` was evicted by newer calls: too many calls wait for a login"
                    .into(),
            )),
            LoginOutcome::TimedOut => Err(ManagerError::Timeout(format!(
                "Login timeout, waited for {timeout} seconds"
            ))),
        }
    }

    /// Reports that a user has logged in. Called by the login page.
    #[allow(
        clippy::too_many_arguments,
        reason = "these are the parameters of the original"
    )]
    pub(crate) async fn report(
        &self,
        /// The key from `start`.
        key: String,
        /// The user's token.
        token: String,
        /// Workspace of the reported token.
        workspace: Option<String>,
        /// Lifetime of the token in seconds.
        expires_in: Option<u64>,
        /// The user's e-mail address.
        email: Option<String>,
        /// Whether the address is verified.
        email_verified: Option<bool>,
        /// The user's name.
        name: Option<String>,
        /// The user's nickname.
        nickname: Option<String>,
        /// The user's id.
        user_id: Option<String>,
        /// URL of a picture of the user.
        picture: Option<String>,
    ) -> Answer<()> {
        let state = self.state()?;
        // The key is looked up first, so that the server does not check the token if the key is
        // invalid.
        let request = self.keys.request(&key)?;
        let user = state
            .issuer
            .user(&token)
            .await
            .map_err(|error| ManagerError::Value(format!("Invalid token: {error}")))?;
        let workspace = workspace.or(request.workspace);
        let expires_in = expires_in.or(request.expires_in);
        let token = match &workspace {
            None => token,
            Some(target) => {
                let config = TokenConfig {
                    workspace: Some(target.clone()),
                    expires_in,
                    ..TokenConfig::default()
                };
                let own = user.own_workspace();
                let lineage = state.issuer.lineage(&token, &user);
                manager::generate_token(&state, &user, &lineage, &own, config).await?
            }
        };
        let report = Map::from_iter([
            ("token".to_owned(), Value::from(token)),
            ("workspace".to_owned(), workspace.into()),
            ("expires_in".to_owned(), expires_in.into()),
            ("email".to_owned(), email.or(user.email).into()),
            ("email_verified".to_owned(), email_verified.into()),
            ("name".to_owned(), name.into()),
            ("nickname".to_owned(), nickname.into()),
            ("user_id".to_owned(), user_id.or(Some(user.id)).into()),
            ("picture".to_owned(), picture.into()),
        ]);
        deliver(&self.keys, &key, report)
    }

    /// Returns the login page.
    pub(crate) async fn index(&self, _request: Option<Value>) -> Answer<Value> {
        Ok(page("text/html; charset=utf-8", PAGE))
    }

    /// Returns the script of the login page.
    pub(crate) async fn script(&self, _request: Option<Value>) -> Answer<Value> {
        Ok(page("text/javascript; charset=utf-8", SCRIPT))
    }

    /// Redirects to the login page.
    pub(crate) async fn profile(&self, _request: Option<Value>) -> Answer<Value> {
        let headers = json!({"Location": self.page_url()?});
        Ok(json!({"status": 302, "headers": headers, "body": ""}).into())
    }

    /// Returns the URL of the page where the user logs out.
    pub(crate) async fn logout(&self, _config: Option<Value>) -> Answer<Value> {
        Ok(json!({"logout_url": self.page_url()?}).into())
    }
}

/// Passes the report of a login to the program that waits for the login.
fn deliver(keys: &Keys, key: &str, report: Map) -> Answer<()> {
    let length = hypha_wire::to_vec(&report).map_or(usize::MAX, |report| report.len());
    if length > REPORT_MAX {
        return Err(ManagerError::Value(format!(
            "`hypha-login.report`: the report has more than {REPORT_MAX} bytes"
        )));
    }
    keys.report(key, report, length)
}

/// Returns an HTTP response with a page or script, and with headers that protect the token on the
/// page. `kind` is the content type.
fn page(kind: &str, body: &str) -> Value {
    let headers = json!({
        "Content-Type": kind,
        "Content-Security-Policy": POLICY,
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cache-Control": "no-store",
    });
    json!({"status": 200, "headers": headers, "body": body}).into()
}
