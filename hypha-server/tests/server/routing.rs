//! Tests the routing of messages, and the sender that the server writes into each message.

use std::time::Duration;

use anyhow::{Context, Result};
use hypha_rpc::Value;
use hypha_wire::Message;
use serde_json::json;

use crate::support::{Raw, server, server_with};

fn main_of(message: &Message) -> Result<serde_json::Value> {
    Ok(Value::Map(message.main()?).to_json())
}

#[tokio::test]
async fn the_server_stamps_the_sender_and_forwards_the_rest() -> Result<()> {
    let server = server().await?;
    let mut alice = Raw::anonymous(&server, "alice").await?;
    let mut bob = Raw::anonymous(&server, "bob").await?;
    let main = json!({
        "type": "method", "to": bob.address(), "method": "a.b", "session": "s", "extra": [1, "x"],
        "from": "ws-user-root/root", "ws": "ws-user-root", "user": {"id": "root"},
    });
    alice.send(main, Some(json!({"args": [7]}))).await?;
    let message = bob.message().await?;
    let main = main_of(&message)?;
    assert_eq!(main["from"], json!(alice.address()));
    assert_eq!(main["to"], json!(bob.address()));
    assert_eq!(main["ws"], json!(alice.workspace()));
    assert_eq!(main["user"], alice.info["user"]);
    assert_eq!(
        (&main["method"], &main["session"]),
        (&json!("a.b"), &json!("s"))
    );
    assert_eq!(main["extra"], json!([1, "x"]));
    assert_eq!(
        message.extra_raw(),
        hypha_wire::to_vec(&json!({"args": [7]}))?
    );
    Ok(())
}

#[tokio::test]
async fn an_address_without_a_workspace_is_in_the_workspace_of_the_sender() -> Result<()> {
    let server = server().await?;
    let mut alice = Raw::anonymous(&server, "alice").await?;
    let mut bob = alice.colleague(&server, "bob", "read_write").await?;
    let mut stranger = Raw::anonymous(&server, "bob").await?;
    for number in 0..100 {
        alice
            .send(json!({"type": "n", "to": "bob", "number": number}), None)
            .await?;
    }
    for number in 0..100 {
        let main = main_of(&bob.message().await?)?;
        assert_eq!(main["number"], json!(number), "messages stay in order");
        assert_eq!(main["to"], json!(bob.address()));
    }
    assert!(stranger.is_quiet().await);
    Ok(())
}

#[tokio::test]
async fn a_call_to_a_disconnected_peer_is_rejected_immediately() -> Result<()> {
    let server = server().await?;
    let mut alice = Raw::anonymous(&server, "alice").await?;
    let bob = Raw::anonymous(&server, "bob").await?;
    let (gone, never) = (bob.address(), "ws-nowhere/nobody".to_owned());
    let near = format!("{}/nobody", alice.workspace());
    bob.close().await?;
    while server.stats().connections_open > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for (to, absolute) in [
        (&gone, &gone),
        (&never, &never),
        (&"nobody".to_owned(), &near),
    ] {
        let main = json!({"type": "method", "to": to, "method": "services.x.y", "session": "S1"});
        alice.send(main, None).await?;
        let message = alice.message().await?;
        assert_eq!(message.kind(), "method");
        assert_eq!(message.method(), Some("S1.reject"));
        assert_eq!(message.from(), Some(absolute.as_str()));
        assert_eq!(message.to(), Some(alice.address().as_str()));
        let error = message
            .extra()?
            .args
            .get::<Value>(0)
            .context("no argument")??;
        let expected = json!({
            "_rtype": "error", "_rvalue": format!("Target peer {absolute} is not connected"),
            "_rtrace": "",
        });
        assert_eq!(error.to_json(), expected);
    }
    // This message has no session, so it is not rejected.
    alice
        .send(
            json!({"type": "method", "to": gone, "method": "services.x.y"}),
            None,
        )
        .await?;
    assert!(alice.is_quiet().await);
    assert_eq!(
        (
            server.stats().rejected_absent,
            server.stats().dropped_absent
        ),
        (3, 1)
    );
    Ok(())
}

#[tokio::test]
async fn broadcasts_reach_subscribers_of_the_own_workspace_only() -> Result<()> {
    let server = server().await?;
    let mut alice = Raw::anonymous(&server, "alice").await?;
    let mut bob = alice.colleague(&server, "bob", "read_write").await?;
    let mut deaf = alice.colleague(&server, "deaf", "read_write").await?;
    let mut stranger = Raw::anonymous(&server, "stranger").await?;
    for client in [&mut alice, &mut bob, &mut stranger] {
        assert_eq!(
            client.ask("subscribe", json!([["news", "more"]])).await?,
            Value::Bool(true)
        );
    }
    alice
        .send(json!({"type": "news", "to": "*", "data": 1}), None)
        .await?;
    for client in [&mut alice, &mut bob] {
        let main = main_of(&client.message().await?)?;
        assert_eq!((&main["type"], &main["data"]), (&json!("news"), &json!(1)));
        assert!(main["from"].is_string(), "the sender is named: {main}");
    }
    assert!(alice.is_quiet().await);
    assert!(deaf.is_quiet().await);
    assert!(stranger.is_quiet().await);

    bob.ask("unsubscribe", json!(["news"])).await?;
    alice.send(json!({"type": "news", "to": "*"}), None).await?;
    alice.message().await?;
    assert!(alice.is_quiet().await);
    assert!(bob.is_quiet().await);

    // Broadcasts to another workspace are refused, with or without a session.
    let everyone = format!("{}/*", alice.workspace());
    stranger
        .send(json!({"type": "news", "to": everyone}), None)
        .await?;
    stranger
        .send(
            json!({"type": "news", "to": everyone, "session": "S"}),
            None,
        )
        .await?;
    assert_eq!(stranger.message().await?.method(), Some("S.reject"));
    assert!(alice.is_quiet().await);
    assert!(
        stranger
            .ask("subscribe", json!([format!("{}/x", alice.workspace())]))
            .await
            .is_err()
    );
    Ok(())
}

