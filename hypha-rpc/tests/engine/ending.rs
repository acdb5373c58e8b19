//! Tests graceful shutdown and lost connections, and that no task or handler outlives a connection.

use std::sync::Arc;
use std::time::Duration;

use hypha_rpc::client::{CloseReason, State};
use hypha_rpc::error::Disconnected;
use hypha_rpc::service::{IncomingCall, Method, Service};
use hypha_rpc::transport::Frame;
use hypha_rpc::{Client, Error, Value, args};
use tokio::time::Instant;

use crate::support::{
    PEER, Peer, Probe, assert_passed, breathe, calling, client, list, map, seconds, service,
    serving, settled, with,
};

fn lost<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Disconnected {
    match outcome {
        Err(Error::Disconnected(lost)) => lost,
        other => panic!("not disconnected: {other:?}"),
    }
}

/// Waits for the client's close frame (code 1000), and replies with a close frame.
async fn complete_close(peer: &mut Peer) {
    loop {
        match peer.frame().await {
            Some(Frame::Close(reason)) => {
                assert_eq!(reason, Some((1000, String::new())));
                return peer.push(Frame::Close(None)).await;
            }
            Some(_) => {}
            None => panic!("ended without a close frame"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_fails_waiting_calls() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    let begin = Instant::now();
    let calls: Vec<_> = (0..3)
        .map(|_| tokio::spawn(service.call::<Value>("call", args!()).into_future()))
        .collect();
    for _ in 0..3 {
        peer.receive().await;
    }
    drop(peer);
    for call in calls {
        let error = lost(call.await.expect("runs"));
        assert!(error.may_have_run);
        assert_eq!(
            error.to_string(),
            "svc.call on ws/peer: Connection lost (it may have run)"
        );
    }
    assert_passed(begin, seconds(0));
    assert_eq!(
        client.state(),
        State::Closed {
            reason: CloseReason::Lost("Connection lost".into()).into()
        }
    );
    assert_eq!(client.closed().await.to_string(), "Connection lost");
    assert_eq!(client.stats().sessions, 0);

    // The client does not send later calls. The errors of these calls contain the reason.
    let error = lost(service.call::<Value>("call", args!()).await);
    assert!(!error.may_have_run);
    assert_eq!(error.to_string(), "svc.call on ws/peer: Connection lost");
    let error = lost(service.call::<Value>("call", args!()).send().await);
    assert_eq!(
        (error.reason.as_str(), error.may_have_run),
        ("Connection lost", false)
    );
    let error = lost(client.emit("news", "*", 1i64).await);
    assert_eq!(error.to_string(), "event news on *: Connection lost");
    let error = lost(client.get_remote_service("ws/peer:svc").await);
    assert_eq!(error.reason, "Connection lost");
    assert!(client.events("news").next().await.is_none());
    client.disconnect().await;
    assert_eq!(client.closed().await.to_string(), "Connection lost");
    assert_passed(begin, seconds(0));
}

#[tokio::test(start_paused = true)]
async fn the_servers_reason_is_reported() {
    for (frame, expected) in [
        (
            Frame::Close(Some((1008, "too slow".into()))),
            "Connection closed by the server: 1008 too slow",
        ),
        (
            Frame::Close(Some((1001, String::new()))),
            "Connection closed by the server: 1001",
        ),
        (Frame::Close(None), "Connection closed by the server"),
    ] {
        let (client, mut peer) = client();
        peer.push(frame).await;
        assert_eq!(client.closed().await.to_string(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_ends_with_its_connection() {
    let (client, mut peer, probe) = serving(hypha_rpc::client::Settings::in_process()).await;
    for session in ["S1", "S2", "S3"] {
        peer.call_as(PEER, session, "services.svc.hang", list![])
            .await;
    }
    breathe().await;
    assert_eq!((client.stats().running, probe.dropped()), (3, 0));
    drop(peer);
    client.closed().await;
    settled(&client).await;
    assert_eq!(probe.dropped(), 3);
}

#[tokio::test(start_paused = true)]
async fn disconnecting_waits_for_handlers() {
    let (client, mut peer, probe) = serving(hypha_rpc::client::Settings::in_process()).await;
    peer.call_as(PEER, "S1", "services.svc.wait", list![]).await;
    breathe().await;
    let begin = Instant::now();
    let leaving = client.clone();
    let leaving = tokio::spawn(async move { leaving.disconnect().await });
    breathe().await;
    // The client rejects a new call immediately, so that the caller can call another provider.
    peer.call_as(PEER, "S2", "services.svc.add", list![1i64])
        .await;
    assert_eq!(
        peer.answer_of("S2").await,
        Err("the client is disconnecting".to_owned())
    );
    probe.gate.notify_one();
    assert_eq!(peer.answer_of("S1").await, Ok("waited".into()));
    complete_close(&mut peer).await;
    leaving.await.expect("ends");
    assert_passed(begin, seconds(0));
    assert_eq!(client.closed().await.to_string(), "RPC connection closed");
    settled(&client).await;
    // Further calls of `disconnect` have no effect, even if they run concurrently.
    tokio::join!(client.disconnect(), client.disconnect());
}

#[tokio::test(start_paused = true)]
async fn a_method_can_disconnect_its_own_client() {
    for (grace, large) in [
        (seconds(5), false),
        (Duration::ZERO, false),
        (seconds(5), true),
    ] {
        let (client, mut peer) = client();
        let leaving = client.clone();
        let leave = Method::new("leave", move |call: IncomingCall| {
            let client = leaving.clone();
            async move {
                client.shutdown(grace).await;
                // The handler continues for a while, but not longer than the grace period.
                tokio::time::sleep(Duration::from_millis(100)).await;
                call.reply(&Value::from("bye"))
            }
        });
        let service = Service::new("own").method(leave);
        client.register_service(service).await.expect("registers");
        let begin = Instant::now();
        // If the request is large, the handler is first polled on another thread.
        let arg = Value::Bytes(vec![0; if large { 2 << 20 } else { 0 }].into());
        peer.call_as(PEER, "S1", "services.own.leave", list![arg])
            .await;
        assert_eq!(peer.answer_of("S1").await, Ok("bye".into()));
        complete_close(&mut peer).await;
        assert_eq!(client.closed().await.to_string(), "RPC connection closed");
        assert_passed(begin, Duration::from_millis(100));
        settled(&client).await;
    }
}

#[tokio::test(start_paused = true)]
async fn both_sides_may_disconnect_at_once() {
    let (client, mut peer, probe) = serving(hypha_rpc::client::Settings::in_process()).await;
    peer.call_as(PEER, "S1", "services.svc.wait", list![]).await;
    breathe().await;
    let begin = Instant::now();
    let leave = async { tokio::join!(client.disconnect(), client.disconnect()) };
    let playing = async {
        breathe().await;
        probe.gate.notify_one();
        assert_eq!(peer.answer_of("S1").await, Ok("waited".into()));
        complete_close(&mut peer).await;
    };
    tokio::join!(leave, playing);
    assert_passed(begin, seconds(0));
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn handlers_that_take_too_long_are_dropped() {
    let (client, mut peer, probe) = serving(hypha_rpc::client::Settings::in_process()).await;
    peer.call("services.svc.hang", list![]).await;
    breathe().await;
    let begin = Instant::now();
    tokio::join!(client.disconnect(), complete_close(&mut peer));
    // The client cancels handlers after the grace period, and drops them one second later.
    assert_passed(begin, seconds(6));
    settled(&client).await;
    assert_eq!(probe.dropped(), 1);

    let (client, mut peer, probe) = serving(hypha_rpc::client::Settings::in_process()).await;
    peer.call("services.svc.hang", list![]).await;
    breathe().await;
    let begin = Instant::now();
    tokio::join!(client.shutdown(seconds(60)), complete_close(&mut peer));
    assert_passed(begin, seconds(61));
    settled(&client).await;
    assert_eq!(probe.dropped(), 1);
}

#[tokio::test(start_paused = true)]
async fn disconnecting_does_not_wait_long_for_the_close_reply() {
    let (client, _peer, _) = serving(hypha_rpc::client::Settings::in_process()).await;
    let begin = Instant::now();
    client.disconnect().await;
    assert_passed(begin, seconds(5));
}

#[tokio::test(start_paused = true)]
async fn disconnecting_fails_own_calls() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    let call = tokio::spawn(service.call::<Value>("call", args!()).into_future());
    peer.receive().await;
    tokio::join!(client.disconnect(), complete_close(&mut peer));
    let error = lost(call.await.expect("runs"));
    assert_eq!(
        (error.reason.as_str(), error.may_have_run),
        ("RPC connection closed", true)
    );
    let error = lost(service.call::<Value>("call", args!()).await);
    assert_eq!(
        (error.reason.as_str(), error.may_have_run),
        ("RPC connection closed", false)
    );
}

/// Waits until the connection has been dropped. The connection owns the services, so `probe` is
/// then the only reference.
async fn wait_until_dropped(probe: &Arc<Probe>) {
    for _ in 0..1000 {
        if Arc::strong_count(probe) == 1 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the connection lives on");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_closes_the_link_and_ends_every_task() {
    let (client, mut peer, probe) = serving(hypha_rpc::client::Settings::in_process()).await;
    let service = peer.offer(&client).await;
    peer.call("services.svc.hang", list![]).await;
    breathe().await;
    drop(client.clone());
    drop(client);
    breathe().await;
    // A fetched service also keeps the connection open.
    assert_eq!(probe.dropped(), 0);
    peer.ask_as(PEER, "services.svc.add", list![1i64])
        .await
        .expect("still there");
    drop(service);
    complete_close(&mut peer).await;
    assert!(peer.frame().await.is_none(), "the link is closed");
    wait_until_dropped(&probe).await;
    assert_eq!(probe.dropped(), 1);
}

/// A service that calls other services owns a handle of its own connection. The end of the
/// connection must break this reference cycle.
#[tokio::test(start_paused = true)]
async fn a_service_that_holds_its_client_is_freed_with_the_connection() {
    struct Caller {
        client: Client,
        _probe: Arc<Probe>,
    }
    let (client, mut peer, probe) = serving(hypha_rpc::client::Settings::in_process()).await;
    let caller = Arc::new(Caller {
        client: client.clone(),
        _probe: Arc::clone(&probe),
    });
    let service = hypha_rpc::Service::new("caller").method(hypha_rpc::service::Method::new(
        "state",
        move |call| {
            let caller = Arc::clone(&caller);
            async move { call.reply(&(caller.client.state() == State::Connected)) }
        },
    ));
    client.register_service(service).await.expect("registers");
    assert_eq!(
        peer.ask("services.caller.state", list![]).await,
        Ok(true.into())
    );
    tokio::join!(client.disconnect(), complete_close(&mut peer));
    drop(client);
    wait_until_dropped(&probe).await;
}

#[tokio::test(start_paused = true)]
async fn queued_frames_are_sent_before_the_close_frame() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    for n in 0..100i64 {
        service
            .call::<Value>("call", args!(n))
            .send()
            .await
            .expect("queued");
    }
    drop((client, service));
    for n in 0..100i64 {
        assert_eq!(peer.receive().await.arg(0), Value::from(n));
    }
    complete_close(&mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn calls_to_a_disconnected_peer_fail() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    let data = map! {"id": "peer", "workspace": "ws"};
    let event = |data: &Value| {
        map! {"type": "client_disconnected", "to": "*", "data": data.clone()}
    };
    let user = || map! {"id": "u"};
    for good in [
        data.clone(),
        map! {"id": "ws/peer", "workspace": "ws"},
        map! {"id": "ws/peer"},
    ] {
        let begin = Instant::now();
        let call = tokio::spawn(service.call::<Value>("call", args!()).into_future());
        peer.receive().await;
        // Any client can send an event of this type. Only events of the server have no sender.
        for bad in [
            with(event(&data), "from", "ws/other"),
            with(with(event(&data), "from", PEER), "user", user()),
            with(event(&data), "user", user()),
            event(&map! {"id": "peer", "workspace": "other"}),
            event(&map! {"id": "peer"}),
            event(&map! {"id": 5i64, "workspace": "ws"}),
            event(&"peer".into()),
            event(&Value::Null),
        ] {
            peer.send(bad, Value::Null).await;
        }
        breathe().await;
        assert_eq!(client.stats().sessions, 1);
        peer.send(event(&good), Value::Null).await;
        let error = lost(call.await.expect("runs"));
        assert_passed(begin, seconds(0));
        assert_eq!(
            (error.reason.as_str(), error.may_have_run),
            ("Client disconnected: ws/peer", true)
        );
    }
    assert_eq!(client.state(), State::Connected);
    settled(&client).await;
}

/// Registering a service fails after the connection has ended, because no peer could call the
/// service.
#[tokio::test(start_paused = true)]
async fn registration_fails_after_the_end() {
    let (client, peer) = client();
    drop(peer);
    client.closed().await;
    let probe = Arc::default();
    let error = lost(client.register_service(service(&probe)).await.map(drop));
    assert_eq!(error.reason, "Connection lost");
    assert_eq!(Arc::strong_count(&probe), 1);
}

/// Several threads start calls while the connection ends. Each call must complete with an error or
/// a result. No call may hang.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_call_hangs_when_the_connection_ends() {
    for round in 0..50 {
        let (a, b, service, probe) = calling(hypha_rpc::client::Settings::in_process()).await;
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let service = service.clone();
                tokio::spawn(async move {
                    loop {
                        let outcome = service.call::<i64>("add", args!(1)).await;
                        // A peer that is disconnecting rejects the call. Repeat the call until the
                        // connection has ended.
                        if !matches!(outcome, Ok(_) | Err(Error::Rejected(_))) {
                            return lost(outcome);
                        }
                    }
                })
            })
            .collect();
        // Disconnect while calls are in flight in both directions.
        while b.stats().calls_received < 20 + round {
            tokio::task::yield_now().await;
        }
        match round % 3 {
            0 => a.shutdown(Duration::ZERO).await,
            1 => b.shutdown(Duration::ZERO).await,
            _ => tokio::join!(a.disconnect(), b.disconnect()).0,
        }
        for caller in callers {
            let caller = tokio::time::timeout(seconds(60), caller).await;
            caller.expect("in time").expect("runs");
        }
        a.closed().await;
        b.closed().await;
        for client in [&a, &b] {
            assert_eq!(client.stats().sessions, 0);
        }
        drop((a, b, service));
        let freed = async {
            while Arc::strong_count(&probe) > 1 {
                tokio::task::yield_now().await;
            }
        };
        let freed = tokio::time::timeout(seconds(60), freed).await;
        freed.expect("the connections are gone");
    }
}
