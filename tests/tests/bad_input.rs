//! Tests how servers react to a client that violates the protocol.
//!
//! Each case runs on both servers. If `hypha-server` intentionally differs from a defect of the
//! Python server, the expectations differ, and a comment explains the difference.

use std::time::Duration;

use hypha_rpc_tests::raw::{Event, RawClient};
use hypha_rpc_tests::servers::{Kind, Server};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

type Outcome = anyhow::Result<()>;

/// Maximum size of a frame that a server accepts, in bytes.
const FRAME_LIMIT: usize = 16 * 1024 * 1024;
/// Maximum length of the reason in a close frame, in bytes.
const REASON_LIMIT: usize = 123;

/// End of a connection. Contains the error message, if the server sent an error message, and the
/// close frame.
#[derive(Debug)]
struct End {
    error: Option<String>,
    code: u16,
    reason: String,
}

/// Receives until the connection ends. Returns the end of the connection.
async fn end_of(client: &mut RawClient) -> anyhow::Result<End> {
    let mut error = None;
    loop {
        match client.next().await? {
            Event::Text(text) => {
                let message: Value = serde_json::from_str(&text)?;
                anyhow::ensure!(message["type"] == "error", "not an error: {text}");
                error = message["message"].as_str().map(str::to_owned);
            }
            Event::Binary(_) => {}
            Event::Closed(code, reason) => {
                return Ok(End {
                    error,
                    code,
                    reason,
                });
            }
        }
    }
}

impl End {
    /// Asserts that the error message contains `text`. Also asserts that the close frame has the
    /// code `code` and contains the same message.
    #[track_caller]
    fn expect(&self, code: u16, text: &str) {
        let error = self.error.as_deref().unwrap_or_default();
        assert!(
            error.contains(text),
            "the error should contain {text:?}: {self:?}"
        );
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.reason.len() <= REASON_LIMIT, "{self:?}");
        let repeated = error.starts_with(&self.reason) && !self.reason.is_empty();
        assert!(repeated, "the reason should repeat the error: {self:?}");
    }

    /// Asserts that the connection ended without an error message or close frame.
    #[track_caller]
    fn expect_drop(&self) {
        assert_eq!((self.error.as_deref(), self.code), (None, 1006), "{self:?}");
    }
}

/// Opens a connection, sends one text frame, and returns the end of the connection.
async fn after_first_text(server: &Server, text: &str) -> anyhow::Result<End> {
    let mut client = RawClient::open(&server.url, "").await?;
    client.send_text(text).await?;
    end_of(&mut client).await
}

async fn first_frame_is_not_json(server: &Server) -> Outcome {
    let end = after_first_text(server, "hello {").await?;
    end.expect(1003, "Failed to decode authentication information");
    Ok(())
}

async fn first_frame_is_not_an_object(server: &Server) -> Outcome {
    for text in ["[1, 2]", "\"text\"", "null", "17"] {
        let end = after_first_text(server, text).await?;
        match server.kind {
            Kind::Python => end.expect_drop(),
            Kind::Ours => end.expect(1003, "authentication"),
        }
    }
    Ok(())
}

async fn first_frame_is_binary(server: &Server) -> Outcome {
    let mut client = RawClient::open(&server.url, "").await?;
    client.send_binary(vec![0x81, 0xa1, b'a', 0x01]).await?;
    let end = end_of(&mut client).await?;
    match server.kind {
        Kind::Python => end.expect_drop(),
        Kind::Ours => end.expect(1003, "authentication"),
    }
    Ok(())
}

async fn no_first_frame(server: &Server) -> Outcome {
    let mut client = RawClient::open(&server.url, "").await?;
    let start = Instant::now();
    end_of(&mut client)
        .await?
        .expect(1008, "Authentication payload timeout");
    let waited = start.elapsed();
    let allowed = Duration::from_secs(4)..Duration::from_secs(15);
    assert!(allowed.contains(&waited), "five seconds, not {waited:?}");
    Ok(())
}