#[tokio::test]
async fn readers_may_call_but_not_broadcast() -> Result<()> {
    let server = server().await?;
    let mut alice = Raw::anonymous(&server, "alice").await?;
    alice.ask("subscribe", json!(["news"])).await?;
    let mut reader = alice.colleague(&server, "reader", "read").await?;
    reader
        .send(json!({"type": "news", "to": "*", "session": "S"}), None)
        .await?;
    let answer = reader.message().await?;
    assert_eq!(answer.method(), Some("S.reject"));
    reader
        .send(
            json!({"type": "news", "to": "alice", "data": "direct"}),
            None,
        )
        .await?;
    assert_eq!(main_of(&alice.message().await?)?["data"], "direct");
    assert!(alice.is_quiet().await);
    assert!(reader.ask("echo", json!([1])).await.is_err());
    Ok(())
}

#[tokio::test]
async fn garbage_is_ignored_and_counted() -> Result<()> {
    let server = server().await?;
    let mut client = Raw::anonymous(&server, "c").await?;
    for garbage in [
        vec![],
        vec![0xc1],
        vec![0x91, 0x01],
        vec![0x80],
        b"hello".to_vec(),
    ] {
        client.binary(garbage).await?;
    }
    assert_eq!(
        client.ask("echo", json!(["still here"])).await?,
        Value::from("still here")
    );
    assert_eq!(server.stats().dropped_garbage, 5);
    // The address is longer than any valid address. If it were accepted, it would be stored as a
    // partner until the client disconnects.
    let long = json!({"type": "method", "to": "x".repeat(2000), "method": "m", "session": "s"});
    client.send(long, None).await?;
    client.ask("echo", json!(["still here"])).await?;
    assert_eq!(server.stats().dropped_garbage, 6);
    Ok(())
}

#[tokio::test]
async fn a_stalled_reader_is_disconnected_and_delays_only_its_senders() -> Result<()> {
    let server = server_with(|limits| {
        limits.stall_timeout = Duration::from_millis(500);
        limits.message_burst = 1e6;
        limits.queue_bytes = 1 << 20;
    })
    .await?;
    let mut alice = Raw::anonymous(&server, "alice").await?;
    let deaf = Raw::anonymous(&server, "deaf").await?;
    let mut bob = Raw::anonymous(&server, "bob").await?;
    let to = deaf.address();
    let sending = tokio::spawn(async move {
        let payload = "x".repeat(1 << 20);
        let mut sent = 0;
        // Together, the messages are larger than any socket buffer. Each message is delivered or
        // rejected in the end.
        for session in 0..64 {
            let main = json!({
                "type": "n", "to": to, "session": format!("S{session}"), "data": payload,
            });
            alice.send(main, None).await?;
            sent += 1;
        }
        let refused = alice.answer().await?;
        anyhow::Ok((sent, refused.method().map(str::to_owned)))
    });
    // Other clients are not delayed.
    for _ in 0..20 {
        bob.ask("echo", json!([1])).await?;
    }
    let (sent, refused) = tokio::time::timeout(Duration::from_secs(20), sending).await???;
    assert_eq!(sent, 64);
    assert!(refused.is_some_and(|method| method.ends_with(".reject")));
    assert_eq!(server.stats().closed_stalled, 1);
    drop(deaf);
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_does_not_read_is_disconnected() -> Result<()> {
    let server = server_with(|limits| {
        limits.deliver_timeout = Duration::from_millis(300);
        limits.stall_timeout = Duration::from_secs(3600);
        limits.queue_bytes = 1 << 20;
    })
    .await?;
    let mut alice = Raw::anonymous(&server, "alice").await?;
    let deaf = Raw::anonymous(&server, "deaf").await?;
    let payload = "x".repeat(1 << 20);
    // Together, the messages are larger than any socket buffer.
    for _ in 0..64 {
        let main = json!({"type": "n", "to": deaf.address(), "session": "S", "data": payload});
        alice.send(main, None).await?;
    }
    assert_eq!(alice.answer().await?.method(), Some("S.reject"));
    assert_eq!(server.stats().closed_slow, 1);
    Ok(())
}

#[tokio::test]
async fn a_broadcast_is_dropped_for_a_receiver_without_room() -> Result<()> {
    let server = server_with(|limits| {
        limits.queue_bytes = 1 << 20;
        limits.stall_timeout = Duration::from_secs(3600);
    })
    .await?;
    let mut alice = Raw::anonymous(&server, "alice").await?;
    let mut slow = alice.colleague(&server, "slow", "read_write").await?;
    slow.ask("subscribe", json!(["news"])).await?;
    let payload = "x".repeat(1 << 20);
    for _ in 0..100 {
        let main = json!({"type": "news", "to": "*", "data": payload});
        alice.send(main, None).await?;
    }
    alice.ask("echo", json!([1])).await?;
    assert!(server.stats().dropped_slow > 0);
    // The connection stays open.
    assert_eq!(slow.ask("echo", json!([1])).await?, Value::from(1));
    Ok(())
}
