//! Issues and checks tokens. The server's own tokens are JSON Web Tokens (HS256). They have the
//! same claims as those of the Python server, so that both servers accept each other's tokens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use hypha_rpc::workspace::{Permission, Scope, UserInfo};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::bearer::{TokenError, TokenHash, bare};
#[cfg(feature = "jwks")]
use super::identity_provider::IdentityProvider;
use super::lineage::{self, Lineage};
use super::{Authenticator, authenticator, jwt, now, root_user, scope};
use crate::settings::TokenSettings;

/// Issues and checks tokens. Also stores the revocations of tokens.
///
/// Three parties can accept a token, in this order: the authenticator of the embedding program, the
/// identity provider (RS256 tokens only), and the server itself. None of them can accept a revoked
/// token.
pub(crate) struct Issuer {
    secret: jwt::Secret,
    /// Requirements for the claims of the server's own tokens.
    validation: jwt::Validation,
    settings: TokenSettings,
    #[cfg(feature = "jwks")]
    provider: Option<IdentityProvider>,
    root_token: Option<String>,
    authenticator: Option<Arc<dyn Authenticator>>,
    /// Revoked tokens and sessions. The key is the hash. The value is the expiry in seconds since
    /// 1970. Each insertion removes the expired entries.
    revoked: Mutex<HashMap<TokenHash, u64>>,
}

impl Issuer {
    /// Creates an issuer that signs tokens with `secret`. The issuer has no authenticator, and no
    /// token is revoked.
    pub(crate) fn new(secret: &str, root_token: Option<String>, settings: TokenSettings) -> Issuer {
        Issuer {
            secret: jwt::Secret::new(secret.as_bytes()),
            validation: jwt::Validation {
                issuer: settings.issuer.clone(),
                audience: settings.audience.clone(),
                leeway: 0,
            },
            #[cfg(feature = "jwks")]
            provider: IdentityProvider::new(&settings),
            settings,
            root_token,
            authenticator: None,
            revoked: Mutex::default(),
        }
    }

    /// Sets the authenticator of the embedding program. The issuer asks the authenticator before it
    /// checks a token itself.
    pub(crate) fn with_authenticator(
        mut self,
        authenticator: Option<Arc<dyn Authenticator>>,
    ) -> Issuer {
        self.authenticator = authenticator;
        self
    }

    /// Issues a token for `user` with the user's scope. The token is valid for at most `life`
    /// seconds. `parent` is the lineage of the client that requests the token. The token does not
    /// outlive the credentials of that client. Revoking these credentials also revokes the token.
    ///
    /// # Errors
    ///
    /// Fails if the credentials of that client have expired, if the token would have too many
    /// ancestors, or if the authenticator refuses.
    pub(crate) async fn issue(
        &self,
        user: &UserInfo,
        life: u64,
        parent: &Lineage,
    ) -> Result<String, TokenError> {
        // Check the lineage first, so that the authenticator does not issue a token that must not
        // exist.
        let life = parent.life_of_child(life)?;
        match self.ask_for_token(user, life).await? {
            Some(token) => Ok(token),
            None => Ok(self.sign(user, life, |claims| parent.put_child(claims))),
        }
    }

    /// Asks the authenticator for a token. Returns `None` if the server itself must sign the token.
    async fn ask_for_token(
        &self,
        user: &UserInfo,
        life: u64,
    ) -> Result<Option<String>, TokenError> {
        let Some(hooks) = &self.authenticator else {
            return Ok(None);
        };
        let asked = || hooks.generate_token(user, Duration::from_secs(life));
        match authenticator::ask("generate_token", asked).await? {
            // Reject a token that contains blanks. A client adds the prefix `Bearer`, and the
            // server removes the prefix and the blanks, so such a token would not arrive unchanged.
            Some(token) if bare(&token) != Ok(&token) => Err(authenticator::failed(
                "generate_token",
                "the result is not a token",
            )),
            decision => Ok(decision),
        }
    }

