//! Tests the admission of clients, and the events that announce clients.

use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hypha_rpc::Value;
use hypha_server::Server;
use serde_json::json;

use crate::support::{End, Raw, http, refused, server, server_with};

/// Asserts the close code, and that the error frame contains the text. The error must begin with
/// the reason of the close frame.
fn said(end: &End, code: u16, text: &str) {
    assert_eq!(end.code, code, "{end:?}");
    let error = end.error.as_deref().unwrap_or_default();
    assert!(error.contains(text), "{end:?} should contain {text}");
    assert!(error.starts_with(&end.reason), "{end:?}");
}

#[tokio::test]
async fn an_anonymous_client_gets_a_workspace_of_its_own() -> Result<()> {
    let server = server().await?;
    let client = Raw::anonymous(&server, "c1").await?;
    let user = &client.info["user"];
    let id = user["id"].as_str().unwrap_or_default();
    assert!(id.starts_with("anonymouz-"), "{id}");
    assert_eq!(client.workspace(), format!("ws-user-{id}"));
    assert_eq!(client.field("client_id"), "c1");
    assert_eq!(client.field("public_base_url"), server.url());
    assert_eq!(user["roles"], json!(["anonymous"]));
    assert_eq!(user["scope"]["workspaces"][client.workspace()], "a");
    assert_eq!(user["scope"]["extra_scopes"], json!(null));
    assert_eq!(user["current_workspace"], json!(null));
    assert!(user["expires_at"].is_f64());
    assert_eq!(client.info["reconnection_token_life_time"], json!(172800.0));
    Ok(())
}

#[tokio::test]
async fn invalid_first_frames_are_refused_with_a_reason() -> Result<()> {
    let server = server().await?;
    let text = "Failed to decode authentication information";
    for first in ["nonsense", "[]", "3", r#"{"client_id": 3}"#] {
        let mut client = Raw::open(&server, "").await?;
        client.text(first).await?;
        said(&client.end().await?, 1003, text);
    }
    let mut client = Raw::open(&server, "").await?;
    client.binary(vec![0x80]).await?;
    said(&client.end().await?, 1003, text);
    assert_eq!(server.stats().handshakes_refused, 5);
    Ok(())
}

#[tokio::test]
async fn a_silent_handshake_times_out() -> Result<()> {
    let server =
        server_with(|limits| limits.handshake_timeout = Duration::from_millis(200)).await?;
    let mut client = Raw::open(&server, "").await?;
    said(&client.end().await?, 1008, "Authentication payload timeout");
    Ok(())
}

#[tokio::test]
async fn a_first_frame_is_limited_in_size() -> Result<()> {
    let server = server().await?;
    for length in [70_000, 8_000_000] {
        let hello = json!({"client_id": "c", "token": "x".repeat(length)});
        let mut client = Raw::open(&server, "").await?;
        // The server does not read the whole frame, so the write may fail.
        let _ = client.text(&hello.to_string()).await;
        assert_eq!(client.end().await?.code, 1009);
    }
    // After the handshake, the client can send frames of this size.
    let mut known = Raw::anonymous(&server, "known").await?;
    let large = "x".repeat(1 << 20);
    let main = json!({"type": "n", "to": "known", "data": large});
    known.send(main, None).await?;
    assert_eq!(known.message().await?.kind(), "n");
    Ok(())
}

#[tokio::test]
async fn a_handshake_that_waits_for_a_ping_blocks_no_other_client() -> Result<()> {
    let server = server_with(|limits| {
        limits.concurrent_handshakes = 1;
        limits.incumbent_timeout = Duration::from_secs(3600);
    })
    .await?;
    let mut owner = Raw::anonymous(&server, "owner").await?;
    let mut silent = owner.colleague(&server, "c", "read_write").await?;
    silent.register("built-in", json!({})).await?;
    let token = owner.ask("generate_token", json!([])).await?;
    let hello = json!({"client_id": "c", "token": token.as_str()});
    let _waiting = Raw::hello(&server, hello).await?;
    // The server pings the existing client, so the new client is now waiting.
    silent.message().await?;
    Raw::anonymous(&server, "other").await?;
    Ok(())
}