async fn peer_disconnects_before_the_first_frame(server: &Server) -> Outcome {
    RawClient::open(&server.url, "").await?.close().await?;
    drop(RawClient::open(&server.url, "").await?);
    let (mut client, _) = RawClient::connect(&server.url, "after-the-others").await?;
    client.ping().await?;
    Ok(())
}

async fn token_is_invalid(server: &Server) -> Outcome {
    // The test created this token, so the signature of the token does not match the secret of the
    // server.
    let foreign = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
        eyJzdWIiOiJtYWxsb3J5IiwiZXhwIjo0MTAyNDQ0ODAwfQ.\
        c2lnbmVkLWJ5LW5vYm9keS1hdC1hbGwtcmVhbGx5LW5vdA";
    for token in ["nonsense", "a.b.c", foreign] {
        for key in ["token", "reconnection_token"] {
            let first = json!({ "client_id": "intruder", key: token }).to_string();
            after_first_text(server, &first)
                .await?
                .expect(1008, "Authentication error: ");
        }
    }
    Ok(())
}

async fn workspace_does_not_exist(server: &Server) -> Outcome {
    let first = json!({ "client_id": "stranger", "workspace": "no-such-workspace" }).to_string();
    let end = after_first_text(server, &first).await?;
    end.expect(1001, "Failed to establish connection: ");
    end.expect(
        1001,
        "Workspace no-such-workspace does not exist or is not accessible",
    );
    Ok(())
}

async fn workspace_of_another_user(server: &Server) -> Outcome {
    // Keep the owner connected, because the workspace exists only while its owner is connected.
    let (_owner, info) = RawClient::connect(&server.url, "owner").await?;
    for workspace in ["public", info.text("workspace")] {
        let first = json!({ "client_id": "stranger", "workspace": workspace }).to_string();
        let end = after_first_text(server, &first).await?;
        end.expect(
            1001,
            &format!("Permission denied for workspace: {workspace}"),
        );
    }
    Ok(())
}

async fn long_reasons_are_truncated(server: &Server) -> Outcome {
    let workspace = "ř".repeat(100);
    let first = json!({ "client_id": "stranger", "workspace": workspace }).to_string();
    if server.kind == Kind::Ours {
        after_first_text(server, &first)
            .await?
            // A text contains the first 128 bytes of a long name.
            .expect(1001, &"ř".repeat(64));
        return Ok(());
    }
    // The Python server tries to send a close frame with a reason that is too long. The attempt
    // fails, and the server does not close the socket.
    let mut client = RawClient::open(&server.url, "").await?;
    client.send_text(&first).await?;
    let Event::Text(text) = client.next().await? else {
        anyhow::bail!("no error frame")
    };
    let error: Value = serde_json::from_str(&text)?;
    assert!(
        error["message"]
            .as_str()
            .unwrap_or_default()
            .contains(&workspace),
        "{text}"
    );
    Ok(())
}

async fn client_id_is_invalid(server: &Server) -> Outcome {
    let slash = json!({ "client_id": "a/b" }).to_string();
    let end = after_first_text(server, &slash).await?;
    end.expect(
        1001,
        "Failed to establish connection: Invalid client id: a/b",
    );
    let empty = json!({ "client_id": "" }).to_string();
    let end = after_first_text(server, &empty).await?;
    end.expect(1001, "Failed to establish connection: ");
    Ok(())
}

async fn credentials_in_the_url(server: &Server) -> Outcome {
    for query in [
        "?client_id=a",
        "?workspace=public",
        "?token=t",
        "?reconnection_token=t",
    ] {
        let mut client = match RawClient::open(&server.url, query).await {
            Ok(client) => client,
            // `hypha-server` may reject the WebSocket upgrade instead of closing the WebSocket.
            Err(error) if server.kind == Kind::Ours => {
                assert!(error.to_string().contains("400"), "{query}: {error:#}");
                continue;
            }
            Err(error) => return Err(error),
        };
        let end = end_of(&mut client).await?;
        assert_eq!(
            (end.error.as_deref(), end.code),
            (None, 1008),
            "{query}: {end:?}"
        );
        assert!(!end.reason.is_empty(), "the reason tells what to do");
    }
    Ok(())
}

