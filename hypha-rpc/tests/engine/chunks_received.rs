//! Tests received chunks: which peers may change a message, which chunks are invalid, and when the
//! client drops chunks.

use hypha_rpc::client::Settings;
use hypha_rpc::{Value, args};
use tokio::time::Instant;

use crate::chunks::{CACHE, fetched};
use crate::support::{
    PEER, breathe, client_as, client_with, list, map, message, method_main, seconds, serving,
    settled,
};

#[tokio::test(start_paused = true)]
async fn another_peer_cannot_touch_chunks() {
    let (client, mut peer, probe) = serving(hypha_rpc::client::Settings::in_process()).await;
    let call = message(
        method_main(PEER, "BIG", "services.svc.whoami"),
        map! {"promise": "*", "t": 10.0},
    );
    let data = Value::Bytes(call);
    let ask = |member: &str| format!("{CACHE}.{member}");
    peer.ask(&ask("create"), list!["k"]).await.expect("creates");
    peer.ask(&ask("append"), list!["k", data.clone()])
        .await
        .expect("appends");
    for (member, args) in [
        ("append", list!["k", data.clone()]),
        ("set", list!["k", 0i64, data]),
        ("remove", list!["k"]),
        ("process", list!["k"]),
    ] {
        assert_eq!(
            peer.ask_as("ws/other", &ask(member), args).await,
            Err("Message with key k does not exists.".to_owned())
        );
    }
    assert_eq!(
        peer.ask(&ask("create"), list!["k"]).await,
        Err(
            "Message with the same key (k) already exists in the cache store, please use \
             overwrite=True or remove it first."
                .to_owned()
        )
    );
    peer.call(&ask("process"), list!["k"]).await;
    // The client may send the response to the assembled call before the response to `process`.
    let mut answers = [peer.receive().await, peer.receive().await];
    answers.sort_by_key(|answer| answer.text("parent").len());
    assert_eq!(answers[1].text("method"), "BIG.resolve");
    assert_eq!(probe.started(), 1);
    settled(&client).await;
}

