//! Types for the identity and the permissions of a user. The server writes these properties into
//! every message as the user map (`docs/protocol/02-messages.md#s11`).
//!
//! The doc comments of types with `JsonSchema` become descriptions in published schemas. Programs
//! in other languages show these descriptions, so the doc comments contain neither links nor
//! examples.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// Permission of a user in a workspace. Ordered from weakest to strongest.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Permission {
    /// Connect, list and use services.
    #[serde(rename = "r", alias = "read")]
    Read,
    /// Also register services.
    #[serde(rename = "rw", alias = "read_write")]
    ReadWrite,
    /// Also issue tokens and delete the workspace.
    #[serde(rename = "a", alias = "admin")]
    Admin,
}

impl Permission {
    /// Returns the letters used in tokens and user maps: `r`, `rw` or `a`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Permission::Read => "r",
            Permission::ReadWrite => "rw",
            Permission::Admin => "a",
        }
    }

    /// Parses the letters (`rw`) or the word (`read_write`). Returns `None` for any other string.
    ///
    /// ```
    /// use hypha_rpc::workspace::Permission;
    ///
    /// assert_eq!(Permission::parse("rw"), Some(Permission::ReadWrite));
    /// assert!(Permission::Admin > Permission::ReadWrite);
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Permission> {
        match text {
            "r" | "read" => Some(Permission::Read),
            "rw" | "read_write" => Some(Permission::ReadWrite),
            "a" | "admin" => Some(Permission::Admin),
            _ => None,
        }
    }
}

/// Scope of a user's credentials.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Scope {
    /// Workspace of the connection.
    pub current_workspace: Option<String>,
    /// Permissions by workspace; `*` stands for every workspace.
    #[serde(deserialize_with = "known_permissions")]
    #[schemars(with = "std::collections::BTreeMap<String, Permission>")]
    pub workspaces: IndexMap<String, Permission>,
    /// Id of the only client that may use these credentials. Default: any.
    pub client_id: Option<String>,
    /// Additional words of the token's scope.
    pub extra_scopes: Option<Vec<String>>,
}

/// Parses the permissions, and skips unknown permissions. A newer server may send an unknown
/// permission. Such a permission grants nothing, but the rest of the user map must remain readable.
fn known_permissions<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<IndexMap<String, Permission>, D::Error> {
    let raw = Option::<IndexMap<String, String>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(raw
        .into_iter()
        .filter_map(|(workspace, letters)| Some((workspace, Permission::parse(&letters)?)))
        .collect())
}

/// User, as authenticated by the server: `Context::user` of every call, and `connection_info.user`.
/// No client can forge it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UserInfo {
    /// Id of the user.
    pub id: String,
    /// Roles, for example `anonymous` or `admin`.
    pub roles: Vec<String>,
    /// Whether the user connected without credentials.
    pub is_anonymous: bool,
    /// Scope of the credentials: the permissions by workspace.
    pub scope: Option<Scope>,
    /// E-mail address, if known.
    pub email: Option<String>,
    /// Id of the user that issued the token of this user.
    pub parent: Option<String>,
    /// Expiry of the credentials, in seconds since 1970.
    pub expires_at: Option<f64>,
    /// Workspace of the connection. Rarely set: use `scope.current_workspace`.
    pub current_workspace: Option<String>,
}

/// An anonymous user without any permission.
impl Default for UserInfo {
    fn default() -> Self {
        UserInfo {
            id: String::new(),
            roles: Vec::new(),
            is_anonymous: true,
            scope: None,
            email: None,
            parent: None,
            expires_at: None,
            current_workspace: None,
        }
    }
}

impl UserInfo {
    /// Returns the permission in `workspace`. If there are entries for `workspace` and for `*`,
    /// returns the stronger permission. Returns `None` if there is no such entry.
    #[must_use]
    pub fn permission(&self, workspace: &str) -> Option<Permission> {
        let granted = &self.scope.as_ref()?.workspaces;
        granted
            .get(workspace)
            .copied()
            .max(granted.get("*").copied())
    }

    /// Returns whether the user has the permission `needed`, or a stronger permission, in
    /// `workspace`.
    ///
    /// # Examples
    ///
    /// ```
    /// use hypha_rpc::service::Context;
    /// use hypha_rpc::workspace::Permission;
    ///
    /// fn check(ctx: &Context) -> Result<(), String> {
    ///     match ctx.user().may(Permission::Admin, ctx.workspace()) {
    ///         true => Ok(()),
    ///         false => Err("only for administrators of the workspace".into()),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn may(&self, needed: Permission, workspace: &str) -> bool {
        self.permission(workspace)
            .is_some_and(|granted| granted >= needed)
    }

    /// Returns whether the user has this role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|r| r == role)
    }

    /// Returns the name of the user's own workspace, `ws-user-<id>`.
    #[must_use]
    pub fn own_workspace(&self) -> String {
        format!("ws-user-{}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stronger_of_two_permissions_applies() {
        let mut scope = Scope::default();
        scope.workspaces.insert("w".into(), Permission::Read);
        let mut user = UserInfo {
            id: "u".into(),
            scope: Some(scope),
            ..UserInfo::default()
        };
        assert!(user.may(Permission::Read, "w"));
        assert!(!user.may(Permission::ReadWrite, "w"));
        assert!(!user.may(Permission::Read, "other"));
        if let Some(scope) = &mut user.scope {
            scope.workspaces.insert("*".into(), Permission::Admin);
        }
        assert!(user.may(Permission::Admin, "w"));
        assert!(user.may(Permission::Admin, "other"));
    }

    #[test]
    fn unknown_permissions_are_ignored() {
        let user: UserInfo = serde_json::from_value(serde_json::json!({
            "id": "u", "roles": [], "is_anonymous": true, "email": null, "new key": 1,
            "scope": {"current_workspace": "w", "workspaces": {"w": "a", "v": "x"},
                      "client_id": "c", "extra_scopes": null},
            "expires_at": 1795388455.0,
        }))
        .unwrap();
        assert_eq!(user.permission("w"), Some(Permission::Admin));
        assert_eq!(user.permission("v"), None);
    }
}
