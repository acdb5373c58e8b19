//! Tokens of the embedding program: the hooks by which it decides about them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::time::Duration;

use axum::http::HeaderMap;
use futures_util::FutureExt;
use hypha_rpc::workspace::UserInfo;

use super::bearer::TokenError;

/// Timeout of a hook. A handshake holds one of the permits while it runs.
const HOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// The decision of a hook of an [`Authenticator`]. `Ok(None)` leaves the decision to the server, an
/// error refuses with its text.
pub type Decision<'a, T> = Pin<Box<dyn Future<Output = Result<Option<T>, String>> + Send + 'a>>;

/// Accepts and issues tokens of the embedding program, beside the server's own or instead of them.
/// Set with [`Builder::authenticator`](crate::Builder::authenticator).
///
/// Every method has a default that leaves the decision to the server. The hooks apply to clients on
/// a WebSocket and over HTTP, to plain HTTP requests and to the login service alike.
///
/// A hook may run many times at once. A hook that panics, or takes more than ten seconds, fails
/// only for the client that it runs for. Its future is dropped when that client disconnects.
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
///             // Here the institute's database would be asked.
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
    /// Returns the user of a token. The server asks for every token before it looks at it itself,
    /// including the root token and its own tokens: return `Ok(None)` for tokens of others.
    ///
    /// The user has the permissions of its `scope`, and all in `ws-user-<id>` and in workspaces
    /// that it has created; the role `admin` opens every workspace. `scope.current_workspace` and
    /// `scope.client_id` bind the token to that workspace and that client. A revoked token is
    /// refused without regard to this hook, and only a token with `expires_at` can be revoked.
    ///
    /// # Errors
    /// Refuses the token with this text, which the client receives.
    fn parse_token<'a>(&'a self, token: &'a str) -> Decision<'a, UserInfo> {
        let _ = token;
        Box::pin(async { Ok(None) })
    }

    /// Returns a token for `user` that is valid for `life`. [`parse_token`](Self::parse_token) must
    /// return the same user for it, with the same `scope`. The server asks for reconnection tokens,
    /// for those of the manager's `generate_token`, and for those that the login service makes for
    /// a workspace.
    ///
    /// `life` ends with the token that `user` came with. A token of the server itself is also
    /// revoked with those that it was made with; the server knows of none of that for yours.
    ///
    /// # Errors
    /// Makes no token; the client receives this text. A client that is about to connect is refused.
    fn generate_token<'a>(&'a self, user: &'a UserInfo, life: Duration) -> Decision<'a, String> {
        let _ = (user, life);
        Box::pin(async { Ok(None) })
    }

    /// Returns the token in the headers of an HTTP request, or `None` if there is none of yours:
    /// the server then looks in the usual places. It may be called more than once for one request,
    /// and must not block.
    fn get_token(&self, headers: &HeaderMap) -> Option<String> {
        let _ = headers;
        None
    }
}

/// Calls an asynchronous hook within its timeout, and catches panics.
pub(super) async fn ask<'a, T>(
    name: &str,
    hook: impl FnOnce() -> Decision<'a, T>,
) -> Result<Option<T>, TokenError> {
    // Called inside the future, so that the synchronous part of the hook is covered too.
    let asked = AssertUnwindSafe(async { hook().await }).catch_unwind();
    match tokio::time::timeout(HOOK_TIMEOUT, asked).await {
        Ok(Ok(Ok(decision))) => Ok(decision),
        Ok(Ok(Err(refusal))) => Err(TokenError::Invalid(refusal)),
        Ok(Err(_)) => Err(failed(name, "it has panicked")),
        Err(_) => Err(failed(name, "it takes too long")),
    }
}

/// Calls the hook that finds a token in the headers of a request.
pub(super) fn find(
    hooks: &dyn Authenticator,
    headers: &HeaderMap,
) -> Result<Option<String>, TokenError> {
    catch_unwind(AssertUnwindSafe(|| hooks.get_token(headers)))
        .map_err(|_| failed("get_token", "it has panicked"))
}

/// Logs the failure of a hook, and returns the error for the client.
pub(super) fn failed(name: &str, how: &str) -> TokenError {
    tracing::error!(hook = name, "the authenticator has failed: {how}");
    // Clients do not learn the cause: it is internal to the embedding program.
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
