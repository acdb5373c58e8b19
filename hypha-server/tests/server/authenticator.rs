//! Tests a server with an authenticator. Only the embedding program can read the tokens of the
//! authenticator.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use hypha_rpc::service::{IncomingCall, Method};
use hypha_rpc::workspace::{Permission, UserInfo};
use hypha_rpc::{Value, args};
use hypha_server::{Authenticator, Decision, HeaderMap, Server};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::json;

use crate::support::{self, End, Raw, refused};

const ROOT: &str = "0123456789abcdef0123456789abcdef";

/// Authenticator that knows the user of each token. The token `badge.panic` makes its hook panic.
#[derive(Clone, Default)]
struct Badges {
    given_out: Arc<Mutex<HashMap<String, UserInfo>>>,
    number: Arc<AtomicUsize>,
}

fn in_seconds(life: u64) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64() + life as f64
}

impl Badges {
    fn give(&self, badge: &str, user: UserInfo) {
        let badge = format!("badge.{badge}");
        self.given_out
            .lock()
            .expect("no other panics")
            .insert(badge, user);
    }
}

impl Authenticator for Badges {
    fn parse_token<'a>(&'a self, token: &'a str) -> Decision<'a, UserInfo> {
        Box::pin(async move {
            if !token.starts_with("badge.") {
                return Ok(None);
            }
            tokio::task::yield_now().await;
            assert_ne!(token, "badge.panic", "falls over");
            let found = self
                .given_out
                .lock()
                .expect("no other panics")
                .get(token)
                .cloned();
            found
                .map(Some)
                .ok_or_else(|| format!("there is no {token}"))
        })
    }

    fn generate_token<'a>(&'a self, user: &'a UserInfo, life: Duration) -> Decision<'a, String> {
        // The hook does not wait, so the future is ready when the method returns.
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let mut user = user.clone();
        user.expires_at = Some(in_seconds(life.as_secs()));
        self.give(&number.to_string(), user);
        Box::pin(std::future::ready(Ok(Some(format!("badge.{number}")))))
    }

    fn get_token(&self, headers: &HeaderMap) -> Option<String> {
        let badge = headers.get("x-badge")?.to_str().ok()?;
        assert_ne!(badge, "torn", "falls over");
        Some(format!("badge.{badge}"))
    }
}

/// Starts a server that knows the token of the user `ann`.
async fn server() -> Result<Server> {
    let badges = Badges::default();
    let named = |id: &str| UserInfo {
        id: id.into(),
        is_anonymous: false,
        email: Some(format!("{id}@example.org")),
        expires_at: Some(in_seconds(600)),
        ..UserInfo::default()
    };
    badges.give("ann", named("ann"));
    badges.give("nobody", named("no body"));
    let builder = Server::builder().bind("127.0.0.1:0").root_token(ROOT);
    let page = Method::new("index", |call: IncomingCall| async move {
        call.reply(&json!({"status": 200, "body": "Hold your badge to the reader."}))
    });
    // The method that a login page of the embedding program calls.
    let enter = Method::new("enter", |call: IncomingCall| async move {
        let name: String = call.args(&["name"])?.required(0)?;
        call.reply(&format!("badge.{name}"))
    });
    let builder = builder.authenticator(badges);
    Ok(builder
        .login_method(page)
        .login_method(enter)
        .start()
        .await?)
}

async fn answer(request: RequestBuilder) -> Result<(StatusCode, String)> {
    let response = request.send().await?;
    Ok((response.status(), response.text().await?))
}

#[tokio::test]
async fn tokens_of_the_embedding_program_are_accepted_everywhere() -> Result<()> {
    let server = server().await?;
    let ann = hypha_rpc::connect(server.url()).token("badge.ann").await?;
    assert_eq!(ann.workspace(), "ws-user-ann");
    let manager = ann.manager().await?;
    let user = manager.parse_token("badge.ann".into()).await?;
    assert_eq!(user.email.as_deref(), Some("ann@example.org"));

    // The hook also issues the tokens that the user generates. Such a token grants only the
    // permission in its scope.
    let config = hypha_rpc::workspace::TokenConfig {
        permission: Some(Permission::Read.into()),
        ..Default::default()
    };
    let token = manager.generate_token(Some(config)).await?;
    assert!(token.starts_with("badge."), "{token}");
    let guest = hypha_rpc::connect(server.url()).token(&token).await?;
    assert_eq!(guest.workspace(), "ws-user-ann");
    let more = guest.manager().await?.generate_token(None).await;
    assert!(more.is_err(), "a guest who may read");
    assert!(
        manager
            .parse_token(token.clone())
            .await?
            .may(Permission::Read, "ws-user-ann")
    );

    let http = support::http();
    let info = format!("{}/ws-user-ann/info", server.url());
    for (request, expected) in [
        (http.get(&info).header("X-Badge", "ann"), StatusCode::OK),
        (http.get(&info).bearer_auth("badge.ann"), StatusCode::OK),
        (http.get(&info).bearer_auth(&token), StatusCode::OK),
        // The server's own tokens and permission checks still apply.
        (http.get(&info).bearer_auth(ROOT), StatusCode::OK),
        (http.get(&info), StatusCode::FORBIDDEN),
    ] {
        let (status, text) = answer(request).await?;
        assert_eq!(status, expected, "{text}");
    }
    let stream = http.get(format!("{}/rpc?client_id=c", server.url()));
    let mut stream = stream.header("X-Badge", "ann").send().await?;
    let first = stream.chunk().await?.context("nothing")?;
    let first = String::from_utf8_lossy(&first).into_owned();
    assert!(first.contains("ws-user-ann"), "{first}");

    manager.revoke_token(token.clone()).await?;
    let again = http.get(&info).bearer_auth(&token);
    let (status, text) = answer(again).await?;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(text.contains("Token has been revoked"), "{text}");
    Ok(())
}

