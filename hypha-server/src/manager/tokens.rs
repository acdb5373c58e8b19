//! Creates, revokes and inspects tokens.

use hypha_rpc::Context;
use hypha_rpc::workspace::{Keyword, ManagerError, Permission, Scope, TokenConfig, UserInfo};

use super::{Answer, in_own_workspace, unavailable};
use crate::auth::{Lineage, TokenError, acts_for_owner, may_delegate, now, readable_id};
use crate::bus::Notice;
use crate::shown::shown;
use crate::state::State;

/// Default lifetime of a token, in seconds.
const DEFAULT_LIFE: u64 = 3600;

/// Creates a child token of `user`. A child token is a token for a new user, and the parent of the
/// new user is `user`.
///
/// `own` is the workspace to which the user is connected. It is the default for the token's
/// workspace. `lineage` is the lineage of the user's credentials: when these credentials expire or
/// are revoked, the new token becomes invalid too.
///
/// The token never permits more than the user may delegate, and is valid for one workspace.
///
/// # Errors
///
/// Fails if the user is neither admin nor owner of the workspace, or if the user requests a higher
/// permission than its own. Also fails if the workspace, the client id, the scope or the permission
/// is invalid.
pub(crate) async fn generate(
    state: &State,
    user: &UserInfo,
    lineage: &Lineage,
    own: &str,
    config: TokenConfig,
) -> Answer<String> {
    let named = config.workspace.as_deref().filter(|id| !id.is_empty());
    let target = named.unwrap_or(own);
    let workspace = state
        .registry
        .workspace(target)
        .await
        .map_err(unavailable)?;
    let granted = match &workspace {
        Some(workspace) => may_delegate(user, workspace),
        None => user.permission(target),
    };
    let Some(granted) = granted else {
        return Err(ManagerError::Permission(format!(
            "You do not have any permission for workspace: {}",
            shown(&target)
        )));
    };
    let owner = workspace.is_some_and(|workspace| acts_for_owner(user, &workspace));
    if granted != Permission::Admin && !owner {
        return Err(ManagerError::Permission(
            "Only admin can generate token.".into(),
        ));
    }
    let permission = match config.permission {
        None => Permission::ReadWrite,
        Some(Keyword::Known(permission)) => permission,
        Some(Keyword::Other(word)) => {
            return Err(ManagerError::Value(format!(
                "Invalid permission: {}, it must be read, read_write or admin",
                shown(&word)
            )));
        }
    };
    // Without this check, an owner with a read-only token could issue itself a token with write
    // permission.
    if permission > granted {
        return Err(ManagerError::Permission(format!(
            "Only admin can generate token of any permission: yours for workspace {} is \
             '{}', and the token would have '{}'",
            shown(&target),
            Keyword::Known(granted),
            Keyword::Known(permission)
        )));
    }
    // The workspace becomes a word of the token's scope, `ws:id#permission`. A blank or `#` would
    // change the meaning of that word, and `*` stands for all workspaces.
    if target == "*" || target.contains(['#', '/']) || target.contains(char::is_whitespace) {
        return Err(ManagerError::Value(format!(
            "Invalid workspace: {}",
            shown(&target)
        )));
    }
    let extra_scopes = config.extra_scopes.filter(|words| !words.is_empty());
    extra_scopes
        .iter()
        .flatten()
        .try_for_each(|word| extra_scope(word))?;
    // The client id also becomes a word of the scope.
    if let Some(client) = config
        .client_id
        .as_deref()
        .filter(|id| id.contains(char::is_whitespace))
    {
        return Err(ManagerError::Value(format!(
            "Invalid client id: {}",
            shown(&client)
        )));
    }
    let mut child = child_of(user);
    if let Some(email) = config.email {
        if !user.has_role("admin") {
            return Err(ManagerError::Permission(
                "Only callers with the 'admin' role may set TokenConfig.email".into(),
            ));
        }
        child.email = Some(email);
    }
    child.scope = Some(Scope {
        current_workspace: Some(target.to_owned()),
        workspaces: [(target.to_owned(), permission)].into_iter().collect(),
        client_id: config.client_id,
        extra_scopes,
    });
    let life = config
        .expires_in
        .filter(|life| *life > 0)
        .unwrap_or(DEFAULT_LIFE);
    state
        .issuer
        .issue(&child, life, lineage)
        .await
        .map_err(|error| match error {
            TokenError::Invalid(detail) => ManagerError::Permission(detail),
            other => invalid(other),
        })
}

