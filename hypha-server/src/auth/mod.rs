//! Users, tokens and permissions.
//!
//! [`Issuer`] issues and checks tokens. The [`Lineage`] of a token lists its ancestors, the tokens
//! from which it was made; revoking an ancestor revokes the token too. The modules `session` and
//! `http` get the user of a connection or request from the issuer; `manager` and `login` get new
//! tokens from it. The functions of this file decide the permissions of a user in a workspace.
//!
//! A token is checked when it is presented. [`enter_workspace`] fixes the permissions of a
//! connection until it closes.

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

/// Lifetime of an anonymous user's credentials in seconds, as reported to clients. Not enforced on
/// an open connection.
const ANONYMOUS_LIFE: u64 = 600;

/// Id of the user of plain HTTP requests without credentials. This user owns nothing. The spelling
/// is that of the Python server.
const ANONYMOUS_HTTP: &str = "anonymouz-http";

/// Returns whether `given` is the `secret`. Compares in constant time, so that a client cannot
/// guess the secret character by character. The length is not secret.
pub(crate) fn is_secret(secret: &str, given: &str) -> bool {
    let pairs = secret.bytes().zip(given.bytes());
    secret.len() == given.len() && pairs.fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

/// Returns a random secret for signing tokens: 256 bits as hexadecimal digits.
pub(crate) fn new_secret() -> String {
    use rand::RngExt;
    let secret: [u8; 32] = rand::rng().random();
    secret.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the time in seconds since 1970, or 0 if the clock of the system is before 1970.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map(|since| since.as_secs())
        .unwrap_or_default()
}

/// Returns a new user for a WebSocket without credentials. The user is an admin of its own
/// workspace.
pub(crate) fn anonymous_user() -> UserInfo {
    anonymous(format!("anonymouz-{}", readable_id()))
}

/// Returns a new user for a client over HTTP without credentials. The user is an admin of its own
/// workspace.
///
/// Each client gets its own user. In the Python server, all clients over HTTP without credentials
/// share one user, so each of these clients has admin rights over all such clients.
pub(crate) fn anonymous_http_user() -> UserInfo {
    anonymous(format!("{ANONYMOUS_HTTP}-{}", readable_id()))
}

/// Returns the user of a plain HTTP request without credentials. This user may only read in the
/// workspace `ws-anonymous`.
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

/// Returns an anonymous user with this id. The user is an admin of its own workspace.
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

/// Returns the id of the user to which the memory and the limits of `user` are charged. For the
/// user of a child token, this is the user that has issued the token. A user can issue any number
/// of child tokens, so limits per child token would limit nothing.
pub(crate) fn payer(user: &UserInfo) -> &str {
    user.parent.as_deref().unwrap_or(&user.id)
}

/// Returns the user of the server's own clients and of the root token. This user is an admin of all
/// workspaces.
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

/// Stores the permissions of `user` in its scope, for a connection of `client_id` to `workspace`.
///
/// A permission in the token takes precedence over ownership: a token that an owner has restricted
/// to `read` stays restricted. Only if the token has no permission does ownership make the user an
/// admin.
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

/// Returns the strongest permission that `user` may grant to a new token for `workspace`.
///
/// An owner may grant all permissions, even from a connection to another workspace. The rights of a
/// parent token do not count for the user of a child token. If these rights counted, this user
/// could issue a token with more permissions than the child token.
pub(crate) fn may_delegate(user: &UserInfo, workspace: &WorkspaceInfo) -> Option<Permission> {
    let owner = workspace.owned_by(user);
    user.permission(&workspace.id)
        .or(owner.then_some(Permission::Admin))
}

/// Returns whether `user` owns `workspace`, or has a child token of the workspace's owner. Such a
/// user may grant the permissions of its own token to new tokens.
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