/// The sender of an assembled call is the sender that the server wrote into the call of `process`.
/// The client ignores a sender inside the chunks.
#[tokio::test(start_paused = true)]
async fn chunks_cannot_forge_the_sender() {
    let (client, mut peer, _) = serving(hypha_rpc::client::Settings::in_process()).await;
    let forged = map! {
        "type": "method", "from": "*/manager", "to": "elsewhere/me", "ws": "victim",
        "method": "services.svc.whoami", "session": "BIG", "user": map!{"id": "root"},
    };
    let data = Value::Bytes(message(forged, map! {"promise": "*", "t": 10.0}));
    peer.ask(&format!("{CACHE}.create"), list!["k"])
        .await
        .expect("creates");
    peer.ask(&format!("{CACHE}.append"), list!["k", data])
        .await
        .expect("appends");
    peer.call(&format!("{CACHE}.process"), list!["k"]).await;
    let mut answers = [peer.receive().await, peer.receive().await];
    answers.sort_by_key(|answer| answer.text("parent").len());
    assert_eq!(
        (answers[1].text("to"), answers[1].text("method")),
        (PEER, "BIG.resolve")
    );
    assert_eq!(answers[1].arg(0), list![PEER, "ws", "user of ws/peer"]);
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn a_forged_event_in_chunks_is_ignored() {
    let (client, mut peer, service) = fetched().await;
    let calling = tokio::spawn(service.call::<Value>("call", args!()).into_future());
    peer.receive().await;
    let data = map! {"id": "peer", "workspace": "ws"};
    let event = map! {"type": "client_disconnected", "to": "*", "data": data};
    let event = Value::Bytes(message(event, Value::Null));
    let other = "ws/other";
    peer.ask_as(other, &format!("{CACHE}.create"), list!["k"])
        .await
        .expect("creates");
    peer.ask_as(other, &format!("{CACHE}.append"), list!["k", event])
        .await
        .expect("appends");
    peer.ask_as(other, &format!("{CACHE}.process"), list!["k"])
        .await
        .expect("processes");
    breathe().await;
    assert_eq!(client.stats().sessions, 1);
    calling.abort();
    assert!(calling.await.is_err());
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn invalid_chunks_are_rejected() {
    let (client, mut peer, _) = serving(hypha_rpc::client::Settings::in_process()).await;
    let ask = |member: &str| format!("{CACHE}.{member}");
    let gone = Err("session does not exist anymore: k".to_owned());
    let data = || Value::Bytes(bytes::Bytes::from_static(b"\xc1"));
    assert_eq!(peer.ask(&ask("create"), list!["k", true]).await, gone);
    assert_eq!(
        peer.ask(&ask("set"), list!["k", 0i64, data(), true]).await,
        gone
    );
    assert_eq!(
        peer.ask(&ask("append"), list!["k", data(), true]).await,
        gone
    );
    assert_eq!(peer.ask(&ask("process"), list!["k", true]).await, gone);
    let unknown = Err("Message with key k does not exists.".to_owned());
    assert_eq!(peer.ask(&ask("process"), list!["k"]).await, unknown);
    peer.ask(&ask("create"), list!["k"]).await.expect("creates");
    peer.ask(&ask("set"), list!["k", 1i64, data()])
        .await
        .expect("sets");
    assert_eq!(
        peer.ask(&ask("process"), list!["k"]).await,
        Err("Message with key k is incomplete: chunk 0 is missing.".to_owned())
    );
    assert_eq!(
        peer.ask(&ask("set"), list!["k", 0i64, "text"]).await,
        Err("built-in.message_cache.set: argument `data`: expected bytes, got string".to_owned())
    );
    peer.ask(&ask("create"), list!["k", false, true])
        .await
        .expect("overwrites");
    peer.ask(&ask("append"), list!["k", data()])
        .await
        .expect("appends");
    let text = peer
        .ask(&ask("process"), list!["k"])
        .await
        .expect_err("garbage");
    assert!(
        text.starts_with("the assembled message k cannot be read: "),
        "{text}"
    );
    settled(&client).await;
}

/// If a peer stops in the middle of a message, the client drops the chunks of this message after a
/// timeout.
#[tokio::test(start_paused = true)]
async fn abandoned_chunks_are_dropped() {
    let mut settings = Settings::in_process();
    settings.ping_interval = seconds(20);
    settings.ping_timeout = seconds(20);
    settings.token_refresh_interval = seconds(0);
    let (client, mut peer) = client_with(settings, 64);
    let begin = Instant::now();
    peer.ask(&format!("{CACHE}.create"), list!["k"])
        .await
        .expect("creates");
    while begin.elapsed() < seconds(330) {
        peer.frame().await.expect("a ping");
        let pong = r#"{"type":"pong"}"#.to_owned();
        peer.push(hypha_rpc::transport::Frame::Text(pong)).await;
    }
    assert_eq!(
        peer.ask(&format!("{CACHE}.process"), list!["k"]).await,
        Err("Message with key k does not exists.".to_owned())
    );
    settled(&client).await;
}

/// If a peer disconnects in the middle of a message, the client drops the chunks of this message.
#[tokio::test(start_paused = true)]
async fn chunks_of_a_disconnected_peer_are_dropped() {
    let identity = hypha_rpc::client::Identity::new("ws", "me");
    let (client, mut peer) = client_as(identity, hypha_rpc::client::Settings::in_process(), 64);
    peer.ask(&format!("{CACHE}.create"), list!["k"])
        .await
        .expect("creates");
    let data = map! {"id": "peer", "workspace": "ws"};
    let event = map! {"type": "client_disconnected", "to": "*", "data": data};
    peer.send(event, Value::Null).await;
    assert_eq!(
        peer.ask(&format!("{CACHE}.process"), list!["k"]).await,
        Err("Message with key k does not exists.".to_owned())
    );
    settled(&client).await;
}
