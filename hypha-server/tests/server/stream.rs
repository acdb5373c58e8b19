//! Tests the RPC transport over HTTP: ownership of a stream, reconnection, and isolation of other
//! clients.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hypha_rpc::Value;
use hypha_server::Server;
use hypha_wire as wire;
use hypha_wire::Message;
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::timeout;

use crate::support::{self, Raw, server, server_with};

const LIMIT: Duration = Duration::from_secs(20);

/// Response to a GET request. The client reads the body piece by piece.
struct Line {
    body: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    read: Vec<u8>,
    info: Value,
}

impl Line {
    async fn open(server: &Server, query: &[(&str, &str)], token: Option<&str>) -> Result<Line> {
        let response = get(server, query, token).await?;
        ensure!(
            response.status() == StatusCode::OK,
            "{}",
            response.text().await?
        );
        let kind = "application/x-msgpack-stream";
        ensure!(response.headers()["content-type"] == kind);
        let mut line = Line {
            body: response.bytes_stream().boxed(),
            read: Vec::new(),
            info: Value::Null,
        };
        let first = line.frame().await?.context("no connection_info")?;
        line.info = wire::from_slice(&first)?;
        ensure!(line.field("type") == "connection_info");
        Ok(line)
    }

    fn field(&self, name: &str) -> &str {
        self.info
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Returns the next frame, or `None` at the end.
    async fn frame(&mut self) -> Result<Option<bytes::Bytes>> {
        loop {
            if let Some((head, rest)) = self.read.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*head) as usize;
                if rest.len() >= length {
                    let frame = bytes::Bytes::copy_from_slice(&rest[..length]);
                    self.read.drain(..4 + length);
                    return Ok(Some(frame));
                }
            }
            match timeout(LIMIT, self.body.next()).await? {
                Some(Ok(piece)) => self.read.extend_from_slice(&piece),
                Some(Err(_)) | None => return Ok(None),
            }
        }
    }

    /// Returns the next frame that is not a ping.
    async fn message(&mut self) -> Result<Message> {
        loop {
            let frame = self.frame().await?.context("the stream has ended")?;
            let message = Message::parse(frame)?;
            if message.kind() != "ping" {
                return Ok(message);
            }
        }
    }
}

async fn get(
    server: &Server,
    query: &[(&str, &str)],
    token: Option<&str>,
) -> Result<reqwest::Response> {
    let mut request = support::http()
        .get(format!("{}/rpc", server.url()))
        .query(query);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    Ok(request.send().await?)
}

async fn post(
    server: &Server,
    address: (&str, &str),
    token: Option<&str>,
    message: serde_json::Value,
) -> Result<StatusCode> {
    let query = [("workspace", address.0), ("client_id", address.1)];
    let mut request = support::http()
        .post(format!("{}/rpc", server.url()))
        .query(&query)
        .body(wire::to_vec(&message)?);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    Ok(request.send().await?.status())
}

/// Creates a workspace with an owner on a WebSocket. Returns the owner and a token for the
/// workspace.
async fn workspace(server: &Server) -> Result<(Raw, String)> {
    let mut owner = Raw::anonymous(server, "owner").await?;
    let token = owner.ask("generate_token", json!([])).await?;
    let token = token.as_str().context("no token")?.to_owned();
    Ok((owner, token))
}

#[tokio::test]
async fn messages_go_both_ways() -> Result<()> {
    let server = server().await?;
    let (mut owner, token) = workspace(&server).await?;
    let home = owner.workspace().to_owned();
    let mut line = Line::open(&server, &[("client_id", "c")], Some(&token)).await?;
    assert_eq!(line.field("workspace"), home);
    let at = (home.as_str(), "c");
    let ok = |status| assert_eq!(status, StatusCode::OK);

    let hello = json!({"type": "hello", "to": "owner", "from": "public/x", "ws": "public"});
    ok(post(&server, at, Some(&token), hello).await?);
    let got = owner.message().await?;
    assert_eq!(got.from(), Some(format!("{home}/c").as_str()));
    assert_eq!(got.ws(), Some(home.as_str()));
    owner.send(json!({"type": "hi", "to": "c"}), None).await?;
    assert_eq!(line.message().await?.kind(), "hi");

    // Responses to control messages arrive on the stream.
    ok(post(&server, at, Some(&token), json!({"type": "ping"})).await?);
    assert_eq!(line.message().await?.kind(), "pong");
    ok(post(&server, at, Some(&token), json!({"type": "refresh_token"})).await?);
    assert_eq!(line.message().await?.kind(), "reconnection_token");
    // A call to a missing client is rejected.
    let call = json!({"type": "method", "to": "nobody", "method": "x", "session": "s"});
    ok(post(&server, at, Some(&token), call).await?);
    assert_eq!(line.message().await?.method(), Some("s.reject"));
    Ok(())
}