    /// Creates and signs a token of the server itself.
    fn sign(
        &self,
        user: &UserInfo,
        life: u64,
        put_lineage: impl FnOnce(&mut Map<String, Value>),
    ) -> String {
        let issued = now();
        let mut claims = Map::new();
        let names = &self.settings;
        claims.insert("iss".into(), names.issuer.as_str().into());
        claims.insert("sub".into(), user.id.as_str().into());
        claims.insert("aud".into(), names.audience.as_str().into());
        claims.insert("iat".into(), issued.into());
        claims.insert("exp".into(), issued.saturating_add(life).into());
        let scope = user.scope.as_ref().map(scope::format).unwrap_or_default();
        claims.insert("scope".into(), scope.into());
        claims.insert("gty".into(), "client-credentials".into());
        claims.insert(names.claim("roles"), json!(user.roles));
        claims.insert(names.claim("email"), json!(user.email));
        if let Some(parent) = &user.parent {
            claims.insert(names.claim("parent"), parent.as_str().into());
        }
        put_lineage(&mut claims);
        self.secret.sign(&claims)
    }

    /// Issues a reconnection token, with which the client `client_id` of `user` can reconnect to
    /// `workspace`. The token is valid for at most `life` seconds. The token does not outlive the
    /// `credentials` of the client. Revoking these credentials also revokes the token.
    ///
    /// # Errors
    ///
    /// Returns an error only if the authenticator fails.
    pub(crate) async fn reconnection_token(
        &self,
        user: &UserInfo,
        workspace: &str,
        client_id: &str,
        life: u64,
        credentials: &Lineage,
    ) -> Result<String, TokenError> {
        let granted = user.scope.as_ref().map(|scope| &scope.workspaces);
        let mut user = user.clone();
        user.scope = Some(Scope {
            current_workspace: Some(workspace.to_owned()),
            workspaces: granted.cloned().unwrap_or_default(),
            client_id: Some(client_id.to_owned()),
            extra_scopes: None,
        });
        let life = credentials.life_of_session(life);
        match self.ask_for_token(&user, life).await? {
            Some(token) => Ok(token),
            None => Ok(self.sign(&user, life, |claims| {
                credentials.in_session().put_session(claims);
            })),
        }
    }

    /// Returns the lineage of a client that presents `token`, a token of `user`. The token must
    /// already have been checked, because this method does not check the claims.
    pub(crate) fn lineage(&self, token: &str, user: &UserInfo) -> Lineage {
        match bare(token) {
            Ok(token) if !self.is_root(token) => {
                Lineage::of(token, user.expires_at.map(|end| end as u64))
            }
            _ => Lineage::default(),
        }
    }

    /// Asks the authenticator for the token in the headers of a request. Returns `None` if the
    /// server must read the header `Authorization` and the cookie instead.
    ///
    /// # Errors
    ///
    /// Fails if the authenticator panics.
    pub(crate) fn find(&self, headers: &HeaderMap) -> Result<Option<String>, TokenError> {
        match &self.authenticator {
            Some(hooks) => authenticator::find(&**hooks, headers),
            None => Ok(None),
        }
    }

    /// Checks a token of the authenticator, of the identity provider or of the server. Returns the
    /// user of the token. The server does not check the expiry again while a connection is open.
    ///
    /// # Errors
    ///
    /// Fails if the token is invalid, expired or revoked. Also fails if the token cannot be checked
    /// at the moment.
    pub(crate) async fn user(&self, token: &str) -> Result<UserInfo, TokenError> {
        if let Some(hooks) = &self.authenticator {
            let token = bare(token)?;
            let asked = || hooks.parse_token(token);
            match authenticator::ask("parse_token", asked).await? {
                Some(_) if self.is_revoked(token) => return Err(TokenError::Revoked),
                Some(user) if usable_id(&user.id) => return Ok(with_own_permissions(user)),
                Some(_) => {
                    return Err(authenticator::failed(
                        "parse_token",
                        "the id of the user is not valid",
                    ));
                }
                None => {}
            }
        }
        #[cfg(feature = "jwks")]
        if let Some(provider) = &self.provider {
            let token = bare(token)?;
            let header = jwt::header(token).ok();
            // The server signs only with HS256. Therefore the algorithm in the header determines
            // which key checks the token, and no token is checked with two keys.
            if let Some(header) = header.filter(|header| header.alg == jwt::RS256) {
                let user_of = |claims: &Map<String, Value>| self.user_of(claims);
                let user = provider.user(token, header.kid.as_deref(), user_of).await?;
                return if self.is_revoked(token) {
                    Err(TokenError::Revoked)
                } else {
                    Ok(user)
                };
            }
        }
        self.parse(token)
    }