/// Returns frames that are not valid RPC messages, and messages without a receiver.
fn undeliverable() -> Vec<Vec<u8>> {
    let pack = |value: Value| rmp_serde::to_vec_named(&value).unwrap_or_default();
    vec![
        vec![],
        vec![0xc1],
        b"plain text, not msgpack".to_vec(),
        // Headers of a map, an array and a string. Each header declares four billion entries or
        // bytes, but no data follows.
        vec![0xdf, 0xff, 0xff, 0xff, 0xff],
        vec![0xdd, 0xff, 0xff, 0xff, 0xff],
        vec![0xdb, 0xff, 0xff, 0xff, 0xff],
        // A truncated map.
        vec![0x82, 0xa2, b't', b'o'],
        // 100,000 nested arrays.
        vec![0x91; 100_000],
        pack(json!(null)),
        pack(json!([1, 2, 3])),
        pack(json!("to")),
        pack(json!({})),
        pack(json!({ "type": "method", "method": "services.x.y" })),
        pack(json!({ "type": "method", "to": 17 })),
        pack(json!({ "type": "method", "to": null })),
        pack(json!({ "type": "method", "to": "" })),
        pack(json!({ "type": "method", "to": "/" })),
        pack(json!({ "type": "method", "to": "a/b/c" })),
        // The keys of the map are not strings.
        vec![0x81, 0x01, 0x02],
    ]
}

async fn garbage_frames_are_ignored(server: &Server) -> Outcome {
    let (mut client, _) = RawClient::connect(&server.url, "noisy").await?;
    for frame in undeliverable() {
        let shown = format!("{:?}", &frame[..frame.len().min(40)]);
        client.send_binary(frame).await?;
        let answers = client
            .ping()
            .await
            .map_err(|error| error.context(shown.clone()))?;
        assert!(answers.is_empty(), "{shown} was answered: {answers:?}");
    }
    Ok(())
}

async fn garbage_does_not_disturb_others(server: &Server) -> Outcome {
    let (mut listener, info) = RawClient::connect(&server.url, "listener").await?;
    let (mut noisy, _) = RawClient::connect(&server.url, "noisy").await?;
    for frame in undeliverable() {
        noisy.send_binary(frame).await?;
    }
    let greeting = json!({ "type": "greeting", "to": info.address() });
    noisy.send_message(&greeting, None).await?;
    let (main, _) = listener.next_message().await?;
    assert_eq!(main["type"], "greeting");
    Ok(())
}

async fn unknown_control_messages_are_ignored(server: &Server) -> Outcome {
    let (mut client, _) = RawClient::connect(&server.url, "chatty").await?;
    let long = json!({ "type": "ping", "padding": "x".repeat(1000) }).to_string();
    for text in [
        "",
        "hello {",
        "{}",
        r#"{"type":"unknown"}"#,
        r#"{"type":17}"#,
        &long,
    ] {
        client.send_text(text).await?;
        client
            .ping()
            .await
            .map_err(|error| error.context(format!("after {text:?}")))?;
    }
    Ok(())
}

async fn control_messages_that_are_not_objects(server: &Server) -> Outcome {
    for text in ["[1]", "\"ping\"", "null", "17"] {
        let (mut client, _) = RawClient::connect(&server.url, "odd").await?;
        client.send_text(text).await?;
        match server.kind {
            // The Python server closes the connection instead.
            Kind::Python => assert_eq!(end_of(&mut client).await?.code, 1001, "{text}"),
            Kind::Ours => {
                client.ping().await?;
            }
        }
    }
    Ok(())
}

