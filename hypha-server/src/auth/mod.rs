//! Determines users and permissions, and issues and checks tokens.
//!
//! [`Issuer`] issues and checks tokens. The [`Lineage`] of a token contains the token's ancestors,
//! which are the tokens from which it was derived. Revoking an ancestor also revokes the token. The
//! modules `session` and `http` ask the issuer for the user of a connection or request. The modules
//! `manager` and `login` ask the issuer for new tokens. The functions of this file determine the
//! permissions of a user in a workspace.
//!
//! The server checks a token when a client presents it. [`enter_workspace`] determines the
//! permissions of a connection. These permissions do not change until the connection closes.

mod account;
mod authenticator;
mod bearer;
#[cfg(feature = "jwks")]
mod identity_provider;
mod jwt;
mod lineage;
mod readable_id;
mod scope;
mod tokens;

use hypha_rpc::workspace::{Permission, Scope, UserInfo, WorkspaceInfo};
use indexmap::IndexMap;

#[cfg(feature = "accounts")]
pub(crate) use account::account_credentials;
#[cfg(feature = "redis")]
pub(crate) use account::account_of;
pub use authenticator::{Authenticator, Decision};
pub(crate) use bearer::{TokenError, TokenHash, token_hash};
#[cfg(all(feature = "accounts", feature = "jwks"))]
pub(crate) use identity_provider::https_client;
pub(crate) use lineage::{Authenticated, Lineage, hashes_to_revoke};
pub(crate) use readable_id::readable_id;
pub(crate) use scope::is_specialised;
pub(crate) use tokens::Issuer;

/// Lifetime of an anonymous user's credentials in seconds, as reported to clients. The server does
/// not close an open connection after this time.
const ANONYMOUS_LIFE: u64 = 600;

/// Id of the user of plain HTTP requests without credentials. This user owns no workspace. The
/// Python server uses the same spelling.
const ANONYMOUS_HTTP: &str = "anonymouz-http";