    /// Checks the root token, or a token that a server has signed. Returns the user of the token.
    fn parse(&self, token: &str) -> Result<UserInfo, TokenError> {
        let token = bare(token)?;
        if self.is_root(token) {
            return Ok(root_user());
        }
        let claims = self
            .validation
            .decode(token, &jwt::Key::Secret(&self.secret))?;
        if self.is_revoked(token) {
            return Err(TokenError::Revoked);
        }
        self.user_of(&claims)
            .ok_or_else(|| TokenError::Invalid("Invalid token: unusable claims".into()))
    }

    /// Revokes a token at this server, together with all tokens that have the token as an ancestor.
    /// Returns the token without the prefix `Bearer`. Also returns the time until which servers
    /// must store the revocation, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// Fails if the token is not valid. Also fails if the token does not expire, because the server
    /// would have to store the revocation forever.
    pub(crate) async fn revoke(&self, token: &str) -> Result<(String, u64), TokenError> {
        let user = self.user(token).await?;
        let Some(end) = user.expires_at else {
            return Err(TokenError::Invalid(
                "a token without an expiry cannot be revoked".into(),
            ));
        };
        // Store the revocation at least until the end of the session, because the revocation also
        // applies to the reconnection tokens that have replaced this token. These tokens may expire
        // later.
        let end = lineage::end_of_session(token)
            .unwrap_or_default()
            .max(end as u64);
        for hash in lineage::hashes_to_revoke(token) {
            self.remember_revoked(hash, end);
        }
        Ok((bare(token)?.to_owned(), end))
    }

    /// Stores that another server has revoked a token and its session. `end` is the time until
    /// which the revocation is stored, in seconds since 1970.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    pub(crate) fn remember_all_revoked(&self, token: &str, end: u64) {
        for hash in lineage::hashes_to_revoke(token) {
            self.remember_revoked(hash, end);
        }
    }

    /// Stores the revocation of a token or session until the time `end`, in seconds since 1970.
    /// `hash` is the hash of the token, or the id of the session.
    pub(crate) fn remember_revoked(&self, hash: TokenHash, end: u64) {
        let now = now();
        let mut revoked = self.revoked.lock();
        // Remove expired entries, because nothing else limits the size of the map. The server
        // refuses an expired token anyway.
        revoked.retain(|_, end| *end > now);
        revoked.insert(hash, end);
    }

    /// Returns whether the token, or one of its ancestors, was revoked.
    pub(crate) fn is_revoked(&self, token: &str) -> bool {
        // Fast path: usually there are no revoked tokens. Then the claims need not be decoded.
        if self.revoked.lock().is_empty() {
            return false;
        }
        // Decode the claims before taking the lock, because every check of a token takes this lock.
        let hashes = lineage::hashes_to_check(token);
        let revoked = self.revoked.lock();
        hashes.iter().any(|hash| revoked.contains_key(hash))
    }

    /// Returns the user that the claims of a token describe. The token must already have been
    /// checked. Returns `None` if a claim has an unexpected type, or if the id cannot be a part of
    /// an address.
    fn user_of(&self, claims: &Map<String, Value>) -> Option<UserInfo> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        let own = |name: &str| text(&self.settings.claim(name));
        let roles: Vec<String> = match claims.get(&self.settings.claim("roles")) {
            None | Some(Value::Null) => Vec::new(),
            Some(roles) => serde_json::from_value(roles.clone()).ok()?,
        };
        let scope = scope::parse(
            claims
                .get("scope")
                .and_then(Value::as_str)
                .unwrap_or_default(),
        )?;
        Some(with_own_permissions(UserInfo {
            id: text("sub").filter(|id| usable_id(id))?,
            is_anonymous: roles.iter().any(|role| role == "anonymous"),
            email: own("email"),
            parent: own("parent"),
            expires_at: claims.get("exp").and_then(Value::as_f64),
            roles,
            scope: Some(scope),
            ..UserInfo::default()
        }))
    }

    fn is_root(&self, token: &str) -> bool {
        let root = self.root_token.as_ref();
        root.is_some_and(|root| super::is_secret(root, token))
    }
}

