//! Tests reconnects. After a lost link, the client restores its services, or reports why the
//! reconnect failed.

use std::sync::Arc;
use std::time::Duration;

use hypha_rpc::client::{Backoff, CloseReason, State};
use hypha_rpc::error::{ConnectErrorKind, Lost, report};
use hypha_rpc::transport::Frame;
use hypha_rpc::{Client, Error};
use tokio::time::{Instant, timeout};

use crate::net::{Net, Plan, back, connected, disconnected};
use crate::support::{Probe, breathe, list, map, seconds, service, settled, text};

fn error_frame(message: &str) -> Frame {
    Frame::Text(serde_json::json!({"type": "error", "message": message}).to_string())
}

async fn offer(client: &Client, id: &str) {
    let probe = Arc::new(Probe::default());
    let offered = client.register_service(service(&probe)).id(id).await;
    offered.expect("registers");
}

#[tokio::test(start_paused = true)]
async fn services_are_restored_before_the_state_is_connected() {
    let (client, net, _others) = connected().await;
    assert_eq!(
        net.asked(),
        ["register built-in", r#"subscribe ["client_disconnected"]"#]
    );
    for id in ["b", "a", "c"] {
        offer(&client, id).await;
    }
    client.unregister_service("a").await.expect("withdrawn");
    let silent = Arc::new(Probe::default());
    let silent = client
        .register_service(service(&silent))
        .id("silent")
        .notify(false);
    silent.await.expect("registers");
    client.subscribe(["news"]).await.expect("subscribes");
    net.asked();
    let mut states = client.states();
    assert_eq!(states.next().await, Some(State::Connected));
    let mut told = client.events("connected");
    let mut registered = client.events("services_registered");

    net.manager("m2");
    net.slowness(seconds(1));
    net.cut();
    assert!(matches!(
        states.next().await,
        Some(State::Backoff { attempt: 1, .. })
    ));
    assert_eq!(states.next().await, Some(State::Connecting));
    let begin = Instant::now();
    assert_eq!(states.next().await, Some(State::Connected));
    // The three registrations take three seconds, because this server handles one registration at a
    // time.
    assert_eq!(begin.elapsed().as_secs(), 3);
    let asked = net.asked();
    assert_eq!(
        asked[..2],
        ["register built-in", r#"subscribe ["client_disconnected"]"#]
    );
    assert_eq!(asked[2..4], ["register b", "register c"]);
    assert_eq!(asked[4..], [r#"subscribe ["client_disconnected","news"]"#]);
    assert!(told.next().await.is_some());
    let event = registered.next().await.expect("an event");
    assert_eq!(
        event.data(),
        &map! {"total": 2i64, "registered": 2i64, "failed": list![]}
    );
    assert_eq!(client.identity().manager_id.as_deref(), Some("m2"));
    let stats = client.stats();
    assert_eq!((stats.reconnects, stats.attempts), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_newest_reconnection_token_is_used() {
    let (net, _others) = Net::new();
    let client = net
        .connect()
        .token("T")
        .workspace("ws")
        .await
        .expect("connects");
    net.cut();
    back(&client).await;
    net.push(Frame::Text(
        r#"{"type":"reconnection_token","reconnection_token":"fresh"}"#.into(),
    ));
    breathe().await;
    net.cut_after_all().await;
    back(&client).await;
    let hellos = net.hellos();
    let tokens: Vec<_> = hellos
        .iter()
        .map(|h| h["reconnection_token"].as_str())
        .collect();
    assert_eq!(tokens, [None, Some("secret-1"), Some("fresh")]);
    for hello in hellos {
        assert_eq!(
            (&hello["client_id"], &hello["token"]),
            (&"me".into(), &"T".into())
        );
        assert_eq!(hello["workspace"], "ws");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_follow_the_backoff() {
    let (client, net, _others) = connected().await;
    // Wait longer than `Backoff::stable` (5 s), so that the backoff starts with its first pause.
    tokio::time::sleep(seconds(10)).await;
    net.plan(vec![Plan::Unreachable; 9]);
    let begin = Instant::now();
    net.cut();
    back(&client).await;
    let mut pauses = net.pauses().split_off(1);
    let first = (net.pauses()[0] - 10.0).max(0.0);
    assert!(first <= 1.0, "{first}");
    let nominal = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0];
    for (pause, nominal) in pauses.drain(..).zip(nominal) {
        assert!(
            pause >= nominal * 0.5 - 0.01 && pause <= nominal * 1.5 + 0.01,
            "{pause} instead of about {nominal}"
        );
    }
    assert!(begin.elapsed() > seconds(100));
    assert_eq!(client.stats().attempts, 10);
}

#[tokio::test(start_paused = true)]
async fn a_short_connection_does_not_reset_the_backoff() {
    let (client, net, _others) = connected().await;
    for _ in 0..6 {
        net.cut();
        back(&client).await;
    }
    let pauses = net.pauses();
    assert!(pauses[5] >= 16.0, "{pauses:?}");
    // After `Backoff::stable`, the failure count is reset.
    tokio::time::sleep(seconds(6)).await;
    net.cut();
    back(&client).await;
    assert!(net.pauses()[6] < 7.1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_the_server_is_final() {
    let cases: [(&str, ConnectErrorKind); 5] = [
        (
            "Authentication error: Signature verification failed",
            ConnectErrorKind::TokenRejected,
        ),
        (
            "Failed to establish connection: 'Workspace ws does not exist or is not accessible'",
            ConnectErrorKind::WrongWorkspace,
        ),
        (
            "Failed to establish connection: Permission denied for workspace: ws",
            ConnectErrorKind::WrongWorkspace,
        ),
        (
            "Failed to establish connection: Client already exists and is active: ws/me",
            ConnectErrorKind::ClientIdInUse,
        ),
        (
            "Failed to establish connection: whatever",
            ConnectErrorKind::Refused,
        ),
    ];
    for (words, expected) in cases {
        let (client, net, _others) = connected().await;
        net.otherwise(Plan::Say(error_frame(words)));
        net.cut();
        let reason = timeout(seconds(60), client.closed()).await.expect("ends");
        match &*reason {
            CloseReason::Refused(error) => assert_eq!(error.kind(), expected, "{error}"),
            other => panic!("{other:?}"),
        }
        assert!(report(&*reason).contains(words), "{reason:?}");
        assert_eq!(net.attempts(), 2);
        assert_eq!(client.state(), State::Closed { reason });
        let error = disconnected(client.get_service("svc").await.map(drop));
        assert!(
            report(&error).contains(words) && error.lost == Lost::Connection,
            "{error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn another_workspace_is_refused() {
    let (client, net, _others) = connected().await;
    net.otherwise(Plan::Elsewhere);
    net.cut();
    let reason = report(&*client.closed().await);
    assert!(
        reason.contains("wrong workspace: other, expected: ws"),
        "{reason}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_access_token_replaces_an_expired_reconnection_token() {
    let (net, _others) = Net::new();
    let client = net.connect().token("T").await.expect("connects");
    net.plan([Plan::Say(error_frame(
        "Authentication error: Signature has expired",
    ))]);
    net.cut();
    back(&client).await;
    let hellos = net.hellos();
    let tokens: Vec<_> = hellos
        .iter()
        .map(|h| h["reconnection_token"].as_str())
        .collect();
    assert_eq!(tokens, [None, Some("secret-1"), None]);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_handshake_is_retried() {
    let (client, net, _others) = connected().await;
    let codes = [1000, 1001, 1003, 1006, 1008, 1009, 1011, 1012, 1013];
    let closes = codes.map(|code| Plan::Say(Frame::Close(Some((code, String::new())))));
    net.plan(closes);
    net.plan([
        Plan::HangUp,
        Plan::Say(Frame::Close(None)),
        Plan::Say(Frame::Close(Some((
            1013,
            "Server busy, please retry".into(),
        )))),
        Plan::Say(error_frame("Server busy, please retry")),
        // The server reports that the client's first frame was late.
        Plan::Say(error_frame("Authentication payload timeout")),
        Plan::Silence,
    ]);
    net.cut();
    back(&client).await;
    assert_eq!(client.stats().attempts, 16);
}

#[tokio::test(start_paused = true)]
async fn the_client_reconnects_after_every_close_code() {
    let (client, net, _others) = connected().await;
    let codes = [
        1000, 1001, 1003, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 4000,
    ];
    for (n, code) in codes.into_iter().enumerate() {
        tokio::time::sleep(seconds(10)).await;
        net.push(Frame::Close(Some((code, "for a reason".into()))));
        let mut told = client.events("disconnected");
        let event = told.next().await.expect("an event");
        let reason = event
            .data()
            .get("reason")
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(reason.contains(&format!("{code} for a reason")), "{reason}");
        back(&client).await;
        assert_eq!(client.stats().reconnects, n as u64 + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn losing_the_link_during_registration_is_retried() {
    let (client, net, _others) = connected().await;
    offer(&client, "svc").await;
    tokio::time::sleep(seconds(10)).await;
    net.slowness(seconds(5));
    net.cut();
    while net.attempts() < 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(seconds(6)).await;
    assert_eq!(client.state(), State::Connecting);
    net.cut();
    net.slowness(seconds(0));
    net.asked();
    back(&client).await;
    assert!(net.asked().contains(&"register svc".to_owned()));
    assert_eq!((client.stats().attempts, client.stats().reconnects), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_silent_manager_is_retried() {
    let (client, net, _others) = connected().await;
    net.deaf(true);
    net.cut();
    tokio::time::sleep(seconds(40)).await;
    net.deaf(false);
    back(&client).await;
    assert!(client.stats().attempts >= 2);
}

#[tokio::test(start_paused = true)]
async fn other_services_are_restored_if_one_is_refused() {
    let (client, net, _others) = connected().await;
    for id in ["a", "b", "c"] {
        offer(&client, id).await;
    }
    let mut failed = client.events("services_registration_failed");
    net.refuse(&["b"]);
    net.asked();
    net.cut();
    back(&client).await;
    let asked = net.asked();
    let times = |what: &str| asked.iter().filter(|a| *a == what).count();
    assert_eq!(
        (
            times("register a"),
            times("register b"),
            times("register c")
        ),
        (1, 4, 1)
    );
    let event = failed.next().await.expect("an event");
    let error = event
        .data()
        .get("error")
        .map(ToString::to_string)
        .unwrap_or_default();
    assert!(
        error.contains("ws/me:b") && error.contains("no b"),
        "{error}"
    );

    net.refuse(&[]);
    net.cut();
    back(&client).await;
    assert!(net.asked().contains(&"register b".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_attempts_is_limited() {
    let (net, _others) = Net::new();
    let client = net
        .connect()
        .reconnect(Backoff::default().attempts(3))
        .await
        .expect("connects");
    net.otherwise(Plan::Unreachable);
    tokio::time::sleep(seconds(10)).await;
    net.cut();
    let reason = client.closed().await;
    assert!(
        matches!(&*reason, CloseReason::GaveUp { attempts: 3, .. }),
        "{reason:?}"
    );
    assert!(report(&*reason).contains("nobody listens"), "{reason:?}");

    let (net, _others) = Net::new();
    let client = net.connect().reconnect(None).await.expect("connects");
    net.cut();
    assert_eq!(
        *client.closed().await,
        CloseReason::Lost("Connection lost".into())
    );
    assert_eq!(net.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_client_does_not_reconnect() {
    let (client, net, _others) = connected().await;
    let words = "Replaced by a newer connection with the same id";
    net.push(Frame::Close(Some((1001, words.into()))));
    assert_eq!(*client.closed().await, CloseReason::Replaced);
    assert_eq!(net.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dismissed_client_does_not_reconnect() {
    let (client, net, _others) = connected().await;
    let exit = |from: &str| map! {"type": "force-exit", "from": from, "reason": "out of order"};
    for stranger in ["ws/peer", "*/m0"] {
        net.send(exit(stranger), hypha_rpc::Value::Null);
    }
    breathe().await;
    assert_eq!(client.state(), State::Connected);
    net.send(exit("*/m1"), hypha_rpc::Value::Null);
    assert_eq!(
        *client.closed().await,
        CloseReason::Dismissed("out of order".into())
    );
    assert_eq!(net.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn disconnecting_stops_the_attempts() {
    for plan in [Plan::Unreachable, Plan::Silence] {
        let (client, net, _others) = connected().await;
        net.otherwise(plan);
        net.cut();
        tokio::time::sleep(seconds(20)).await;
        let begin = Instant::now();
        client.disconnect().await;
        assert_eq!(begin.elapsed(), seconds(0));
        assert_eq!(*client.closed().await, CloseReason::Requested);
        let attempts = net.attempts();
        tokio::time::sleep(seconds(1000)).await;
        assert_eq!(net.attempts(), attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn no_task_outlives_the_last_handle() {
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    for when in ["connected", "backoff", "connecting", "registering"] {
        let (client, net, mut others) = connected().await;
        offer(&client, "svc").await;
        net.send(
            map! {"type": "method", "from": "ws/peer", "to": "ws/me", "session": "S",
            "method": "services.svc.hang"},
            map! {"args": list![], "promise": "*", "t": 10.0},
        );
        breathe().await;
        assert_eq!(client.stats().running, 1);
        match when {
            "backoff" => net.otherwise(Plan::Unreachable),
            "connecting" => net.otherwise(Plan::Silence),
            "registering" => net.deaf(true),
            _ => {}
        }
        if when != "connected" {
            net.cut();
            tokio::time::sleep(seconds(2)).await;
            assert_ne!(client.state(), State::Connected);
        }
        drop(client);
        // The client sends a close frame, and the server replies with a close frame.
        tokio::time::sleep(seconds(6)).await;
        net.cut();
        while others.try_recv().is_ok() {}
        breathe().await;
        assert_eq!(tasks(), before, "{when}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_first_attempt_is_reported_and_not_retried() {
    let (net, _others) = Net::new();
    net.otherwise(Plan::Unreachable);
    let error = text(net.connect().await);
    assert_eq!(
        error,
        "cannot reach memory: check the network and firewalls: nobody listens"
    );
    assert_eq!(net.attempts(), 1);

    // The first attempt to connect also fails if the link is lost before the client's services are
    // registered.
    let (net, _others) = Net::new();
    net.slowness(seconds(5));
    let connecting = tokio::spawn(net.connect().into_future());
    tokio::time::sleep(seconds(1)).await;
    net.cut();
    match connecting.await.expect("runs") {
        Err(Error::Disconnected(lost)) => assert_eq!(lost.lost, Lost::Connection),
        other => panic!("{other:?}"),
    }
    tokio::time::sleep(seconds(100)).await;
    assert_eq!(net.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_reconnected() {
    let (client, net, _others) = connected().await;
    // The server sends no frame, so the client drops the link 20 s after its last ping.
    tokio::time::sleep(seconds(60)).await;
    assert!(client.stats().reconnects >= 1, "{:?}", client.stats());
    assert!(net.attempts() >= 2);
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn disconnecting_unregisters_the_services_first() {
    let (client, net, _others) = connected().await;
    offer(&client, "a").await;
    offer(&client, "b").await;
    net.asked();
    client.disconnect().await;
    let mut asked = net.asked();
    asked.sort();
    assert_eq!(asked, ["unregister ws/me:a", "unregister ws/me:b"]);
}