#[tokio::test]
async fn credentials_in_the_url_are_refused_without_an_error_frame() -> Result<()> {
    let server = server().await?;
    let end = Raw::open(&server, "?client_id=c&workspace=w")
        .await?
        .end()
        .await?;
    assert_eq!((end.code, end.error), (1008, None));
    assert!(end.reason.contains("upgrade"), "{}", end.reason);
    Ok(())
}

#[tokio::test]
async fn tokens_that_do_not_fit_are_refused() -> Result<()> {
    let server = server().await?;
    let bad = refused(&server, json!({"client_id": "c", "token": "nonsense"})).await?;
    said(
        &bad,
        1008,
        "Authentication error: Error decoding token headers.",
    );

    let mut owner = Raw::anonymous(&server, "owner").await?;
    let mut token = async |config| -> Result<String> {
        let token = owner.ask("generate_token", json!([config])).await?;
        Ok(token.as_str().unwrap_or_default().to_owned())
    };
    let bound = token(json!({"client_id": "other"})).await?;
    let end = refused(&server, json!({"client_id": "c", "token": bound})).await?;
    said(
        &end,
        1001,
        "Failed to establish connection: Failed to authenticate user: Client id",
    );

    let plain = token(json!({})).await?;
    let hello = json!({"client_id": "c", "token": plain, "workspace": "elsewhere"});
    said(
        &refused(&server, hello).await?,
        1001,
        "does not match the specified workspace (elsewhere)",
    );

    let special = token(json!({"extra_scopes": ["file:download"]})).await?;
    let end = refused(&server, json!({"client_id": "c", "token": special})).await?;
    said(&end, 1001, "Specialized token with scopes [file:download]");
    assert!(end.reason.len() <= 123);

    assert!(
        Raw::connect(&server, json!({"client_id": "c", "token": plain}))
            .await
            .is_ok()
    );
    owner.ask("revoke_token", json!([plain])).await?;
    let end = refused(&server, json!({"client_id": "c2", "token": plain})).await?;
    said(&end, 1001, "Token has been revoked");
    Ok(())
}

#[tokio::test]
async fn workspaces_of_other_users_are_refused() -> Result<()> {
    let server = server().await?;
    let other = Raw::anonymous(&server, "other").await?;
    let hello = |workspace: &str| json!({"client_id": "c", "workspace": workspace});
    // The error is the same for a workspace that is closed to the client and for a missing
    // workspace.
    for workspace in ["ws-nowhere", "public", "ws-anonymous", other.workspace()] {
        let end = refused(&server, hello(workspace)).await?;
        said(
            &end,
            1001,
            &format!(
                "'Workspace {workspace} does not exist or is not accessible', Permission denied \
                 for workspace: {workspace}"
            ),
        );
    }
    Ok(())
}

#[tokio::test]
async fn client_ids_with_separators_are_refused() -> Result<()> {
    let server = server().await?;
    for id in ["", "a/b", "a:b", "a b", "*"] {
        let end = refused(&server, json!({"client_id": id})).await?;
        said(&end, 1001, &format!("Invalid client id: {id}"));
    }
    Ok(())
}

#[tokio::test]
async fn the_root_token_opens_the_root_workspace_only() -> Result<()> {
    let root = "0123456789abcdef0123456789abcdef";
    let server = Server::builder()
        .bind("127.0.0.1:0")
        .root_token(root)
        .start()
        .await?;
    let mut client = Raw::connect(&server, json!({"client_id": "c", "token": root})).await?;
    assert_eq!(client.workspace(), "ws-user-root");
    assert_eq!(client.info["user"]["scope"]["workspaces"]["*"], "a");
    let hello = json!({"client_id": "d", "token": root, "workspace": "public"});
    said(
        &refused(&server, hello).await?,
        1001,
        "does not match the specified workspace",
    );

    // A read token does not grant the role `admin`.
    let config = json!({"workspace": "public", "permission": "read"});
    let token = client.ask("generate_token", json!([config])).await?;
    let hello = json!({"client_id": "d", "token": token.as_str()});
    let reader = Raw::connect(&server, hello).await?;
    assert_eq!(reader.workspace(), "public");
    assert_eq!(reader.info["user"]["scope"]["workspaces"]["public"], "r");
    assert_eq!(reader.info["user"]["scope"]["workspaces"]["*"], json!(null));
    Ok(())
}