async fn largest_frame_is_accepted(server: &Server) -> Outcome {
    let (mut client, info) = RawClient::connect(&server.url, "large").await?;
    let greeting = json!({ "type": "greeting", "to": info.address() });
    let mut frame = rmp_serde::to_vec_named(&greeting)?;
    // The server forwards all bytes after the first segment unchanged.
    frame.resize(FRAME_LIMIT, 0xc0);
    client.send_binary(frame).await?;
    client.ping().await.map(drop)
}

async fn oversized_frame_closes_the_connection(server: &Server) -> Outcome {
    let (mut bystander, _) = RawClient::connect(&server.url, "bystander").await?;
    let (mut client, _) = RawClient::connect(&server.url, "oversized").await?;
    // Ignore a send error, because the server may stop reading before the frame is complete.
    let _ = client.send_binary(vec![0xc0; FRAME_LIMIT + 1]).await;
    assert_eq!(end_of(&mut client).await?.code, 1009);
    bystander.ping().await.map(drop)
}

/// Calls `to` until the server responds that `to` is not connected. Returns this rejection. Returns
/// `None` if no rejection arrives within `limit`.
async fn rejection(
    caller: &mut RawClient,
    to: &str,
    limit: Duration,
) -> anyhow::Result<Option<(Value, Value)>> {
    let deadline = Instant::now() + limit;
    for attempt in 0.. {
        caller
            .send_call(
                to,
                "services.conformance.echo",
                &format!("session{attempt}"),
            )
            .await?;
        if let Some((main, extra)) = caller.ping().await?.into_iter().next() {
            let method = main["method"].as_str().unwrap_or_default();
            assert!(
                method.starts_with("session") && method.ends_with(".reject"),
                "{main}"
            );
            return Ok(Some((main, extra.unwrap_or_default())));
        }
        if Instant::now() > deadline {
            break;
        }
        // The server may process this call before it notices that the peer has disconnected.
        sleep(Duration::from_millis(50)).await;
    }
    Ok(None)
}

/// Calls a peer that has disconnected. Returns the address of the peer, and the rejection.
async fn rejection_of_a_disconnected_peer(
    server: &Server,
    caller: &mut RawClient,
) -> anyhow::Result<(String, Value, Value)> {
    // The Python server may process the connection event of a peer late. If the peer has already
    // disconnected by then, the server treats the peer as connected. In this case, repeat the call
    // with another peer.
    let attempts = if server.kind == Kind::Python { 10 } else { 1 };
    for attempt in 0..attempts {
        let (mut peer, info) = RawClient::connect(&server.url, &format!("gone{attempt}")).await?;
        let address = info.address();
        caller
            .send_message(&json!({ "type": "greeting", "to": address }), None)
            .await?;
        assert_eq!(peer.next_message().await?.0["type"], "greeting");
        peer.close().await?;
        let limit = Duration::from_secs(3);
        if let Some((main, extra)) = rejection(caller, &address, limit).await? {
            return Ok((address, main, extra));
        }
    }
    anyhow::bail!("calls of a peer that has left are not answered")
}

async fn call_of_a_disconnected_peer(server: &Server) -> Outcome {
    let (mut caller, own) = RawClient::connect(&server.url, "caller").await?;
    let (address, main, extra) = rejection_of_a_disconnected_peer(server, &mut caller).await?;
    assert_eq!(main["type"], "method");
    // The client under test accepts a response only from the address that it has called.
    assert_eq!(main["from"], json!(address));
    if server.kind == Kind::Ours {
        // The Python server sends its response to the `from` of the call. This call had no `from`.
        assert_eq!(main["to"], json!(own.address()));
    }
    let error = &extra["args"][0];
    assert_eq!(error["_rtype"], "error");
    assert_eq!(
        error["_rvalue"],
        format!("Target peer {address} is not connected")
    );
    // The connection still works.
    caller
        .send_message(&json!({ "type": "note", "to": own.address() }), None)
        .await?;
    assert_eq!(caller.next_message().await?.0["type"], "note");
    Ok(())
}

