//! Tests calls that are pending when the link is lost. Each call completes, and the client repeats
//! only idempotent calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use hypha_rpc::client::Settings;
use hypha_rpc::error::{Lost, RejectKind};
use hypha_rpc::service::{Method, Service, Visibility};
use hypha_rpc::transport::Frame;
use hypha_rpc::{Callback, Client, Error, RemoteService, Retry, Value, args};
use tokio::time::Instant;

use crate::net::{Net, Others, Plan, back, connected, disconnected};
use crate::support::{
    ME, PEER, Received, assert_passed, breathe, calling, client, list, map, seconds, settled, text,
    two_clients,
};

/// Fetches the service `svc` of `ws/peer`.
async fn found(client: &Client) -> RemoteService {
    client.get_service("svc").await.expect("finds")
}

fn call(service: &RemoteService) -> hypha_rpc::Call<i64> {
    service.call("call", args!(1))
}

fn spawn(call: hypha_rpc::Call<i64>) -> tokio::task::JoinHandle<Result<i64, Error>> {
    tokio::spawn(call.into_future())
}

async fn next(others: &mut Others) -> Received {
    let call = tokio::time::timeout(seconds(100), others.recv()).await;
    call.expect("a message in time").expect("a message")
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_fails_at_once() {
    let (client, net, mut others) = connected().await;
    let service = found(&client).await;
    let waiting = spawn(call(&service));
    next(&mut others).await;
    let begin = Instant::now();
    net.cut();
    let error = waiting.await.expect("runs").expect_err("lost");
    assert_passed(begin, seconds(0));
    assert!(error.may_have_run() && error.is_retryable(), "{error:?}");
    let error = disconnected::<()>(Err(error));
    assert_eq!(error.lost, Lost::Link);
    assert_eq!(
        error.to_string(),
        "svc.call on ws/peer: Connection lost (it may have run)"
    );

    // A new call of the same service waits. The client sends this call over the next link.
    let waiting = spawn(call(&service));
    breathe().await;
    assert_eq!(client.stats().waiting, 1);
    let asked = next(&mut others).await;
    net.reply(&asked, "resolve", list![7i64]);
    assert_eq!(waiting.await.expect("runs").expect("answered"), 7);
    settled(&client).await;
    assert_eq!(client.stats().call_errors, 1);
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_call_is_repeated() {
    let (client, net, mut others) = connected().await;
    let service = found(&client).await;
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let callback = Callback::new(move |_: i64| {
        count.fetch_add(1, Ordering::SeqCst);
        async {}
    });
    let call = service.call::<i64>("call", args!(callback)).idempotent();
    let waiting = tokio::spawn(call.into_future());
    let first = next(&mut others).await;
    net.cut();
    let second = next(&mut others).await;
    assert_ne!(first.text("session"), second.text("session"));
    // The client exports the callback argument again, under a new path.
    let function = second.arg(0);
    let path = function
        .get("_rmethod")
        .and_then(Value::as_str)
        .expect("a path")
        .to_owned();
    net.send(
        map! {"type": "method", "from": "ws/peer", "to": "ws/me", "method": path},
        map! {"args": list![5i64]},
    );
    breathe().await;
    assert_eq!(told.load(Ordering::SeqCst), 1);
    net.reply(&second, "resolve", list![3i64]);
    assert_eq!(waiting.await.expect("runs").expect("answered"), 3);
    assert_eq!((client.stats().retries, client.stats().call_errors), (1, 0));
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_call_has_limits() {
    // The total timeout of a call also limits its repetitions.
    let (client, net, mut others) = connected().await;
    let service = found(&client).await;
    let waiting = spawn(call(&service).idempotent().timeout(seconds(7)));
    next(&mut others).await;
    let begin = Instant::now();
    net.otherwise(Plan::Unreachable);
    net.cut();
    let error = waiting.await.expect("runs").expect_err("late");
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    assert_passed(begin, seconds(7));

    // The client limits the number of repetitions, because the call itself may crash the server.
    let (client, net, mut others) = connected().await;
    let service = found(&client).await;
    let waiting = spawn(call(&service).idempotent().idle_timeout(seconds(1000)));
    let mut sent = 0;
    while !waiting.is_finished() {
        let again = tokio::time::timeout(seconds(1), others.recv());
        if let Ok(Some(_)) = again.await {
            sent += 1;
            net.cut();
        }
    }
    assert_eq!(sent, 11);
    assert!(disconnected(waiting.await.expect("runs")).may_have_run);
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_link_has_a_timeout() {
    let (net, mut others) = Net::new();
    let connecting = net
        .connect()
        .settings(|settings| settings.max_waiting_calls = 2);
    let client = connecting.await.expect("connects");
    let service = found(&client).await;
    net.otherwise(Plan::Unreachable);
    net.cut();
    breathe().await;
    let begin = Instant::now();
    let patient = spawn(call(&service));
    let hasty = spawn(call(&service).timeout(seconds(3)));
    breathe().await;
    assert_eq!(client.stats().waiting, 2);
    let error = disconnected(call(&service).await);
    assert!(!error.may_have_run && error.lost == Lost::Link);
    assert!(error.reason.contains("2 calls wait"), "{error}");
    assert_eq!(client.stats().refused_waiting, 1);
    let error = hasty.await.expect("runs").expect_err("late");
    assert!(
        matches!(&error, Error::Timeout(late) if !late.sent),
        "{error:?}"
    );
    assert_passed(begin, seconds(3));
    // A call without a total timeout waits until its idle timeout elapses.
    let error = disconnected(patient.await.expect("runs"));
    assert_passed(begin, seconds(30));
    assert_eq!(error.reason, "not connected for 30s");
    assert!(!error.may_have_run);
    assert_eq!(client.stats().waiting, 0);
    assert!(others.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn closing_fails_waiting_calls() {
    let (client, net, _others) = connected().await;
    let service = found(&client).await;
    net.otherwise(Plan::Unreachable);
    net.cut();
    breathe().await;
    let waiting = spawn(call(&service));
    breathe().await;
    client.disconnect().await;
    let error = disconnected(waiting.await.expect("runs"));
    assert_eq!(
        (error.reason.as_str(), error.lost),
        ("RPC connection closed", Lost::Connection)
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_failed_is_not_sent_later() {
    let (net, mut others) = Net::new();
    net.capacity(1);
    let client = net.connect().await.expect("connects");
    let service = found(&client).await;
    // The server reads no further frames while it handles this registration. The link holds only
    // one frame.
    net.slowness(seconds(1000));
    let busy = client.register_service(Service::new("late")).into_future();
    let busy = tokio::spawn(busy);
    breathe().await;
    let mut calls: Vec<_> = (0..5)
        .map(|_| Box::pin(call(&service).into_future()))
        .collect();
    let mut plain = Box::pin(service.call::<i64>("call", args!("sent")).send());
    for one in &mut calls {
        assert!(one.now_or_never().is_none());
    }
    assert!((&mut plain).now_or_never().is_some());
    breathe().await;
    assert_eq!(client.stats().queued, 5, "the sixth is in the link");
    net.slowness(seconds(0));
    net.cut();
    disconnected(busy.await.expect("runs"));
    for one in calls {
        disconnected(one.await);
    }
    back(&client).await;
    breathe().await;
    // A client must also send a call that expects no response only once.
    assert_eq!(next(&mut others).await.arg(0), Value::from("sent"));
    assert!(others.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_handler_answers_over_the_next_link() {
    let (client, net, mut others) = connected().await;
    let slow = Method::new("slow", |call| async move {
        tokio::time::sleep(seconds(20)).await;
        call.reply(&"done")
    });
    client
        .register_service(Service::new("svc").method(slow))
        .await
        .expect("registers");
    let main = map! {
        "type": "method", "from": "ws/peer", "to": "ws/me", "session": "S", "ws": "ws",
        "method": "services.svc.slow",
    };
    net.send(main, map! {"args": list![], "promise": "*", "t": 10.0});
    breathe().await;
    net.cut();
    back(&client).await;
    loop {
        let message = next(&mut others).await;
        match message.text("method") {
            "S.heartbeat" => {}
            "S.resolve" => break assert_eq!(message.arg(0), Value::from("done")),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_manager_handle_follows_reconnects() {
    let (client, net, _others) = connected().await;
    let manager = client.manager().await.expect("a manager");
    for id in ["m2", "m3"] {
        net.manager(id);
        net.cut();
        back(&client).await;
        // The workspace manager has a new id, and no longer responds at its old address.
        manager
            .unregister_service("x".into())
            .await
            .expect("answered");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_has_moved_is_found_again() {
    let (client, net, mut others) = connected().await;
    let service = found(&client).await;
    let gone = "Target peer ws/peer is not connected";
    net.owner("ws/other");
    net.asked();
    let waiting = [spawn(call(&service)), spawn(call(&service))];
    for _ in 0..2 {
        let asked = next(&mut others).await;
        assert_eq!(asked.text("to"), "ws/peer");
        let error = map! {"_rtype": "error", "_rvalue": gone};
        net.reply(&asked, "reject", list![error]);
    }
    for _ in 0..2 {
        let asked = next(&mut others).await;
        assert_eq!(asked.text("to"), "ws/other");
        net.reply(&asked, "resolve", list![2i64]);
    }
    for one in waiting {
        assert_eq!(one.await.expect("runs").expect("answered"), 2);
    }
    assert_eq!(
        net.asked(),
        ["get_service at ws/other"],
        "asked once for both"
    );

    // The client sends later calls to the new address immediately.
    let waiting = spawn(call(&service.clone()));
    let asked = next(&mut others).await;
    assert_eq!(asked.text("to"), "ws/other");
    net.reply(&asked, "resolve", list![2i64]);
    waiting.await.expect("runs").expect("answered");

    // If no client provides the service any longer, the call fails with the rejection of the
    // server.
    let waiting = spawn(call(&service));
    let asked = next(&mut others).await;
    let error = map! {"_rtype": "error", "_rvalue": "Target peer ws/other is not connected"};
    net.reply(&asked, "reject", list![error]);
    match waiting.await.expect("runs") {
        Err(Error::Rejected(refusal)) => assert_eq!(refusal.kind, RejectKind::PeerNotConnected),
        other => panic!("{other:?}"),
    }
    assert!(others.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_have_run_is_not_repeated_elsewhere() {
    let (client, net, mut others) = connected().await;
    let service = found(&client).await;
    net.owner("ws/other");
    let waiting = spawn(call(&service));
    let second = spawn(call(&service).idempotent());
    next(&mut others).await;
    next(&mut others).await;
    let left = map! {"id": "peer", "workspace": "ws"};
    net.send(
        map! {"type": "client_disconnected", "data": left},
        Value::Null,
    );
    let error = disconnected(waiting.await.expect("runs"));
    assert!(error.lost == Lost::Peer && error.may_have_run);
    let asked = next(&mut others).await;
    assert_eq!(asked.text("to"), "ws/other");
    net.reply(&asked, "resolve", list![4i64]);
    assert_eq!(second.await.expect("runs").expect("answered"), 4);
}

#[tokio::test(start_paused = true)]
async fn a_retry_policy_retries_temporary_errors() {
    let (net, mut others) = Net::new();
    let connect = net.connect().retry(Retry::times(3).first(seconds(1)));
    let client = connect.await.expect("connects");
    let service = found(&client).await;
    let busy = map! {"_rtype": "error", "_rvalue": "too many calls", "_rname": "hypha.Busy"};
    let begin = Instant::now();
    let waiting = spawn(call(&service));
    for _ in 0..3 {
        let asked = next(&mut others).await;
        net.reply(&asked, "reject", list![busy.clone()]);
    }
    let asked = next(&mut others).await;
    net.reply(&asked, "resolve", list![1i64]);
    assert_eq!(waiting.await.expect("runs").expect("answered"), 1);
    let passed = begin.elapsed().as_secs_f64();
    assert!((3.5..10.6).contains(&passed), "{passed}");

    // The client does not retry the call in these cases: no retries are left, the method may have
    // run, the error is permanent, the pause would exceed the timeout, or the call has no retry
    // policy.
    let waiting = spawn(call(&service));
    for _ in 0..4 {
        let asked = next(&mut others).await;
        net.reply(&asked, "reject", list![busy.clone()]);
    }
    assert!(text(waiting.await.expect("runs")).contains("too many calls"));

    let waiting = spawn(call(&service).idle_timeout(seconds(1)));
    next(&mut others).await;
    assert!(matches!(
        waiting.await.expect("runs"),
        Err(Error::Timeout(_))
    ));

    let waiting = spawn(call(&service));
    let asked = next(&mut others).await;
    let refusal = map! {"_rtype": "error", "_rvalue": "no", "_rname": "hypha.PermissionDenied"};
    net.reply(&asked, "reject", list![refusal]);
    assert!(matches!(
        waiting.await.expect("runs"),
        Err(Error::Rejected(_))
    ));

    let begin = Instant::now();
    let waiting = spawn(call(&service).timeout(Duration::from_millis(400)));
    let asked = next(&mut others).await;
    net.reply(&asked, "reject", list![busy.clone()]);
    assert!(matches!(
        waiting.await.expect("runs"),
        Err(Error::Rejected(_))
    ));
    assert_passed(begin, seconds(0));

    let waiting = spawn(call(&service).retry(Retry::never()));
    let asked = next(&mut others).await;
    net.reply(&asked, "reject", list![busy]);
    assert!(matches!(
        waiting.await.expect("runs"),
        Err(Error::Rejected(_))
    ));
    assert!(others.try_recv().is_err());

    // The client retries an idempotent call even if the method may have run.
    let waiting = spawn(call(&service).idle_timeout(seconds(1)).idempotent());
    next(&mut others).await;
    let asked = next(&mut others).await;
    net.reply(&asked, "resolve", list![9i64]);
    assert_eq!(waiting.await.expect("runs").expect("answered"), 9);
}

#[tokio::test(start_paused = true)]
async fn manager_calls_are_repeated_after_the_server_lost_the_client() {
    let (client, net, mut others) = connected().await;
    let service = found(&client).await;
    tokio::time::sleep(seconds(10)).await;
    for (words, links) in [
        ("Connection has already been closed (client: ws/another)", 1),
        ("Connection has already been closed (client: ws/me)", 2),
    ] {
        let waiting = spawn(call(&service));
        let asked = next(&mut others).await;
        net.reply(
            &asked,
            "reject",
            list![map! {"_rtype": "error", "_rvalue": words}],
        );
        assert!(text(waiting.await.expect("runs")).contains(words));
        tokio::time::sleep(seconds(2)).await;
        assert_eq!(net.attempts(), links);
    }
    back(&client).await;
}

/// Returns a service with a method that waits until the call is cancelled. `stopped` counts the
/// cancelled calls.
fn stoppable(stopped: &Arc<AtomicUsize>) -> Service {
    let stopped = Arc::clone(stopped);
    let run = Method::new("run", move |call| {
        let stopped = Arc::clone(&stopped);
        async move {
            call.context().cancellation().cancelled().await;
            stopped.fetch_add(1, Ordering::SeqCst);
            call.reply(&"stopped")
        }
    });
    Service::new("slow")
        .visibility(Visibility::Public)
        .method(run)
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_cancelled_when_its_caller_disconnects() {
    let (client, net, mut others) = connected().await;
    let stopped = Arc::new(AtomicUsize::new(0));
    client
        .register_service(stoppable(&stopped))
        .await
        .expect("registers");
    for (from, session) in [("ws/peer", "S"), ("ws/other", "O")] {
        let main = map! {
            "type": "method", "from": from, "to": "ws/me", "session": session, "ws": "ws",
            "method": "services.slow.run",
        };
        net.send(main, map! {"args": list![], "promise": "*", "t": 100.0});
    }
    breathe().await;
    let left = map! {"id": "peer", "workspace": "ws"};
    net.send(
        map! {"type": "client_disconnected", "data": left},
        Value::Null,
    );
    assert_eq!(next(&mut others).await.text("method"), "S.resolve");
    breathe().await;
    assert_eq!(stopped.load(Ordering::SeqCst), 1);

    // The second call, `O`, is still running. `shutdown` cancels the handler of this call after the
    // grace period.
    let begin = Instant::now();
    client.shutdown(seconds(3)).await;
    assert_passed(begin, seconds(3));
    assert_eq!(stopped.load(Ordering::SeqCst), 2);
    let mut told = next(&mut others).await;
    while told.text("method").ends_with(".heartbeat") {
        told = next(&mut others).await;
    }
    assert_eq!(told.text("method"), "O.resolve");
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_cancelled_when_its_call_is_dropped() {
    let (a, b) = two_clients(Settings::in_process());
    let stopped = Arc::new(AtomicUsize::new(0));
    b.register_service(stoppable(&stopped))
        .await
        .expect("registers");
    let service = a.get_remote_service("ws/b:slow").await.expect("fetches");
    let run = || service.call::<String>("run", args!());

    let waiting = tokio::spawn(run().into_future());
    let staying = tokio::spawn(run().into_future());
    breathe().await;
    waiting.abort();
    breathe().await;
    assert_eq!(stopped.load(Ordering::SeqCst), 1);
    assert!(run().timeout(seconds(1)).await.is_err());
    breathe().await;
    assert_eq!(stopped.load(Ordering::SeqCst), 2);
    assert_eq!((b.stats().running, a.stats().sessions), (1, 1));
    staying.abort();
    breathe().await;
    settled(&a).await;
    settled(&b).await;
}

/// Over HTTP, a cancellation may overtake its call.
#[tokio::test(start_paused = true)]
async fn a_cancellation_may_arrive_before_its_call() {
    let (client, mut peer) = client();
    let stopped = Arc::new(AtomicUsize::new(0));
    let service = stoppable(&stopped);
    client.register_service(service).await.expect("registers");
    let cancel = |session: &str| map! {"args": list![session]};
    let main = map! {
        "type": "method", "from": PEER, "to": ME, "method": "services.built-in.cancel",
    };
    peer.send(main.clone(), cancel("early")).await;
    breathe().await;
    for (from, session) in [("ws/other", "early"), (PEER, "late"), (PEER, "early")] {
        peer.call_as(from, session, "services.slow.run", list![])
            .await;
    }
    breathe().await;
    assert_eq!(stopped.load(Ordering::SeqCst), 1);
    assert_eq!(peer.receive().await.text("to"), PEER);
    // A cancellation is forgotten after more than 64 further ones.
    for count in 0..64 {
        let session = format!("other-{count}");
        peer.send(main.clone(), cancel(&session)).await;
    }
    peer.send(main, cancel("kept")).await;
    breathe().await;
    for session in ["other-0", "other-1", "kept"] {
        peer.call_as(PEER, session, "services.slow.run", list![])
            .await;
    }
    breathe().await;
    assert_eq!(stopped.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_completed_call_cancels_nothing() {
    let (a, b, remote, _probe) = calling(Settings::in_process()).await;
    let before = b.stats().calls_received;
    for _ in 0..3 {
        let sum: i64 = remote.call("add", args!(1, 2)).await.expect("answered");
        assert_eq!(sum, 3);
    }
    breathe().await;
    assert_eq!(b.stats().calls_received - before, 3);
    drop(a);
}

/// Acts as the receiver of a chunked message. Receives and answers up to `steps` messages. Returns
/// the number of received messages.
async fn take_chunks(net: &Net, others: &mut Others, steps: usize) -> usize {
    for taken in 0..steps {
        let message = tokio::time::timeout(seconds(1), others.recv()).await;
        let Ok(Some(message)) = message else {
            return taken;
        };
        let answer = match message.text("method") {
            "services.built-in.get_service" => map! {
                "id": "built-in", "config": map! {"api_version": 3i64},
                "message_cache": map! {"create": Value::Null},
            },
            _ => Value::Null,
        };
        if message.has("session") {
            net.reply(&message, "resolve", list![answer]);
        }
    }
    steps
}

#[tokio::test(start_paused = true)]
async fn a_link_may_break_at_every_step_of_a_large_message() {
    // The client sends a request for the built-in service, a request to create the message, four
    // chunks, and `process`.
    const STEPS: usize = 7;
    let codes = [
        None,
        Some(1000),
        Some(1001),
        Some(1008),
        Some(1009),
        Some(1012),
    ];
    for steps in 0..=STEPS {
        for code in codes {
            let (client, net, mut others) = connected().await;
            let service = found(&client).await;
            let payload = crate::support::payload(1_000_000);
            let large = || service.call::<i64>("call", args!(payload));
            let waiting = spawn(large());
            let taken = take_chunks(&net, &mut others, steps).await;
            assert_eq!(taken, steps);
            breathe().await;
            match code {
                None => net.cut(),
                Some(code) => net.push(Frame::Close(Some((code, "now".into())))),
            }
            let error = disconnected(waiting.await.expect("runs"));
            assert_eq!(error.lost, Lost::Link, "{error:?}");
            // If the client has not sent `process`, the method cannot have run.
            assert_eq!(
                error.may_have_run,
                steps >= STEPS - 1,
                "after {steps} steps"
            );
            assert_eq!(client.stats().sessions, 0);
            back(&client).await;
            while others.try_recv().is_ok() {}
            let waiting = spawn(large());
            assert_eq!(take_chunks(&net, &mut others, STEPS).await, STEPS);
            waiting.abort();
        }
    }
}

/// Makes the client drop a stream of a peer.
async fn dropped_stream(client: &Client, net: &Net, others: &mut Others) {
    let service = found(client).await;
    let calling = tokio::spawn(service.call::<Value>("call", args!()).into_future());
    let asked = others.recv().await.expect("a call");
    let stream = map! {
        "_rtype": "generator", "_rtarget": "ws/peer", "_rmethod": "T.next",
        "_rclose_method": "T.close", "_rpromise": "*",
    };
    net.reply(&asked, "resolve", list![stream]);
    drop(calling.await.expect("no panic").expect("a stream"));
}

#[tokio::test(start_paused = true)]
async fn close_notices_are_repeated_over_the_next_link() {
    let (client, net, mut others) = connected().await;
    dropped_stream(&client, &net, &mut others).await;
    let close = others.recv().await.expect("a notice");
    assert_eq!(close.text("method"), "T.close");
    // The close notice may have been lost with the link, so the client repeats it.
    net.cut_after_all().await;
    back(&client).await;
    let again = others.recv().await.expect("a notice");
    assert_eq!(again.main, close.main);
    net.reply(&again, "resolve", list![Value::Null]);
    let more = tokio::time::timeout(seconds(100), others.recv()).await;
    assert!(more.is_err(), "{more:?}");
}