#[tokio::test]
async fn connection_slots_are_limited_and_freed() -> Result<()> {
    let server = server_with(|limits| limits.clients_per_workspace = 2).await?;
    let mut first = Raw::anonymous(&server, "c1").await?;
    let second = first.colleague(&server, "c2", "read_write").await?;
    let token = first.ask("generate_token", json!([])).await?;
    let hello = json!({"client_id": "c3", "token": token.as_str()});
    said(
        &refused(&server, hello.clone()).await?,
        1008,
        "Too many clients in workspace",
    );
    second.close().await?;
    while server.stats().connections_open > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Raw::connect(&server, hello).await?;
    Ok(())
}

#[tokio::test]
async fn idle_clients_and_large_frames_are_disconnected_and_floods_are_not() -> Result<()> {
    let server = server_with(|limits| limits.idle_timeout = Duration::from_millis(400)).await?;
    let mut silent = Raw::anonymous(&server, "silent").await?;
    said(&silent.end().await?, 1001, "Idle timeout (0s)");
    assert_eq!(server.stats().closed_idle, 1);

    let server = server_with(|limits| {
        limits.messages_per_second = 100.0;
        limits.message_burst = 5.0;
        limits.frame_bytes = 100_000;
    })
    .await?;
    let mut flood = Raw::anonymous(&server, "flood").await?;
    for _ in 0..6 {
        flood
            .send(json!({"type": "x", "to": "nobody"}), None)
            .await?;
    }
    assert!(flood.is_quiet().await, "slowed down, not closed");

    let mut giant = Raw::anonymous(&server, "giant").await?;
    giant.binary(vec![0xc0; 100_000]).await?;
    giant.text(r#"{"type":"ping"}"#).await?;
    assert_eq!(giant.control().await?, json!({"type": "pong"}));
    // The server does not read the whole frame, so the write may fail.
    let _ = giant.binary(vec![0xc0; 1_000_000]).await;
    assert_eq!(giant.end().await?.code, 1009);

    let stats = server.stats();
    assert!(stats.slowed_rate > 0);
    assert_eq!(stats.closed_too_large, 1);
    Ok(())
}

#[tokio::test]
async fn control_messages_get_responses_and_invalid_ones_are_ignored() -> Result<()> {
    let server = server().await?;
    let mut client = Raw::anonymous(&server, "c").await?;
    for text in ["nonsense", "[]", "null", r#"{"type":"strange"}"#] {
        client.text(text).await?;
    }
    client
        .text(&json!({"type": "ping", "x": "y".repeat(1000)}).to_string())
        .await?;
    client.text(r#"{"type":"ping"}"#).await?;
    assert_eq!(client.control().await?, json!({"type": "pong"}));
    client.text(r#"{"type":"refresh_token"}"#).await?;
    let answer = client.control().await?;
    assert_eq!(answer["type"], "reconnection_token");
    let hello = json!({"client_id": "c", "reconnection_token": answer["reconnection_token"]});
    let again = Raw::connect(&server, hello).await?;
    assert_eq!(again.workspace(), client.workspace());
    Ok(())
}

#[tokio::test]
async fn revoking_a_reconnection_token_revokes_its_successors() -> Result<()> {
    let server = server().await?;
    let mut client = Raw::anonymous(&server, "c").await?;
    let first = client.info["reconnection_token"].clone();
    client.text(r#"{"type":"refresh_token"}"#).await?;
    let second = client.control().await?["reconnection_token"].clone();
    // Returns the session id in a token. The server revokes all tokens of a session together. The
    // two tokens may be equal, if the server issued both tokens in the same second.
    let session = |token: &serde_json::Value| -> Result<serde_json::Value> {
        let claims = token.as_str().and_then(|token| token.split('.').nth(1));
        let claims = URL_SAFE_NO_PAD.decode(claims.context("no claims")?)?;
        let claims: serde_json::Value = serde_json::from_slice(&claims)?;
        Ok(claims["urn:hypha:session"].clone())
    };
    assert!(session(&first)?.is_string());
    assert_eq!(session(&first)?, session(&second)?);
    client.ask("revoke_token", json!([first])).await?;
    let hello = json!({"client_id": "c", "reconnection_token": second});
    let end = refused(&server, hello).await?;
    let error = end.error.unwrap_or_default();
    assert!(error.contains("revoked"), "{error}");
    Ok(())
}

#[tokio::test]
async fn shutdown_closes_connections_and_refuses_new_ones() -> Result<()> {
    let server = server().await?;
    let url = server.url().to_owned();
    let mut client = Raw::anonymous(&server, "c").await?;
    let pending = Raw::open(&server, "").await?;
    let goodbye = async {
        let end = client.end().await?;
        client.close().await?;
        anyhow::Ok(end)
    };
    let ((), end) = tokio::join!(server.shutdown(), goodbye);
    let end = end?;
    assert_eq!((end.code, end.error), (1001, None));
    drop(pending);
    let address = url.trim_start_matches("http://");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    Ok(())
}

#[tokio::test]
async fn health_is_reported_over_http() -> Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = server().await?;
    for (path, expected) in [
        ("/health/liveness", "200 OK"),
        ("/health/readiness", "200 OK"),
        ("/health", "200 OK"),
        ("/ws", "400 Bad Request"),
        ("/nowhere", "404 Not Found"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(server.local_addr()).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected}")),
            "{path}: {answer}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn servers_with_different_secrets_refuse_tokens_of_each_other() -> Result<()> {
    let (one, two) = (server().await?, server().await?);
    let client = Raw::anonymous(&one, "c").await?;
    let hello = json!({"client_id": "c", "reconnection_token": client.field("reconnection_token")});
    let end = refused(&two, hello).await?;
    said(
        &end,
        1008,
        "Authentication error: Signature verification failed",
    );
    Ok(())
}

#[tokio::test]
async fn a_token_ends_with_its_ancestors() -> Result<()> {
    let server = server().await?;
    let mut owner = Raw::anonymous(&server, "owner").await?;
    let config = json!({"permission": "admin", "expires_in": 60});
    let token = owner.ask("generate_token", json!([config])).await?;
    let token = token.as_str().context("no token")?.to_owned();
    let mut client = Raw::connect(&server, json!({"client_id": "c", "token": token})).await?;
    assert_eq!(client.info["reconnection_token_life_time"], 60.0);
    let again = |client: &Raw| {
        json!({
            "client_id": "c", "workspace": client.workspace(),
            "reconnection_token": client.field("reconnection_token"),
        })
    };
    let hello = again(&client);
    client.close().await?;
    client = Raw::connect(&server, hello).await?;
    let hello = again(&client);
    client.text(r#"{"type":"refresh_token"}"#).await?;
    let fresh = client.control().await?["reconnection_token"].clone();

    // Requests a child token with a longer lifetime than the reconnection token with which the
    // client has connected.
    let config = json!({"permission": "admin", "expires_in": 172_800});
    let child = client.ask("generate_token", json!([config])).await?;
    let child = child.as_str().context("no token")?.to_owned();
    let parsed = owner.ask("parse_token", json!([child])).await?;
    let end = parsed.get("expires_at").and_then(Value::as_f64);
    let minute = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    assert!(end.context("no end")? <= minute.as_secs_f64() + 60.0);
    // Requests another child token over plain HTTP.
    let url = format!(
        "{}/{}/services/ws/generate_token",
        server.url(),
        client.workspace()
    );
    let made = http().get(url).bearer_auth(&child).send().await?;
    let grandchild: String = made.json().await?;
    let hellos = [
        hello,
        json!({"client_id": "c", "workspace": owner.workspace(), "reconnection_token": fresh}),
        json!({"client_id": "d", "token": child}),
        json!({"client_id": "d", "token": grandchild}),
    ];
    client.close().await?;
    for hello in &hellos {
        Raw::connect(&server, hello.clone()).await?.close().await?;
    }
    owner.ask("revoke_token", json!([token])).await?;
    for hello in hellos {
        let end = refused(&server, hello).await?;
        assert!(end.reason.contains("Token has been revoked"), "{end:?}");
    }
    Ok(())
}
