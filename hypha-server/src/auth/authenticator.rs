//! Lets the embedding program accept and issue its own tokens. The program implements hooks, and
//! the server calls these hooks through the functions of this module.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::time::Duration;

use axum::http::HeaderMap;
use futures_util::FutureExt;
use hypha_rpc::workspace::UserInfo;

use super::bearer::TokenError;

/// Timeout of a hook. A hook occupies one of the few permits for handshakes until it returns, or
/// until this timeout.
const HOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// A future that resolves to a decision of an [`Authenticator`].
///
/// `Ok(Some(…))` is the decision of the program. `Ok(None)` leaves the decision to the server. If
/// the result is an error, the server refuses the client, and the client receives the error text.
pub type Decision<'a, T> = Pin<Box<dyn Future<Output = Result<Option<T>, String>> + Send + 'a>>;

/// Accepts and issues tokens of the embedding program. These tokens can supplement or replace the
/// tokens of the server. Set an authenticator with
/// [`Builder::authenticator`](crate::Builder::authenticator).
///
/// The default implementation of every method leaves the decision to the server. The server calls
/// the methods for clients on a WebSocket and over HTTP, for plain HTTP requests and for the login
/// service.
///
/// The server may run a method for many clients at the same time. If a method panics, or takes more
/// than ten seconds, the server refuses only the client for which the method runs. The server drops
/// the future of the method when that client disconnects.
///
/// # Examples
///
/// ```
/// use hypha_rpc::workspace::UserInfo;
/// use hypha_server::{Authenticator, Decision, HeaderMap, Server};
///
/// /// Admits the owners of a badge.
/// struct Badges;
///
/// impl Authenticator for Badges {
///     fn parse_token<'a>(&'a self, token: &'a str) -> Decision<'a, UserInfo> {
///         Box::pin(async move {
///             let Some(badge) = token.strip_prefix("badge-") else {
///                 // A token of the server itself.
///                 return Ok(None);
///             };
///             // A real program would query its database here.
///             let id = match badge {
///                 "0815" => "ann",
///                 _ => return Err(format!("there is no badge {badge}")),
///             };
///             Ok(Some(UserInfo {
///                 id: id.into(),
///                 is_anonymous: false,
///                 ..UserInfo::default()
///             }))
///         })
///     }
///
///     fn get_token(&self, headers: &HeaderMap) -> Option<String> {
///         let badge = headers.get("x-badge")?.to_str().ok()?;
///         Some(format!("badge-{badge}"))
///     }
/// }
///
/// # async fn example() -> anyhow::Result<()> {
/// let server = Server::builder()
///     .bind("127.0.0.1:0")
///     .authenticator(Badges)
///     .start()
///     .await?;
/// let client = hypha_rpc::connect(server.url()).token("badge-0815").await?;
/// assert_eq!(client.workspace(), "ws-user-ann");
/// # client.disconnect().await;
/// # server.shutdown().await;
/// # Ok(())
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
/// ```
pub trait Authenticator: Send + Sync + 'static {
    /// Returns the user of a token. Returns `Ok(None)` if the token does not belong to the
    /// embedding program. Default: `Ok(None)`.
    ///
    /// The server calls this method with every token before the server itself checks the token.
    /// This includes the root token and the server's own tokens.
    ///
    /// The user has the permissions in the `scope` of the returned value. The user is also an admin
    /// of `ws-user-<id>` and of the workspaces that the user has created. The role `admin` makes
    /// the user an admin of all workspaces. `scope.current_workspace` binds the token to one
    /// workspace, and `scope.client_id` binds it to one client. The server refuses a user with an
    /// empty id, or with an id that contains blanks or one of `/:#*`.
    ///
    /// The server refuses a revoked token even if this method accepts it. Only a token with
    /// `expires_at` can be revoked.
    ///
    /// # Errors
    ///
    /// If this method returns an error, the server refuses the token, and the client receives the
    /// error text.
    fn parse_token<'a>(&'a self, token: &'a str) -> Decision<'a, UserInfo> {
        let _ = token;
        Box::pin(async { Ok(None) })
    }

    /// Returns a token for `user` that is valid for the duration `life`. Returns `Ok(None)` to let
    /// the server create and sign the token. Default: `Ok(None)`.
    ///
    /// When a client presents the token, [`parse_token`](Self::parse_token) must return the same
    /// user with the same `scope`. The server calls `generate_token` for reconnection tokens, for
    /// the manager's method `generate_token`, and for the tokens that the login service issues for
    /// a workspace.
    ///
    /// `life` never exceeds the remaining lifetime of the token with which `user` has connected. If
    /// a token is revoked, the tokens that the server itself created from it are also revoked.
    /// Tokens that this method returned remain valid, because the server does not know from which
    /// tokens they were created.
    ///
    /// # Errors
    ///
    /// If this method returns an error, the server issues no token, and the client receives the
    /// error text. If the client is connecting, the server refuses the client.
    fn generate_token<'a>(&'a self, user: &'a UserInfo, life: Duration) -> Decision<'a, String> {
        let _ = (user, life);
        Box::pin(async { Ok(None) })
    }

    /// Returns the token in the headers of an HTTP request. Returns `None` to let the server read
    /// the header `Authorization` and the cookie `access_token`. Default: `None`.
    ///
    /// The server may call this method more than once for one request. The method must not block.
    fn get_token(&self, headers: &HeaderMap) -> Option<String> {
        let _ = headers;
        None
    }
}