/// Returns the credentials with which the caller connected.
///
/// # Errors
///
/// Fails if the caller is not connected to this server, because a server knows the credentials of
/// its own connections only.
pub(super) fn lineage(state: &State, ctx: &Context) -> Answer<Lineage> {
    let address = super::caller(ctx);
    let caller = state.router.find_address(&address);
    caller
        .map(|caller| caller.user.lineage.clone())
        .ok_or_else(|| {
            ManagerError::Permission(format!(
                "{address} is not connected to this server, whose manager makes tokens only for \
                 its own clients"
            ))
        })
}

/// Returns the user of a new child token of `user`. This child gets the e-mail address and the
/// roles of `user`, except the role `admin`. The role `admin` grants access to every workspace, but
/// a child token is valid for one workspace only.
///
/// If `user` is itself a child, the new child gets the same parent as `user`. Rules for parents
/// therefore check only one level.
fn child_of(user: &UserInfo) -> UserInfo {
    let keep = |role: &&String| role.as_str() != "admin";
    UserInfo {
        id: readable_id(),
        parent: Some(user.parent.clone().unwrap_or_else(|| user.id.clone())),
        roles: user.roles.iter().filter(keep).cloned().collect(),
        is_anonymous: user.is_anonymous,
        email: user.email.clone(),
        ..UserInfo::default()
    }
}

/// Checks that an extra word of a scope does not grant a permission.
fn extra_scope(word: &str) -> Answer<()> {
    let granting = ["ws:", "wid:", "cid:"]
        .iter()
        .any(|prefix| word.starts_with(prefix));
    if granting || word.is_empty() || word.contains(char::is_whitespace) {
        return Err(ManagerError::Value(format!(
            "Invalid scope '{}': it cannot start with ws:, wid: or cid:, or contain blanks",
            shown(word)
        )));
    }
    Ok(())
}

/// Revokes a token at all servers until its expiry.
///
/// # Errors
///
/// Fails if the caller is not admin in its workspace, or the token is invalid. Also fails if the
/// registry cannot store the revocation; the token is then still revoked at the servers that are
/// running now.
pub(super) async fn revoke(state: &State, ctx: &Context, token: &str) -> Answer<()> {
    in_own_workspace(ctx, Permission::Admin)?;
    // The token is revoked in memory first, so that the server refuses it immediately even if the
    // revocation cannot be stored.
    let (token, end) = state.issuer.revoke(token).await.map_err(invalid)?;
    let left = end.saturating_sub(now());
    let kept = state.registry.revoke(&token, left).await;
    // The revocation is announced even if the registry has failed. The other servers then refuse
    // the token until they stop.
    state.router.bus().announce(Notice::Revoked { token, end });
    kept.map_err(unavailable)
}

/// Returns the user of a token, which must be bound to the caller's workspace or to no workspace.
///
/// # Errors
///
/// Fails if the caller may not read its workspace, if the token is invalid, or if the token is
/// bound to another workspace.
pub(super) async fn parse(state: &State, ctx: &Context, token: &str) -> Answer<UserInfo> {
    let workspace = in_own_workspace(ctx, Permission::Read)?;
    let user = state.issuer.user(token).await.map_err(invalid)?;
    let bound = user
        .scope
        .as_ref()
        .and_then(|scope| scope.current_workspace.as_deref());
    // Without this check, a caller could read the user data in tokens of other workspaces. The root
    // token is bound to the workspace of the root user.
    if bound.is_some_and(|bound| bound != workspace) {
        return Err(ManagerError::Permission(format!(
            "Token is not authorized for workspace '{}'",
            shown(workspace)
        )));
    }
    Ok(user)
}

/// Converts an error of the token check to an error of the manager, with the text of the Python
/// server.
fn invalid(error: TokenError) -> ManagerError {
    match error {
        TokenError::Invalid(detail) => ManagerError::Value(format!("Invalid token: {detail}")),
        TokenError::Revoked => ManagerError::Value(error.to_string()),
        TokenError::Failed(_) => ManagerError::Runtime(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_admin_is_not_passed_to_children() {
        let root = crate::auth::root_user();
        assert!(root.has_role("admin"));
        assert!(!child_of(&root).has_role("admin"));
    }
}