#[tokio::test]
async fn clients_reconnect_with_tokens_of_the_embedding_program() -> Result<()> {
    let server = server().await?;
    let hello = json!({"client_id": "c", "token": "badge.ann"});
    let mut raw = Raw::connect(&server, hello).await?;
    let first = raw.field("reconnection_token").to_owned();
    raw.text(r#"{"type":"refresh_token"}"#).await?;
    let second = raw.control().await?;
    let second = second["reconnection_token"].as_str().context("no token")?;
    for token in [&first, second] {
        ensure!(token.starts_with("badge."), "{token}");
        let hello = json!({"client_id": "c", "reconnection_token": token});
        let back = Raw::connect(&server, hello).await?;
        assert_eq!(back.workspace(), "ws-user-ann");
    }
    let other = json!({"client_id": "d", "reconnection_token": first});
    let end = refused(&server, other).await?;
    assert!(end.reason.contains("Client id mismatch"), "{end:?}");
    Ok(())
}

#[tokio::test]
async fn the_refusal_of_the_authenticator_reaches_the_client() -> Result<()> {
    let server = server().await?;
    let text = "there is no badge.bob";
    let end = refused(&server, json!({"client_id": "c", "token": "badge.bob"})).await?;
    let message = format!("Authentication error: {text}");
    let expected = End {
        error: Some(message.clone()),
        code: 1008,
        reason: message,
    };
    assert_eq!(end, expected);
    let connecting = hypha_rpc::connect(server.url()).token("badge.bob").await;
    let error = connecting.err().context("let in")?.to_string();
    assert!(error.contains(text), "{error}");
    let http = support::http();
    for path in ["rpc?client_id=c", "ws-user-ann/info", "public/apps/x/"] {
        let request = http.get(format!("{}/{path}", server.url()));
        let (status, body) = answer(request.header("X-Badge", "bob")).await?;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(body.contains(text), "{path}: {body}");
    }
    Ok(())
}

#[tokio::test]
async fn a_failed_hook_affects_only_its_client() -> Result<()> {
    let server = server().await?;
    let ann = hypha_rpc::connect(server.url()).token("badge.ann").await?;
    for badge in ["panic", "nobody"] {
        let hello = json!({"client_id": "c", "token": format!("badge.{badge}")});
        let end = refused(&server, hello).await?;
        let error = end.error.unwrap_or_default();
        assert!(
            error.contains("the authenticator of this server has failed"),
            "{error}"
        );
    }
    let http = support::http();
    for (badge, hook) in [("panic", "parse_token"), ("torn", "get_token")] {
        for path in ["rpc?client_id=c", "ws-user-ann/info"] {
            let request = http.get(format!("{}/{path}", server.url()));
            let (status, body) = answer(request.header("X-Badge", badge)).await?;
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
            assert!(body.contains(hook), "{path}: {body}");
        }
    }
    assert_eq!(ann.manager().await?.list_clients(None).await?.len(), 1);
    let (status, _) = answer(http.get(format!("{}/health/readiness", server.url()))).await?;
    assert_eq!(status, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn the_embedding_program_may_replace_login_methods() -> Result<()> {
    let server = server().await?;
    let program = hypha_rpc::connect(server.url()).await?;
    let login = program.get_service("public/hypha-login").await?;
    let begun: Value = login.call("start", args!()).await?;
    let text = |name: &str| begun.get(name).and_then(Value::as_str).unwrap_or_default();
    let http = support::http();
    let page = answer(http.get(text("login_url"))).await?;
    assert_eq!(page.1, "Hold your badge to the reader.");

    let report = text("report_url");
    let enter = report.replace("/report", "/enter");
    let (_, badge) = answer(http.get(format!("{enter}?name=ann"))).await?;
    let body = |token: &str| json!({"key": text("key"), "token": token});
    let wrong = http.post(report).json(&body("badge.bob"));
    let (status, detail) = answer(wrong).await?;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(detail.contains("there is no badge.bob"), "{detail}");
    let right = http.post(report).json(&body(badge.trim_matches('"')));
    assert_eq!(answer(right).await?.0, StatusCode::OK);
    let profile: Value = login
        .call("check", args!(text("key"), timeout = 0, profile = true))
        .await?;
    assert_eq!(profile.get("token"), Some(&Value::from("badge.ann")));
    assert_eq!(profile.get("user_id"), Some(&Value::from("ann")));
    Ok(())
}