#[tokio::test]
async fn a_stream_accepts_messages_of_its_user_only() -> Result<()> {
    let server = server().await?;
    let (mut owner, token) = workspace(&server).await?;
    let (mut stranger, foreign) = workspace(&server).await?;
    let home = owner.workspace().to_owned();
    let _line = Line::open(&server, &[("client_id", "c")], Some(&token)).await?;
    let message = json!({"type": "hello", "to": "owner"});
    let at = (home.as_str(), "c");
    for (token, expected) in [
        (None, StatusCode::FORBIDDEN),
        (Some(foreign.as_str()), StatusCode::FORBIDDEN),
        (Some("garbage"), StatusCode::UNAUTHORIZED),
        (Some(token.as_str()), StatusCode::OK),
    ] {
        let status = post(&server, at, token, message.clone()).await?;
        assert_eq!(status, expected, "{token:?}");
    }
    let nobody = post(&server, (&home, "d"), Some(&token), message.clone()).await?;
    assert_eq!(nobody, StatusCode::BAD_REQUEST);

    // The token of the stream is valid until it is revoked.
    owner.ask("revoke_token", json!([token])).await?;
    let status = post(&server, at, Some(&token), message).await?;
    assert_eq!(status, StatusCode::UNAUTHORIZED);

    // A token for a special purpose is refused for connecting.
    let config = json!([{"extra_scopes": ["file:download"]}]);
    let special = stranger.ask("generate_token", config).await?;
    let refused = get(&server, &[("client_id", "e")], special.as_str()).await?;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    Ok(())
}

#[tokio::test]
async fn a_returning_client_gets_the_messages_sent_meanwhile() -> Result<()> {
    let server = server_with(|limits| limits.stream_grace = LIMIT).await?;
    let (mut owner, token) = workspace(&server).await?;
    let line = Line::open(&server, &[("client_id", "c")], Some(&token)).await?;
    let reconnection = line.field("reconnection_token").to_owned();
    drop(line);
    for kind in ["one", "two"] {
        owner.send(json!({"type": kind, "to": "c"}), None).await?;
    }
    assert!(owner.is_quiet().await);
    let again = [
        ("client_id", "c"),
        ("reconnection_token", reconnection.as_str()),
    ];
    let mut line = Line::open(&server, &again, None).await?;
    // The message may have been in transit to the former stream when that stream broke.
    let first = line.message().await?;
    if first.kind() == "one" {
        assert_eq!(line.message().await?.kind(), "two");
    }

    // A second stream of the same client ends the first stream.
    let second = Line::open(&server, &[("client_id", "c")], Some(&token)).await?;
    while line.frame().await?.is_some() {}
    // A reconnection token is valid only for its client.
    let other = [("client_id", "d"), again[1]];
    let refused = get(&server, &other, None).await?;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.text().await?.contains("Invalid reconnection token"));
    drop(second);
    Ok(())
}

#[tokio::test]
async fn a_disconnected_client_is_removed_after_the_grace_period() -> Result<()> {
    let server = server_with(|limits| limits.stream_grace = Duration::from_millis(100)).await?;
    let (mut owner, token) = workspace(&server).await?;
    let home = owner.workspace().to_owned();
    owner
        .ask("subscribe", json!(["client_disconnected"]))
        .await?;
    let line = Line::open(&server, &[("client_id", "c")], Some(&token)).await?;
    drop(line);
    let event = owner.message().await?;
    assert_eq!(event.kind(), "client_disconnected");
    let message = json!({"type": "hello", "to": "owner"});
    let status = post(&server, (&home, "c"), Some(&token), message).await?;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    Ok(())
}

#[tokio::test]
async fn both_transports_share_the_addresses() -> Result<()> {
    let limit = Duration::from_millis(300);
    let server = server_with(|limits| limits.incumbent_timeout = limit).await?;
    let (owner, token) = workspace(&server).await?;
    let connect = hypha_rpc::connect(server.url()).token(&token);
    let living = connect.client_id("c").await?;
    // The client responds to the ping, so it keeps its id.
    let refused = get(&server, &[("client_id", "c")], Some(&token)).await?;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert!(living.manager().await?.echo(Value::from(1)).await.is_ok());

    // A WebSocket of the same client displaces a stream.
    let mut line = Line::open(&server, &[("client_id", "d")], Some(&token)).await?;
    let hello = json!({
        "client_id": "d", "reconnection_token": line.field("reconnection_token"),
    });
    let socket = Raw::connect(&server, hello).await?;
    while line.frame().await?.is_some() {}
    let message = json!({"type": "hello", "to": "owner"});
    let gone = post(&server, (owner.workspace(), "d"), Some(&token), message).await?;
    assert_eq!(gone, StatusCode::BAD_REQUEST);
    drop(socket);
    Ok(())
}