/// Adds the permissions that a user has independently of the scope of the token. Every user is an
/// admin of the user's own workspace. A user with the role `admin` is an admin of all workspaces.
fn with_own_permissions(mut user: UserInfo) -> UserInfo {
    let (own, everywhere) = (user.own_workspace(), user.has_role("admin"));
    let scope = user.scope.get_or_insert_default();
    scope.workspaces.insert(own, Permission::Admin);
    if everywhere {
        scope.workspaces.insert("*".into(), Permission::Admin);
    }
    user.current_workspace = scope.current_workspace.clone();
    user
}

/// Returns whether an id can be a part of the name of a workspace, of an address and of the claim
/// `scope`. Other special characters are allowed, because identity providers issue ids such as
/// `auth0|123`.
fn usable_id(id: &str) -> bool {
    !id.is_empty() && !id.contains(['/', ':', '#', '*']) && !id.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(secret: Option<&str>, root_token: Option<String>) -> Issuer {
        let random = super::super::new_secret();
        Issuer::new(
            secret.unwrap_or(&random),
            root_token,
            TokenSettings::default(),
        )
    }

    fn user() -> UserInfo {
        let mut scope = Scope {
            current_workspace: Some("lab".into()),
            ..Scope::default()
        };
        scope.workspaces.insert("lab".into(), Permission::ReadWrite);
        UserInfo {
            id: "ann".into(),
            scope: Some(scope),
            ..UserInfo::default()
        }
    }

    fn sign(secret: &str, claims: &Value) -> String {
        jwt::Secret::new(secret.as_bytes()).sign(claims.as_object().unwrap())
    }

    fn claims() -> Value {
        let names = TokenSettings::default();
        json!({"iss": names.issuer, "aud": names.audience, "sub": "ann", "exp": now() + 60,
            "scope": ""})
    }

    #[test]
    fn a_token_parses_to_its_user() {
        let issuer = with(Some("s3cret"), None);
        let token = issuer.sign(&user(), 60, |_| ());
        let parsed = issuer.parse(&format!("Bearer {token}")).unwrap();
        assert_eq!(parsed.id, "ann");
        assert_eq!(parsed.permission("lab"), Some(Permission::ReadWrite));
        assert_eq!(parsed.permission("ws-user-ann"), Some(Permission::Admin));
        assert_eq!(parsed.permission("elsewhere"), None);
        // An issuer with the same secret accepts the token. An issuer with another secret refuses
        // it.
        assert!(with(Some("s3cret"), None).parse(&token).is_ok());
        let error = with(None, None).parse(&token).unwrap_err();
        assert_eq!(error.to_string(), "Signature verification failed.");
    }

    #[test]
    fn bad_claims_are_refused_by_name() {
        let issuer = with(Some("k"), None);
        let refused = |change: &dyn Fn(&mut Value)| {
            let mut claims = claims();
            change(&mut claims);
            issuer.parse(&sign("k", &claims)).unwrap_err().to_string()
        };
        assert!(issuer.parse(&sign("k", &claims())).is_ok());
        assert!(refused(&|c| c["exp"] = json!(now() - 5)).contains("expired"));
        assert!(refused(&|c| c["iss"] = json!("https://elsewhere/")).contains("issuer"));
        assert!(refused(&|c| c["aud"] = json!("https://elsewhere/")).contains("audience"));
        assert!(refused(&|c| c["nbf"] = json!(now() + 600)).contains("not yet valid"));
        assert!(refused(&|c| drop(c.as_object_mut().unwrap().remove("exp"))).contains("exp"));
        assert!(refused(&|c| c["scope"] = json!("ws:x#root")).contains("unusable"));
        assert!(refused(&|c| c["sub"] = json!("a/b")).contains("unusable"));
    }

    #[test]
    fn tokens_without_a_proper_signature_are_refused() {
        let issuer = with(Some("k"), None);
        // {"alg":"none","typ":"JWT"} . {"sub":"root"} .
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJyb290In0.";
        assert_eq!(
            issuer.parse(none).unwrap_err().to_string(),
            "Error decoding token headers."
        );
        assert_eq!(
            issuer.parse("garbage").unwrap_err().to_string(),
            "Error decoding token headers."
        );
        assert!(issuer.parse("").is_err());
        assert!(issuer.parse("Bearer ").is_err());
    }

    #[tokio::test]
    async fn revoked_means_refused() {
        let issuer = with(None, None);
        let token = issuer.sign(&user(), 60, |_| ());
        issuer.revoke(&token).await.unwrap();
        assert_eq!(issuer.parse(&token), Err(TokenError::Revoked));
        assert_eq!(
            issuer.parse(&format!("bearer {token}")),
            Err(TokenError::Revoked)
        );
    }

    #[tokio::test]
    async fn a_token_is_revoked_with_its_ancestors() {
        let issuer = with(None, None);
        let lineage = |token: &str| {
            let user = issuer.parse(token).unwrap();
            issuer.lineage(token, &user)
        };
        let reconnect = async |credentials: &Lineage| {
            let life = 100_000;
            issuer
                .reconnection_token(&user(), "lab", "c", life, credentials)
                .await
                .unwrap()
        };
        let access = issuer
            .issue(&user(), 60, &Lineage::default())
            .await
            .unwrap();
        let end = issuer.parse(&access).unwrap().expires_at.unwrap();
        let mut credentials = lineage(&access);
        let mut made = vec![access.clone()];
        // The size of a reconnection token does not depend on the number of reconnects.
        for _ in 0..50 {
            let token = reconnect(&credentials).await;
            credentials = lineage(&token);
            made.push(token);
        }
        assert!(made[50].len() < made[1].len() + 10);
        let child = issuer.issue(&user(), 100_000, &credentials).await.unwrap();
        let grandchild = issuer
            .issue(&user(), 100_000, &lineage(&child))
            .await
            .unwrap();
        made.extend([child, grandchild.clone()]);
        for token in &made {
            assert!(issuer.parse(token).unwrap().expires_at.unwrap() <= end);
        }
        // Revoking a reconnection token also revokes the tokens that have replaced it.
        issuer.revoke(&made[7]).await.unwrap();
        assert_eq!(issuer.parse(&made[50]), Err(TokenError::Revoked));
        assert_eq!(issuer.parse(&grandchild), Err(TokenError::Revoked));
        assert!(issuer.parse(&access).is_ok());
        let other = reconnect(&lineage(&access)).await;
        issuer.revoke(&access).await.unwrap();
        for token in made.iter().chain([&other]) {
            assert_eq!(issuer.parse(token), Err(TokenError::Revoked));
        }
    }

    #[tokio::test]
    async fn only_a_client_without_credentials_reconnects_without_limit() {
        let issuer = with(None, None);
        let anonymous = super::super::anonymous_user();
        let none = Lineage::default();
        let token = issuer
            .reconnection_token(&anonymous, "lab", "c", 60, &none)
            .await
            .unwrap();
        let credentials = issuer.lineage(&token, &issuer.parse(&token).unwrap());
        assert_eq!(credentials.life_of_session(100_000), 100_000);
        let child = issuer.issue(&anonymous, 3, &credentials).await.unwrap();
        let mut ancestors = issuer.lineage(&child, &issuer.parse(&child).unwrap());
        assert!(ancestors.life_of_session(100_000) <= 3);
        let refused = loop {
            match issuer.issue(&anonymous, 3, &ancestors).await {
                Ok(token) => {
                    ancestors = issuer.lineage(&token, &issuer.parse(&token).unwrap());
                }
                Err(error) => break error.to_string(),
            }
        };
        assert!(refused.contains("more than 32"), "{refused}");
        // The server stores the revocation for longer than this token is valid, because the tokens
        // that replace this token expire later.
        let (_, kept) = issuer.revoke(&token).await.unwrap();
        assert!(kept > now() + 100_000);
    }

    #[tokio::test]
    async fn the_root_token_belongs_to_the_root_user() {
        let root = "0123456789abcdef0123456789abcdef";
        let issuer = with(None, Some(root.into()));
        let user = issuer.parse(root).unwrap();
        assert!(user.may(Permission::Admin, "anything"));
        assert!(issuer.parse("0123456789abcdef0123456789abcdeX").is_err());
        assert!(issuer.revoke(root).await.is_err());
    }
}
