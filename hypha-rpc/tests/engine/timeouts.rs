//! Tests idle timeouts, total timeouts and heartbeats of callers and callees, with millisecond
//! precision.

use std::time::Duration;

use hypha_rpc::error::{Timeout, TimeoutKind};
use hypha_rpc::{Error, Retry, Value, args};
use tokio::time::{Instant, sleep};

use crate::support::{
    ME, PEER, assert_passed, breathe, client, list, map, method_main, seconds, serving, settled,
};

fn timeout<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Timeout {
    match outcome {
        Err(Error::Timeout(timeout)) => timeout,
        other => panic!("not a time-out: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_callee_times_out() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    let begin = Instant::now();
    let error = timeout(service.call::<Value>("call", args!()).await);
    assert_passed(begin, seconds(30));
    assert_eq!(
        (error.kind, error.limit, error.sent),
        (TimeoutKind::Idle, seconds(30), true)
    );
    assert_eq!(
        error.to_string(),
        "svc.call on ws/peer: no heartbeat or response within 30s"
    );
    let begin = Instant::now();
    let call = service
        .call::<Value>("call", args!())
        .idle_timeout(Duration::from_millis(1500));
    timeout(call.await);
    assert_passed(begin, Duration::from_millis(1500));
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_a_call_alive_until_they_stop() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    let begin = Instant::now();
    let calling = service.call::<Value>("call", args!()).into_future();
    let beating = async {
        let call = peer.receive().await;
        for _ in 0..20 {
            sleep(seconds(29)).await;
            peer.reply(&call, "heartbeat", Value::Null).await;
        }
        sleep(seconds(10)).await;
        // Heartbeats from other clients do not extend the idle timeout of the call.
        peer.reply_as("ws/other", &call, "heartbeat", Value::Null)
            .await;
    };
    let (outcome, ()) = tokio::join!(calling, beating);
    assert_eq!(timeout(outcome).kind, TimeoutKind::Idle);
    assert_passed(begin, seconds(20 * 29 + 30));
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn heartbeats_do_not_extend_the_total_timeout() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    let begin = Instant::now();
    let calling = service.call::<Value>("call", args!()).timeout(seconds(40));
    let beating = async {
        let call = peer.receive().await;
        loop {
            sleep(seconds(3)).await;
            peer.reply(&call, "heartbeat", Value::Null).await;
        }
    };
    let outcome = tokio::select! {
        outcome = calling.into_future() => outcome,
        () = beating => unreachable!(),
    };
    let error = timeout(outcome);
    assert_passed(begin, seconds(40));
    assert_eq!(
        (error.kind, error.limit, error.sent),
        (TimeoutKind::Total, seconds(40), true)
    );
    assert_eq!(
        error.to_string(),
        "svc.call on ws/peer: no response within 40s"
    );
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn an_infinite_timeout_is_no_timeout() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    for limit in [Duration::MAX, seconds(10_000_000_000)] {
        let calling = service
            .call::<i64>("call", args!())
            .idle_timeout(limit)
            .timeout(limit);
        let answering = async {
            let call = peer.receive().await;
            sleep(seconds(100_000)).await;
            peer.reply(&call, "resolve", list![1i64]).await;
        };
        let (outcome, ()) = tokio::join!(calling.into_future(), answering);
        assert_eq!(outcome.expect("answers"), 1);
    }
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn a_running_method_sends_heartbeats() {
    let (client, mut peer, probe) = serving(hypha_rpc::client::Settings::in_process()).await;
    let begin = Instant::now();
    peer.call("services.svc.wait", list![]).await;
    for passed in [250, 10_250, 20_250] {
        let beat = peer.receive().await;
        assert_passed(begin, Duration::from_millis(passed));
        assert_eq!(beat.text("method"), "S.heartbeat");
        assert_eq!((beat.text("parent"), beat.text("to")), ("S", PEER));
        assert!(!beat.has("session") && beat.extra.is_none());
    }
    probe.gate.notify_one();
    assert_eq!(peer.answer_of("S").await, Ok("waited".into()));
    peer.nothing_for(seconds(100)).await;
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_heartbeat_is_not_later_than_the_interval() {
    let (client, mut peer, probe) = serving(hypha_rpc::client::Settings::in_process()).await;
    let begin = Instant::now();
    let extra = map! {"args": list![], "promise": "*", "t": 0.1};
    peer.send(method_main(PEER, "S", "services.svc.wait"), extra)
        .await;
    for n in 1..5 {
        assert_eq!(peer.receive().await.text("method"), "S.heartbeat");
        let passed = begin.elapsed();
        // Each timer may be up to 1 ms late.
        let ideal = Duration::from_millis(100 * n);
        assert!(
            ideal <= passed && passed < ideal + Duration::from_millis(2 * n),
            "{passed:?}"
        );
    }
    probe.gate.notify_one();
    assert_eq!(peer.answer_of("S").await, Ok("waited".into()));
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn no_heartbeats_after_rejection_panic_or_without_request() {
    let (client, mut peer, probe) = serving(hypha_rpc::client::Settings::in_process()).await;
    // The client sends no heartbeats after it has rejected a call.
    for method in [
        "services.svc.nope",
        "services.nope.f",
        "T.f",
        "services.svc.const",
    ] {
        assert!(peer.ask(method, list![]).await.is_err());
        peer.nothing_for(seconds(100)).await;
    }
    // The client sends no heartbeats after a handler has panicked.
    assert!(peer.ask("services.svc.panic_later", list![]).await.is_err());
    peer.nothing_for(seconds(100)).await;
    // The client sends no heartbeats if the call contains no interval.
    let extra = map! {"args": list![], "promise": "*", "t": 0i64};
    peer.send(method_main(PEER, "S", "services.svc.wait"), extra)
        .await;
    peer.nothing_for(seconds(100)).await;
    probe.gate.notify_one();
    assert_eq!(peer.answer_of("S").await, Ok("waited".into()));
    // The client sends no heartbeats if the call contains no promise.
    let main = map! {"type": "method", "from": PEER, "to": ME, "method": "services.svc.wait"};
    peer.send(main, Value::Null).await;
    peer.nothing_for(seconds(100)).await;
    assert_eq!(client.stats().running, 1);
    probe.gate.notify_one();
    peer.nothing_for(seconds(100)).await;
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn an_explicit_promise_is_followed() {
    let (client, mut peer, _) = serving(hypha_rpc::client::Settings::in_process()).await;
    let function = |name: &str| {
        map! {
            "_rtype": "method", "_rtarget": "peer", "_rmethod": format!("X.{name}"),
            "_rpromise": false,
        }
    };
    let promise = map! {
        "heartbeat": function("beat"), "interval": 5.0,
        "resolve": function("good"), "reject": function("bad"),
    };
    for (seconds, member, args) in [(6.0, "good", list![6.0]), (0.0, "bad", list![])] {
        let extra = map! {"args": args, "promise": promise.clone()};
        peer.send(method_main(PEER, "X", "services.svc.sleep"), extra)
            .await;
        if seconds > 0.0 {
            for _ in 0..2 {
                assert_eq!(peer.receive().await.text("method"), "X.beat");
            }
        }
        let answer = peer.receive().await;
        assert_eq!(answer.text("method"), format!("X.{member}"));
        assert_eq!((answer.text("to"), answer.text("parent")), (PEER, "X"));
    }
    settled(&client).await;
}

/// A caller could send a promise that refers to functions of a third client. The client must not
/// call these functions.
#[tokio::test(start_paused = true)]
async fn a_promise_of_another_client_is_not_executed() {
    let (client, mut peer, probe) = serving(hypha_rpc::client::Settings::in_process()).await;
    let function = |target: &str, name: &str| {
        map! {"_rtype": "method", "_rtarget": target, "_rmethod": format!("S.{name}")}
    };
    for (beat, resolve, reject) in [
        ("ws/other", PEER, PEER),
        (PEER, "other", PEER),
        (PEER, "peer", "else/peer"),
    ] {
        let promise = map! {
            "heartbeat": function(beat, "heartbeat"), "interval": 5.0,
            "resolve": function(resolve, "resolve"), "reject": function(reject, "reject"),
        };
        let extra = map! {"args": list![1i64], "promise": promise};
        peer.send(method_main(PEER, "S", "services.svc.echo"), extra)
            .await;
        peer.nothing_for(seconds(100)).await;
    }
    assert_eq!(probe.started(), 0);
    assert_eq!(client.stats().dropped_malformed, 3);
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_call_does_not_time_out_immediately() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    let calling = service.call::<i64>("call", args!()).timeout(Duration::ZERO);
    let error = timeout(calling.await);
    assert_eq!(error.kind, TimeoutKind::Total);
    breathe().await;
    settled(&client).await;
}

/// The client sends at most ten heartbeats per second, even if the caller requests more. Otherwise,
/// one call could fill the link.
#[tokio::test(start_paused = true)]
async fn heartbeats_have_a_minimum_interval() {
    let (client, mut peer, _) = serving(hypha_rpc::client::Settings::in_process()).await;
    let main = method_main(PEER, "S", "services.svc.sleep");
    let extra = map! {"args": list![1.05], "promise": "*", "t": 1e-9};
    peer.send(main, extra).await;
    let mut beats = 0;
    loop {
        let message = peer.receive().await;
        if message.text("method") != "S.heartbeat" {
            break;
        }
        beats += 1;
    }
    assert_eq!(beats, 10);
    settled(&client).await;
}

/// Each attempt may take only the remaining time. The error still names the timeout of the whole
/// call.
#[tokio::test(start_paused = true)]
async fn a_late_retry_names_the_timeout_of_the_call() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    let calling = service
        .call::<Value>("call", args!())
        .timeout(seconds(20))
        .retry(Retry::times(1).first(seconds(4)));
    let answering = async {
        let call = peer.receive().await;
        let busy = map! {"_rtype": "error", "_rvalue": "too many calls", "_rname": "hypha.Busy"};
        peer.reply(&call, "reject", list![busy]).await;
        peer.receive().await
    };
    let (outcome, _) = tokio::join!(calling.into_future(), answering);
    let error = timeout(outcome);
    assert_eq!((error.kind, error.limit), (TimeoutKind::Total, seconds(20)));
}
