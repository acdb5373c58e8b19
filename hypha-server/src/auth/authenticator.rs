//! Tokens of the host's own: what a program that embeds the server may decide by itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::time::Duration;

use axum::http::HeaderMap;
use futures_util::FutureExt;
use hypha_rpc::workspace::UserInfo;

use super::tokens::TokenError;

/// A hook that takes longer has failed: others wait for the place of whoever is being let in.
const HOOK_LIMIT: Duration = Duration::from_secs(10);

/// What a hook of an [`Authenticator`] decides, perhaps after having asked somebody: `Ok(None)` leaves it
/// to the server, an error refuses with this text.
pub type Decision<'a, T> = Pin<Box<dyn Future<Output = Result<Option<T>, String>> + Send + 'a>>;

/// Tokens of the program that the server runs in, beside the server's own or instead of them; given to
/// [`Builder::authenticator`](crate::Builder::authenticator).
///
/// Every method has a default that leaves all to the server. They apply to clients on a WebSocket and over
/// HTTP, to plain HTTP requests and to the login service alike.
///
/// A hook may run many times at once. One that panics, or takes more than ten seconds, fails for the client
/// that it was asked for, and for nobody else. Its future is dropped when that client goes away.
///
/// ```
/// use hypha_rpc::workspace::UserInfo;
/// use hypha_server::{Authenticator, Decision, HeaderMap, Server};
///
/// /// Whoever has a badge of the institute is let in.
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
    /// Whom a token stands for. Asked about every token before the server looks at it itself, the root
    /// token and those that the server has made included: `Ok(None)` for what is not yours.
    ///
    /// The user may do what its `scope` says, and all in `ws-user-<id>` and in workspaces that it has made; the
    /// role `admin` opens every workspace. `scope.current_workspace` and `scope.client_id` bind the token to that
    /// workspace and that client. A token that was revoked is refused whatever this
    /// says, so it has to be one that ends: with `expires_at`.
    ///
    /// # Errors
    /// The token is refused with this text, which the client gets to see.
    fn parse_token<'a>(&'a self, token: &'a str) -> Decision<'a, UserInfo> {
        let _ = token;
        Box::pin(async { Ok(None) })
    }

    /// A token for `user`, to be valid for `life`. [`parse_token`](Self::parse_token) must make the same
    /// user of it, with the same `scope`: among these are the tokens with which clients come back after
    /// their connection was lost, those of the manager's `generate_token`, and those that the login service
    /// makes for a workspace.
    ///
    /// # Errors
    /// No token is made; the client gets to see this text. One that is about to connect is not let in.
    fn generate_token<'a>(&'a self, user: &'a UserInfo, life: Duration) -> Decision<'a, String> {
        let _ = (user, life);
        Box::pin(async { Ok(None) })
    }

    /// The token in the headers of an HTTP request. `None` if there is none of yours: the usual places are
    /// looked at then. May be asked more than once about one request, and must not block.
    fn get_token(&self, headers: &HeaderMap) -> Option<String> {
        let _ = headers;
        None
    }
}

/// Ask a hook that may need time.
pub(super) async fn ask<'a, T>(
    name: &str,
    hook: impl FnOnce() -> Decision<'a, T>,
) -> Result<Option<T>, TokenError> {
    // In the future, so that what the hook does at once is within the same bounds.
    let asked = AssertUnwindSafe(async { hook().await }).catch_unwind();
    match tokio::time::timeout(HOOK_LIMIT, asked).await {
        Ok(Ok(Ok(decision))) => Ok(decision),
        Ok(Ok(Err(refusal))) => Err(TokenError::Invalid(refusal)),
        Ok(Err(_)) => Err(failed(name, "it has panicked")),
        Err(_) => Err(failed(name, "it takes too long")),
    }
}

/// Ask for the token in the headers of a request.
pub(super) fn find(
    hooks: &dyn Authenticator,
    headers: &HeaderMap,
) -> Result<Option<String>, TokenError> {
    catch_unwind(AssertUnwindSafe(|| hooks.get_token(headers)))
        .map_err(|_| failed("get_token", "it has panicked"))
}

/// A hook has not done what it is there for.
pub(super) fn failed(name: &str, how: &str) -> TokenError {
    tracing::error!(hook = name, "the authenticator has failed: {how}");
    // Of how, clients learn nothing: it is the host's business.
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
    async fn whatever_a_hook_does_it_comes_to_an_end() {
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