async fn call_of_an_unknown_peer(server: &Server) -> Outcome {
    let (mut caller, own) = RawClient::connect(&server.url, "caller").await?;
    let nobody = format!("{}/nobody", own.text("workspace"));
    match server.kind {
        // The Python server does not respond, so the caller times out.
        Kind::Python => {
            caller.send_call(&nobody, "services.x.y", "session").await?;
            assert_eq!(caller.ping().await?, []);
        }
        Kind::Ours => {
            for to in [nobody.as_str(), "nobody", "no-such-workspace/nobody"] {
                let absolute = if to.contains('/') { to } else { &nobody };
                let rejected = rejection(&mut caller, to, Duration::ZERO).await?;
                let Some((main, extra)) = rejected else {
                    anyhow::bail!("{to}: no answer")
                };
                assert_eq!(main["from"], json!(absolute));
                let text = format!("Target peer {absolute} is not connected");
                assert_eq!(extra["args"][0]["_rvalue"], json!(text));
            }
        }
    }
    Ok(())
}

async fn message_without_session_to_a_disconnected_peer(server: &Server) -> Outcome {
    let (mut caller, _) = RawClient::connect(&server.url, "caller").await?;
    // The rejection of a call shows that the server has noticed the disconnect of the peer.
    let (address, ..) = rejection_of_a_disconnected_peer(server, &mut caller).await?;
    let main = json!({ "type": "method", "to": address, "method": "services.x.y" });
    caller
        .send_message(&main, Some(&json!({ "args": [1] })))
        .await?;
    // The message has no session, so the server sends no response.
    assert_eq!(caller.ping().await?, []);
    Ok(())
}

async fn forged_sender_is_overwritten(server: &Server) -> Outcome {
    let (mut victim, victim_info) = RawClient::connect(&server.url, "victim").await?;
    let (mut forger, info) = RawClient::connect(&server.url, "forger").await?;
    let main = json!({
        "type": "greeting",
        "to": victim_info.address(),
        "from": format!("*/{}", info.text("manager_id")),
        "ws": victim_info.text("workspace"),
        "user": { "id": "root", "roles": ["admin"] },
        "unknown": { "key": [1, 2] },
    });
    forger.send_message(&main, None).await?;
    let (received, _) = victim.next_message().await?;
    assert_eq!(received["from"], json!(info.address()));
    assert_eq!(received["ws"], json!(info.text("workspace")));
    assert_ne!(received["user"]["id"], "root");
    assert_eq!(received["unknown"], json!({ "key": [1, 2] }));
    Ok(())
}

macro_rules! against_both_servers {
    ($($name:ident,)*) => {
        mod python_server {
            use super::*;
            $(#[tokio::test] async fn $name() {
                let Some(server) = Server::shared(Kind::Python) else { return };
                // Panic, so that the output of the server is printed when the server is dropped.
                if let Err(error) = super::$name(&server).await {
                    panic!("{error:#}");
                }
            })*
        }
        mod our_server {
            use super::*;
            $(#[tokio::test] async fn $name() {
                let Some(server) = Server::shared(Kind::Ours) else { return };
                // Panic, so that the output of the server is printed when the server is dropped.
                if let Err(error) = super::$name(&server).await {
                    panic!("{error:#}");
                }
            })*
        }
    };
}

against_both_servers! {
    first_frame_is_not_json,
    first_frame_is_not_an_object,
    first_frame_is_binary,
    no_first_frame,
    peer_disconnects_before_the_first_frame,
    token_is_invalid,
    workspace_does_not_exist,
    workspace_of_another_user,
    long_reasons_are_truncated,
    client_id_is_invalid,
    credentials_in_the_url,
    garbage_frames_are_ignored,
    garbage_does_not_disturb_others,
    unknown_control_messages_are_ignored,
    control_messages_that_are_not_objects,
    largest_frame_is_accepted,
    oversized_frame_closes_the_connection,
    call_of_a_disconnected_peer,
    call_of_an_unknown_peer,
    message_without_session_to_a_disconnected_peer,
    forged_sender_is_overwritten,
}
