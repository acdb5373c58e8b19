//! Tests outgoing calls: the form of requests, the messages that are accepted as responses, and
//! that no state remains after a call.

use std::collections::HashMap;

use hypha_rpc::error::{DecodeError, RejectKind, Rejection, report};
use hypha_rpc::prelude::*;
use hypha_rpc::service::Visibility;
use hypha_rpc::{Error, Proxy, Value, args};

use crate::support::{
    ME, PEER, breathe, calling, client, list, map, seconds, settled, text, two_clients,
};

/// Arithmetic, for the test of typed calls.
#[hypha_service(id = "calc")]
trait Calc {
    /// Divide.
    async fn divide(&self, a: f64, #[hypha(default = 2.0)] b: f64) -> anyhow::Result<f64>;
    /// Returns the length of `text`, and the caller.
    async fn length(&self, text: &str, ctx: &Context) -> (usize, String);
}

struct Impl;

impl Calc for Impl {
    async fn divide(&self, a: f64, b: f64) -> anyhow::Result<f64> {
        anyhow::ensure!(b != 0.0, "division by zero");
        Ok(a / b)
    }

    async fn length(&self, text: &str, ctx: &Context) -> (usize, String) {
        (text.len(), ctx.from().to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn typed_and_dynamic_calls_reach_the_same_method() {
    let (a, b) = two_clients(hypha_rpc::client::Settings::in_process());
    b.register_service(CalcService::new(Impl))
        .visibility(Visibility::Public)
        .await
        .expect("registers");
    let service = a.get_remote_service("ws/b:calc").await.expect("fetches");
    let calc = CalcProxy::from_service(service.clone());

    assert_eq!(calc.divide(3.0, 1.5).await.expect("divides"), 2.0);
    let length = calc.length("four").await.expect("answers");
    assert_eq!(length, (4, "ws/a".to_owned()));
    let failed = calc.divide(1.0, 0.0).await.expect_err("fails");
    assert_eq!(failed.to_string(), "calc.divide on ws/b: division by zero");
    assert!(matches!(failed, Error::Remote(_)));
    assert!(failed.may_have_run() && !failed.is_retryable());

    for args in [args!(3, b = 1.5), args!(3, 1.5), args!(b = 1.5, a = 3)] {
        assert_eq!(
            service.call::<f64>("divide", args).await.expect("divides"),
            2.0
        );
    }
    let half: f64 = service.call("divide", args!(3)).await.expect("divides");
    assert_eq!(half, 1.5);
    assert_eq!(a.stats().calls_made, 8);
    assert_eq!(b.stats().calls_received, 8);
    settled(&a).await;
    settled(&b).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_calls_itself_through_its_link() {
    let (client, mut peer) = client();
    let fetching = client.get_remote_service("built-in");
    let carrying = async {
        for _ in 0..2 {
            let frame = peer.frame().await.expect("a frame");
            peer.push(frame).await;
        }
    };
    let (service, ()) = tokio::join!(fetching, carrying);
    assert!(service.expect("fetches").has_method("message_cache.set"));
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_has_the_form_of_the_protocol() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    let calling = service
        .call::<Value>("call", args!(1, "x", scale = 2.5))
        .idle_timeout(seconds(8));
    let answering = async {
        let call = peer.receive().await;
        assert_eq!(
            call.main.keys().collect::<Vec<_>>(),
            ["type", "from", "to", "method", "session"]
        );
        assert_eq!(
            (call.text("type"), call.text("from"), call.text("to")),
            ("method", ME, PEER)
        );
        assert_eq!(call.text("method"), "services.svc.call");
        let expected = map! {
            "args": list![1i64, "x", map!{"scale": 2.5}],
            "with_kwargs": true, "promise": "*", "t": 4.0,
        };
        assert_eq!(call.extra.clone().map(Value::Map), Some(expected));
        assert_eq!(client.stats().sessions, 1);
        // A `resolve` without arguments is a null result.
        peer.reply(&call, "resolve", Value::Null).await;
    };
    let (answer, ()) = tokio::join!(calling.into_future(), answering);
    assert_eq!(answer.expect("answers"), Value::Null);
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_to_the_built_in_service_has_an_explicit_promise() {
    let (client, mut peer) = client();
    let ping = client.ping("peer", seconds(100));
    let answering = async {
        let call = peer.receive().await;
        let session = call.text("session").to_owned();
        let function = |name: &str| {
            map! {
                "_rtype": "method", "_rtarget": "me", "_rmethod": format!("{session}.{name}"),
                "_rpromise": false,
            }
        };
        let promise = map! {
            "heartbeat": function("heartbeat"), "interval": 15.0,
            "resolve": function("resolve"), "reject": function("reject"),
        };
        assert_eq!(call.extra("promise"), Some(&promise));
        assert_eq!(call.arg(0), Value::from("ping"));
        peer.reply(&call, "resolve", list!["pong"]).await;
    };
    let (answer, ()) = tokio::join!(ping, answering);
    answer.expect("pong");
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_frees_its_session_at_once() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    let mut call = service.call::<Value>("call", args!()).into_future();
    assert_eq!(
        client.stats().sessions,
        0,
        "nothing happens before it is awaited"
    );
    tokio::select! {
        biased;
        outcome = &mut call => panic!("{outcome:?}"),
        () = breathe() => {}
    }
    assert_eq!(client.stats().sessions, 1);
    drop(call);
    assert_eq!(client.stats().sessions, 0);
    let sent = peer.receive().await;
    peer.reply(&sent, "resolve", list![1i64]).await;
    breathe().await;
    assert_eq!(client.stats().dropped_late, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_response_has_no_session() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    service
        .call::<Value>("call", args!(7))
        .send()
        .await
        .expect("sent");
    let call = peer.receive().await;
    assert!(!call.has("session"));
    assert_eq!(call.extra.map(Value::Map), Some(map! {"args": list![7i64]}));
    service
        .call::<Value>("call", args!())
        .send()
        .await
        .expect("sent");
    assert!(peer.receive().await.extra.is_none());
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn late_and_foreign_responses_are_counted_and_ignored() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    let calling = service.call::<i64>("call", args!()).into_future();
    let answering = async {
        let call = peer.receive().await;
        for stranger in ["ws/other", "other/peer", "peer"] {
            peer.reply_as(stranger, &call, "resolve", list![666i64])
                .await;
            peer.reply_as(stranger, &call, "reject", list!["no"]).await;
        }
        peer.reply_as("ws/other", &call, "heartbeat", Value::Null)
            .await;
        peer.reply(&call, "resolve", list![1i64]).await;
        for member in ["resolve", "reject", "heartbeat"] {
            peer.reply(&call, member, list![2i64]).await;
        }
    };
    let (answer, ()) = tokio::join!(calling, answering);
    assert_eq!(answer.expect("answers"), 1);
    breathe().await;
    let stats = client.stats();
    // An address without a workspace is invalid.
    assert_eq!((stats.dropped_stranger, stats.dropped_malformed), (4, 2));
    assert_eq!(stats.dropped_late, 4);
    peer.nothing_for(seconds(100)).await;
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn any_value_given_to_reject_is_a_failure() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    let error = map! {"_rtype": "error", "_rvalue": "bad",
    "_rtrace": "Traceback (most recent call last):\n  File\nValueError: bad\n"};
    for (given, expected) in [
        (list!["just text"], "svc.call on ws/peer: just text"),
        (list![error], "svc.call on ws/peer: ValueError: bad"),
        (list![map! {"a": 1i64}], "svc.call on ws/peer: {\"a\":1}"),
        (list![5i64], "svc.call on ws/peer: 5"),
        (list![Value::Null], "svc.call on ws/peer: null"),
        (list![], "svc.call on ws/peer: null"),
        (Value::Null, "svc.call on ws/peer: null"),
    ] {
        let calling = service.call::<Value>("call", args!()).into_future();
        let answering = async {
            let call = peer.receive().await;
            peer.reply(&call, "reject", given).await;
        };
        let (outcome, ()) = tokio::join!(calling, answering);
        assert!(matches!(outcome, Err(Error::Remote(_))), "{outcome:?}");
        assert_eq!(text(outcome), expected);
    }
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_peer_reported_by_the_server_is_a_rejection() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    let calling = service.call::<Value>("call", args!()).into_future();
    let answering = async {
        let call = peer.receive().await;
        let value = "Target peer ws/peer is not connected";
        let error = map! {"_rtype": "error", "_rvalue": value, "_rtrace": ""};
        peer.reply(&call, "reject", list![error]).await;
    };
    let (outcome, ()) = tokio::join!(calling, answering);
    let error = outcome.expect_err("fails");
    assert!(error.is_retryable() && !error.may_have_run());
    let kind = RejectKind::PeerNotConnected;
    assert!(matches!(error, Error::Rejected(Rejection { kind: k, .. }) if k == kind));
}

#[tokio::test(start_paused = true)]
async fn a_result_of_another_type_names_the_path() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    let calling = service.call::<HashMap<String, Vec<u8>>>("call", args!());
    let answering = async {
        let call = peer.receive().await;
        let wrong = map! {"a": list![1i64, "two"]};
        peer.reply(&call, "resolve", list![wrong]).await;
    };
    let (outcome, ()) = tokio::join!(calling.into_future(), answering);
    let error = outcome.expect_err("fails");
    assert_eq!(
        report(&error),
        "svc.call on ws/peer: the result is not of the expected type at `a[1]`: a[1]: expected \
         integer, got string"
    );
    let decode = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
    assert_eq!(decode.map(DecodeError::path).as_deref(), Some("a[1]"));
    assert!(matches!(error, Error::Codec(error) if error.received));
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn values_that_cannot_be_encoded_are_not_sent() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    let keys = HashMap::from([((1, 2), 3)]);
    let error = service
        .call::<Value>("call", args!(1, table = keys))
        .await
        .expect_err("fails");
    assert!(error.to_string().contains("`table`"), "{error}");
    assert!(!error.may_have_run());
    let error = service
        .call::<Value>("nope", args!())
        .await
        .expect_err("fails");
    assert_eq!(
        error.to_string(),
        "svc.nope on ws/peer: the service has no such method (it has: call)"
    );
    peer.nothing_for(seconds(100)).await;
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn concurrent_calls_get_their_own_responses() {
    let (a, b, service, _) = calling(hypha_rpc::client::Settings::in_process()).await;
    let calls = (0..500i64).map(|n| service.call::<i64>("add", args!(n, n)).into_future());
    let sums = futures_util::future::join_all(calls).await;
    for (n, sum) in sums.into_iter().enumerate() {
        assert_eq!(sum.expect("adds"), 2 * n as i64);
    }
    settled(&a).await;
    settled(&b).await;
}