#[tokio::test]
async fn an_anonymous_client_is_identified_by_its_ip_address() -> Result<()> {
    let server = server().await?;
    let line = Line::open(&server, &[("client_id", "victim")], None).await?;
    let own = line.field("workspace").to_owned();
    let message = wire::to_vec(&json!({"type": "event", "to": format!("{own}/victim")}))?;
    let post = async |from: [u8; 4]| {
        let http = support::http_reader(|client| client.local_address(IpAddr::from(from)));
        let query = [("workspace", own.as_str()), ("client_id", "victim")];
        let request = http.post(format!("{}/rpc", server.url())).query(&query);
        anyhow::Ok(request.body(message.clone()).send().await?.status())
    };
    assert_eq!(post([127, 0, 0, 1]).await?, StatusCode::OK);
    // The client's address is not secret: every client that it calls receives it.
    assert_eq!(post([127, 0, 0, 2]).await?, StatusCode::FORBIDDEN);
    Ok(())
}

#[tokio::test]
async fn anonymous_clients_have_a_workspace_each_and_keep_their_ids() -> Result<()> {
    let limit = Duration::from_millis(300);
    let server = server_with(|limits| limits.incumbent_timeout = limit).await?;
    let line = Line::open(
        &server,
        &[("client_id", "a"), ("workspace", "public")],
        None,
    )
    .await?;
    let own = line.field("workspace").to_owned();
    assert!(own.starts_with("ws-user-anonymouz-http-"), "{own}");
    let other = Line::open(&server, &[("client_id", "a")], None).await?;
    assert_ne!(other.field("workspace"), own);
    let theirs = [("client_id", "b"), ("workspace", own.as_str())];
    let theirs = get(&server, &theirs, None).await?;
    assert_eq!(theirs.status(), StatusCode::FORBIDDEN);
    let elsewhere = get(
        &server,
        &[("client_id", "b"), ("workspace", "ws-user-root")],
        None,
    )
    .await?;
    assert_eq!(elsewhere.status(), StatusCode::FORBIDDEN);
    let nowhere = get(
        &server,
        &[("client_id", "b"), ("workspace", "ws-none")],
        None,
    )
    .await?;
    assert_eq!(nowhere.status(), StatusCode::FORBIDDEN);
    let bad = get(&server, &[("client_id", "a/b")], None).await?;
    assert_eq!(bad.status(), StatusCode::FORBIDDEN);
    Ok(())
}

#[tokio::test]
async fn posts_that_are_too_many_or_too_large_are_refused() -> Result<()> {
    let server = server_with(|limits| {
        limits.messages_per_second = 0.001;
        limits.message_burst = 3.0;
        limits.frame_bytes = 1024;
    })
    .await?;
    let line = Line::open(&server, &[("client_id", "c")], None).await?;
    let workspace = line.field("workspace").to_owned();
    let at = (workspace.as_str(), "c");
    let big = json!({"type": "x", "to": "c", "data": "x".repeat(2000)});
    assert_eq!(
        post(&server, at, None, big).await?,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(post(&server, at, None, json!({"type": "ping"})).await?);
    }
    assert_eq!(
        statuses[3..],
        [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS]
    );
    Ok(())
}

#[tokio::test]
async fn a_token_for_one_workspace_opens_no_other() -> Result<()> {
    let server = crate::support::server().await?;
    let mut owner = crate::support::Raw::anonymous(&server, "owner").await?;
    let token = owner.ask("generate_token", json!([{}])).await?;
    let token = token.as_str().unwrap_or_default().to_owned();
    let parsed = owner.ask("parse_token", json!([token])).await?;
    let id = parsed.get("id").and_then(hypha_rpc::Value::as_str);
    // Personal workspace of the random user in the token.
    let own = format!("ws-user-{}", id.unwrap_or_default());
    let url = format!("{}/rpc?client_id=c&workspace={own}", server.url());
    let refused = crate::support::http().get(url).bearer_auth(&token);
    let refused = refused.send().await?;
    assert!(refused.status().is_client_error(), "{}", refused.status());
    let text = refused.text().await?;
    assert!(
        text.contains("does not match the specified workspace"),
        "{text}"
    );
    Ok(())
}