/// Returns whether `given` is equal to `secret`. The comparison takes constant time, so that a
/// client cannot guess the secret character by character. The length of the secret is not
/// protected.
pub(crate) fn is_secret(secret: &str, given: &str) -> bool {
    let pairs = secret.bytes().zip(given.bytes());
    secret.len() == given.len() && pairs.fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

/// Returns a random secret for signing tokens. The secret is 256 bits long, written as hexadecimal
/// digits.
pub(crate) fn new_secret() -> String {
    use rand::RngExt;
    let secret: [u8; 32] = rand::rng().random();
    secret.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the current time in seconds since 1970. Returns 0 if the system clock is before 1970.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map(|since| since.as_secs())
        .unwrap_or_default()
}

/// Returns a new user for a client that connects over a WebSocket without credentials. The user is
/// an admin of the user's own workspace.
pub(crate) fn anonymous_user() -> UserInfo {
    anonymous(format!("anonymouz-{}", readable_id()))
}

/// Returns a new user for a client that connects over HTTP without credentials. The user is an
/// admin of the user's own workspace.
///
/// Each client gets a user of its own. In the Python server, all clients that connect over HTTP
/// without credentials share one user. Each of these clients is therefore an admin of the workspace
/// that all of them share.
pub(crate) fn anonymous_http_user() -> UserInfo {
    anonymous(format!("{ANONYMOUS_HTTP}-{}", readable_id()))
}

/// Returns the user of a plain HTTP request without credentials. This user has only read
/// permission, in the workspace `ws-anonymous`.
pub(crate) fn anonymous_caller() -> UserInfo {
    let mut user = anonymous(ANONYMOUS_HTTP.into());
    user.expires_at = None;
    user.scope = Some(Scope {
        current_workspace: Some("ws-anonymous".into()),
        workspaces: IndexMap::from_iter([("ws-anonymous".into(), Permission::Read)]),
        ..Scope::default()
    });
    user
}

/// Returns an anonymous user with the id `id`. The user is an admin of the user's own workspace.
fn anonymous(id: String) -> UserInfo {
    let mut user = UserInfo {
        id,
        roles: vec!["anonymous".into()],
        is_anonymous: true,
        expires_at: Some((now() + ANONYMOUS_LIFE) as f64),
        ..UserInfo::default()
    };
    let mut scope = Scope::default();
    scope
        .workspaces
        .insert(user.own_workspace(), Permission::Admin);
    user.scope = Some(scope);
    user
}

/// Returns the id of the user to which the server charges the memory of `user`. The limits per user
/// also apply to that user. If `user` has a child token, this is the user that issued the child
/// token. A user can issue any number of child tokens, so a limit for each child token would not
/// limit the user.
pub(crate) fn payer(user: &UserInfo) -> &str {
    user.parent.as_deref().unwrap_or(&user.id)
}

/// Returns the user of the root token and of clients inside the server. This user is an admin of
/// all workspaces.
pub(crate) fn root_user() -> UserInfo {
    UserInfo {
        id: "root".into(),
        roles: vec!["admin".into()],
        is_anonymous: false,
        scope: Some(Scope {
            current_workspace: Some("ws-user-root".into()),
            workspaces: IndexMap::from_iter([("*".into(), Permission::Admin)]),
            client_id: None,
            extra_scopes: None,
        }),
        ..UserInfo::default()
    }
}

/// Determines the permissions of `user` for a connection of the client `client_id` to `workspace`.
/// Stores the permissions in the scope of `user`.
///
/// A permission in the token takes precedence over ownership. For example, if an owner has issued a
/// token with only the permission `read`, its user may only read. If the token contains no
/// permission for the workspace, an owner becomes an admin.
pub(crate) fn enter_workspace(user: &mut UserInfo, workspace: &WorkspaceInfo, client_id: &str) {
    let granted = user.permission(&workspace.id);
    let of_parent = user
        .parent
        .as_ref()
        .map(|parent| format!("ws-user-{parent}"));
    let owner = workspace.owned_by(user) || of_parent.as_ref() == Some(&workspace.id);
    let inferred = owner.then_some(Permission::Admin);
    let scope = user.scope.get_or_insert_default();
    if let Some(permission) = granted.or(inferred) {
        scope.workspaces.insert(workspace.id.clone(), permission);
    }
    scope.current_workspace = Some(workspace.id.clone());
    scope.client_id = Some(client_id.to_owned());
    if user.roles.iter().any(|role| role == "admin") {
        scope.workspaces.insert("*".into(), Permission::Admin);
    }
}

/// Returns the highest permission for `workspace` that `user` may grant in a new token.
///
/// An owner may grant all permissions, even from a connection to another workspace. If `user` has a
/// child token, the permissions of the parent token do not count. Otherwise, the user could issue a
/// token with more permissions than the child token has.
pub(crate) fn may_delegate(user: &UserInfo, workspace: &WorkspaceInfo) -> Option<Permission> {
    let owner = workspace.owned_by(user);
    user.permission(&workspace.id)
        .or(owner.then_some(Permission::Admin))
}

/// Returns whether `user` owns `workspace`, or has a child token that the owner issued. Such a user
/// may grant the permissions of the user's token to new tokens.
pub(crate) fn acts_for_owner(user: &UserInfo, workspace: &WorkspaceInfo) -> bool {
    let listed = |owner: &String| *owner == user.id || Some(owner) == user.email.as_ref();
    let of_parent = user
        .parent
        .as_ref()
        .is_some_and(|parent| workspace.id.strip_prefix("ws-user-") == Some(parent));
    of_parent
        || workspace.id == user.own_workspace()
        || workspace.properties.owners.iter().any(listed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypha_rpc::workspace::WorkspaceProperties;

    #[test]
    fn anonymous_users_have_the_format_of_the_python_server() {
        let user = anonymous_user();
        let parts: Vec<_> = user.id.split('-').collect();
        assert_eq!(parts.len(), 4, "{}", user.id);
        assert_eq!(parts[0], "anonymouz");
        assert!(parts[3].len() == 8 && parts[3].bytes().all(|b| b.is_ascii_digit()));
        assert!(user.may(Permission::Admin, &user.own_workspace()));
        assert_ne!(anonymous_user().id, user.id);
        assert_ne!(anonymous_http_user().id, anonymous_http_user().id);
        let caller = anonymous_caller();
        assert_eq!(caller.id, "anonymouz-http");
        assert!(!caller.may(Permission::Read, &anonymous_http_user().own_workspace()));
    }

    #[test]
    fn ownership_does_not_extend_the_permission_of_a_token() {
        let workspace = WorkspaceInfo {
            id: "ws-lab".into(),
            properties: WorkspaceProperties {
                owners: vec!["ann".into()],
                ..WorkspaceProperties::default()
            },
            ..WorkspaceInfo::default()
        };
        let mut user = UserInfo {
            id: "ann".into(),
            ..UserInfo::default()
        };
        user.scope
            .get_or_insert_default()
            .workspaces
            .insert("ws-lab".into(), Permission::Read);
        enter_workspace(&mut user, &workspace, "c");
        assert_eq!(user.permission("ws-lab"), Some(Permission::Read));
        assert_eq!(may_delegate(&user, &workspace), Some(Permission::Read));

        let mut owner = UserInfo {
            id: "ann".into(),
            ..UserInfo::default()
        };
        assert_eq!(may_delegate(&owner, &workspace), Some(Permission::Admin));
        enter_workspace(&mut owner, &workspace, "c");
        assert_eq!(owner.permission("ws-lab"), Some(Permission::Admin));
    }

    #[test]
    fn a_child_token_gains_nothing_from_its_parents_workspaces() {
        let personal = WorkspaceInfo {
            id: "ws-user-ann".into(),
            ..WorkspaceInfo::default()
        };
        let child = UserInfo {
            id: "calm-otter-12345678".into(),
            parent: Some("ann".into()),
            ..UserInfo::default()
        };
        assert_eq!(may_delegate(&child, &personal), None);
        assert!(acts_for_owner(&child, &personal));
        let another = WorkspaceInfo {
            id: "ws-user-bob".into(),
            ..WorkspaceInfo::default()
        };
        assert!(!acts_for_owner(&child, &another));
    }
}