/// Calls the asynchronous hook `name` with the timeout [`HOOK_TIMEOUT`]. Catches panics of the
/// hook.
///
/// # Errors
///
/// Returns [`TokenError::Invalid`] with the error text of the hook if the hook returns an error.
/// Returns [`TokenError::Failed`] if the hook panics or exceeds the timeout, so that a bug in the
/// hook does not count as a refusal.
pub(super) async fn ask<'a, T>(
    name: &str,
    hook: impl FnOnce() -> Decision<'a, T>,
) -> Result<Option<T>, TokenError> {
    // Call the hook inside the future, so that a panic before the hook returns its future is also
    // caught.
    let asked = AssertUnwindSafe(async { hook().await }).catch_unwind();
    match tokio::time::timeout(HOOK_TIMEOUT, asked).await {
        Ok(Ok(Ok(decision))) => Ok(decision),
        Ok(Ok(Err(refusal))) => Err(TokenError::Invalid(refusal)),
        Ok(Err(_)) => Err(failed(name, "it has panicked")),
        Err(_) => Err(failed(name, "it takes too long")),
    }
}

/// Calls the hook `get_token`. Catches panics of the hook.
pub(super) fn find(
    hooks: &dyn Authenticator,
    headers: &HeaderMap,
) -> Result<Option<String>, TokenError> {
    catch_unwind(AssertUnwindSafe(|| hooks.get_token(headers)))
        .map_err(|_| failed("get_token", "it has panicked"))
}

/// Logs the failure of the hook `name`, and returns the error for the client.
pub(super) fn failed(name: &str, how: &str) -> TokenError {
    tracing::error!(hook = name, "the authenticator has failed: {how}");
    // Do not tell clients the cause of the failure, because the cause is internal to the embedding
    // program.
    TokenError::Failed(format!(
        "the authenticator of this server has failed ({name})"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(decision: Result<Option<()>, TokenError>) -> TokenError {
        decision.unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn every_hook_completes_or_fails() {
        let never = ask("slow", || Box::pin(std::future::pending())).await;
        assert!(matches!(error(never), TokenError::Failed(_)));
        let at_once = ask("early", || panic!("before there is a future")).await;
        assert!(matches!(error(at_once), TokenError::Failed(_)));
        let later = ask("late", || {
            Box::pin(async {
                tokio::task::yield_now().await;
                panic!("in the middle")
            })
        });
        assert!(matches!(error(later.await), TokenError::Failed(_)));
        let refusal = ask("strict", || Box::pin(async { Err("no".to_owned()) })).await;
        assert_eq!(error(refusal), TokenError::Invalid("no".to_owned()));
        assert_eq!(
            ask::<()>("no opinion", || Box::pin(async { Ok(None) })).await,
            Ok(None)
        );
    }
}
