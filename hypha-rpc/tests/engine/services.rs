//! Tests incoming calls: arguments, results, errors, panics, and the limit on concurrent calls.

use std::sync::Arc;

use hypha_rpc::client::Settings;
use hypha_rpc::error::{RejectKind, Rejection};
use hypha_rpc::service::{Method, Service, Visibility};
use hypha_rpc::{Error, Value, args};

use crate::support::{
    ME, PEER, Probe, breathe, calling, list, map, method_main, seconds, service, serving, settled,
};

#[tokio::test(start_paused = true)]
async fn a_response_has_the_form_of_the_protocol() {
    let (client, mut peer, _) = serving(hypha_rpc::client::Settings::in_process()).await;
    peer.call("services.svc.nothing", list![]).await;
    let answer = peer.receive().await;
    let main = map! {
        "type": "method", "from": ME, "to": PEER, "method": "S.resolve", "parent": "S",
    };
    assert_eq!(Value::Map(answer.main), main);
    let extra = map! {"args": list![Value::Null]};
    assert_eq!(answer.extra.map(Value::Map), Some(extra));

    peer.call("services.svc.nope", list![]).await;
    let answer = peer.receive().await;
    assert_eq!(answer.text("method"), "S.reject");
    let text = "Method expired or not found: ws/peer:services.svc.nope";
    let error = map! {
        "_rtype": "error", "_rvalue": text, "_rtrace": format!("KeyError: {text}\n"),
        "_rname": "hypha.UnknownMethod",
    };
    assert_eq!(
        answer.extra.map(Value::Map),
        Some(map! {"args": list![error]})
    );
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn missing_methods_are_reported_with_the_messages_of_the_protocol() {
    let (client, mut peer, probe) = serving(hypha_rpc::client::Settings::in_process()).await;
    for (method, expected) in [
        (
            "services.svc.nope",
            "Method expired or not found: ws/peer:services.svc.nope",
        ),
        (
            "services.svc.math.nope",
            "Method expired or not found: ws/peer:services.svc.math.nope",
        ),
        (
            "services.svc.echo.x",
            "Method expired or not found: ws/peer:services.svc.echo.x",
        ),
        (
            "services.nope.f",
            "Method expired or not found: ws/peer:services.nope.f",
        ),
        (
            "services.nope",
            "Method expired or not found: ws/peer:services.nope",
        ),
        ("nosession.f", "Session not found: ws/peer:nosession.f"),
        ("a.b.c", "Session not found: ws/peer:a.b.c"),
        ("f", "Method not found: ws/peer:f at me"),
        (
            "services.svc.const",
            "Invalid method: ws/peer:services.svc.const",
        ),
        (
            "services.svc.math",
            "Invalid method: ws/peer:services.svc.math",
        ),
        ("services.svc", "Invalid method: ws/peer:services.svc"),
        (
            "services.built-in.message_cache",
            "Invalid method: ws/peer:services.built-in.message_cache",
        ),
    ] {
        assert_eq!(peer.ask(method, list![]).await, Err(expected.to_owned()));
    }
    assert_eq!(probe.started(), 0);
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn nested_members_are_called_by_their_path() {
    let (a, b, service, _) = calling(hypha_rpc::client::Settings::in_process()).await;
    let double: i64 = service
        .call("math.double", args!(21))
        .await
        .expect("answers");
    assert_eq!(double, 42);
    let mut names: Vec<_> = service
        .methods()
        .filter(|name| name.contains('.'))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["math.double"]);
    assert_eq!(service.get("const"), Some(&Value::from(5i64)));
    settled(&a).await;
    settled(&b).await;
}

#[tokio::test(start_paused = true)]
async fn wrong_arguments_are_refused_by_name() {
    let (client, mut peer, _) = serving(hypha_rpc::client::Settings::in_process()).await;
    let person = |names: Value| list![map! {"names": names}];
    for (method, args, expected) in [
        (
            "add",
            list![],
            "svc.add: missing argument `a` (expected: a, b)",
        ),
        (
            "add",
            list![1i64, 2i64, 3i64],
            "svc.add: takes 2 arguments (a, b), got 3",
        ),
        (
            "echo",
            list![1i64, 2i64],
            "svc.echo: takes 1 argument (value), got 2",
        ),
        (
            "nothing",
            list![1i64],
            "svc.nothing: takes no arguments, got 1",
        ),
        (
            "add",
            list!["x"],
            "svc.add: argument `a`: expected integer, got string",
        ),
        (
            "names",
            person(list!["a", 2i64]),
            "svc.names: argument `person.names[1]`: expected string, got integer",
        ),
    ] {
        let outcome = peer.ask(&format!("services.svc.{method}"), args).await;
        assert_eq!(outcome, Err(expected.to_owned()));
    }
    for (method, named, expected) in [
        (
            "add",
            list![map! {"c": 1i64}],
            "svc.add: unknown argument `c` (expected: a, b)",
        ),
        (
            "nothing",
            list![map! {"c": 1i64}],
            "svc.nothing: unknown argument `c` (expected: none)",
        ),
        (
            "add",
            list![1i64, map! {"a": 2i64}],
            "svc.add: argument `a` is given twice, by position and by name",
        ),
        (
            "add",
            list![map! {"b": 2i64}],
            "svc.add: missing argument `a` (expected: a, b)",
        ),
    ] {
        let extra = map! {"args": named, "with_kwargs": true, "promise": "*", "t": 10.0};
        peer.send(
            method_main(PEER, "S", &format!("services.svc.{method}")),
            extra,
        )
        .await;
        assert_eq!(peer.answer_of("S").await, Err(expected.to_owned()));
    }
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_in_rust_sees_that_the_arguments_were_wrong() {
    let (a, b, service, _) = calling(hypha_rpc::client::Settings::in_process()).await;
    let error = service
        .call::<i64>("add", args!("x"))
        .await
        .expect_err("refused");
    assert_eq!(
        error.to_string(),
        "svc.add on ws/b: argument `a`: expected integer, got string"
    );
    assert!(!error.may_have_run() && !error.is_retryable());
    let kind = RejectKind::InvalidArguments;
    assert!(matches!(error, Error::Rejected(Rejection { kind: k, .. }) if k == kind));
    settled(&a).await;
    settled(&b).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_to_its_caller_only() {
    let (a, b, service, probe) = calling(hypha_rpc::client::Settings::in_process()).await;
    let waiting = tokio::spawn(service.call::<String>("wait", args!()).into_future());
    for (method, expected) in [
        (
            "panic_first",
            "svc.panic_first on ws/b: svc.panic_first panicked: before the future",
        ),
        (
            "panic_later",
            "svc.panic_later on ws/b: svc.panic_later panicked: inside the future",
        ),
    ] {
        let error = service
            .call::<Value>(method, args!())
            .await
            .expect_err("fails");
        assert_eq!(error.to_string(), expected);
        assert!(matches!(error, Error::Remote(_)));
    }
    let sum: i64 = service.call("add", args!(1)).await.expect("lives on");
    assert_eq!(sum, 2);
    probe.gate.notify_one();
    assert_eq!(waiting.await.expect("runs").expect("answers"), "waited");
    settled(&a).await;
    settled(&b).await;
}

#[tokio::test(start_paused = true)]
async fn a_result_that_cannot_be_encoded_is_an_error() {
    let (client, mut peer, _) = serving(hypha_rpc::client::Settings::in_process()).await;
    let outcome = peer.ask("services.svc.unencodable", list![]).await;
    let text = outcome.expect_err("rejected");
    assert!(
        text.starts_with("the result of services.svc.unencodable cannot be sent: "),
        "{text}"
    );
    assert_eq!(
        peer.ask("services.svc.add", list![1i64]).await,
        Ok(2i64.into())
    );
    settled(&client).await;
}

fn at_most(calls: usize) -> Settings {
    let mut settings = Settings::in_process();
    settings.max_concurrent_calls = calls;
    settings
}

#[tokio::test(start_paused = true)]
async fn excess_calls_are_rejected() {
    let (client, mut peer, probe) = serving(at_most(3)).await;
    for session in ["S1", "S2", "S3"] {
        peer.call_as(PEER, session, "services.svc.wait", list![])
            .await;
    }
    breathe().await;
    assert_eq!(client.stats().running, 3);
    peer.call_as(PEER, "S4", "services.svc.wait", list![]).await;
    assert_eq!(
        peer.answer_of("S4").await,
        Err("too many calls in progress (at most 3)".to_owned())
    );
    assert_eq!(client.stats().refused_busy, 1);
    probe.gate.notify_one();
    assert_eq!(peer.answer_of("S1").await, Ok("waited".into()));
    breathe().await;
    peer.call_as(PEER, "S5", "services.svc.add", list![1i64])
        .await;
    assert_eq!(peer.answer_of("S5").await, Ok(2i64.into()));
    probe.gate.notify_waiters();
    assert_eq!(peer.answer_of("S2").await, Ok("waited".into()));
    assert_eq!(peer.answer_of("S3").await, Ok("waited".into()));
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn a_rust_caller_knows_that_a_busy_peer_did_not_run_it() {
    let (a, b, service, probe) = calling(at_most(1)).await;
    let waiting = tokio::spawn(service.call::<String>("wait", args!()).into_future());
    breathe().await;
    let error = service
        .call::<i64>("add", args!(1))
        .await
        .expect_err("busy");
    assert!(error.is_retryable() && !error.may_have_run());
    let kind = RejectKind::Busy;
    assert!(matches!(error, Error::Rejected(Rejection { kind: k, .. }) if k == kind));
    probe.gate.notify_one();
    assert_eq!(waiting.await.expect("runs").expect("answers"), "waited");
    settled(&a).await;
    settled(&b).await;
}

/// A busy client must still respond to the server, which pings clients and fetches their services.
#[tokio::test(start_paused = true)]
async fn a_busy_client_still_responds_to_the_server() {
    let (a, b, service, probe) = calling(at_most(1)).await;
    let waiting = tokio::spawn(service.call::<String>("wait", args!()).into_future());
    breathe().await;
    a.ping("b", seconds(1)).await.expect("pong");
    a.get_remote_service("ws/b:svc").await.expect("fetches");
    probe.gate.notify_one();
    assert_eq!(waiting.await.expect("runs").expect("answers"), "waited");
    settled(&a).await;
    settled(&b).await;
}

#[tokio::test(start_paused = true)]
async fn a_replaced_service_completes_its_running_calls() {
    let (client, mut peer, probe) = serving(hypha_rpc::client::Settings::in_process()).await;
    peer.call_as(PEER, "S1", "services.svc.wait", list![]).await;
    breathe().await;
    let refused = client.register_service(Service::new("svc")).await;
    assert_eq!(
        refused.expect_err("taken").to_string(),
        "Service already exists: svc, please specify a different id (not svc) or overwrite"
    );
    let other = Service::new("svc")
        .visibility(Visibility::Public)
        .method(Method::new(
            "echo",
            |call| async move { call.reply(&"new") },
        ));
    client
        .register_service(other)
        .overwrite(true)
        .await
        .expect("replaces");
    assert_eq!(
        peer.ask("services.svc.echo", list![1i64]).await,
        Ok("new".into())
    );
    assert!(peer.ask("services.svc.wait", list![]).await.is_err());
    probe.gate.notify_one();
    assert_eq!(peer.answer_of("S1").await, Ok("waited".into()));
    settled(&client).await;
    assert_eq!(Arc::strong_count(&probe), 1, "the former service is gone");

    client
        .unregister_service("ws/me:svc")
        .await
        .expect("withdraws");
    assert!(peer.ask("services.svc.echo", list![]).await.is_err());
    let again = client.unregister_service("svc").await.expect_err("gone");
    assert_eq!(again.to_string(), "Service not found: svc");
}

#[tokio::test(start_paused = true)]
async fn invalid_services_are_not_registered() {
    let (client, _peer, _) = serving(hypha_rpc::client::Settings::in_process()).await;
    for id in ["", "a.b", "a:b", "a@b", "a/b"] {
        let error = client
            .register_service(Service::new(id))
            .await
            .expect_err("refused");
        assert_eq!(
            error.to_string(),
            format!("service id `{id}`: it must not be empty nor contain `.`, `:`, `@` or `/`")
        );
    }
    let open = service(&Arc::new(Probe::default()))
        .with_id("open")
        .authorized_workspaces(["w"]);
    client.register_service(open).await.expect_err("refused");
}

/// JavaScript clients send pings with an additional argument.
#[tokio::test(start_paused = true)]
async fn a_ping_with_more_arguments_is_answered() {
    let (client, mut peer, _) = serving(hypha_rpc::client::Settings::in_process()).await;
    let ping = "services.built-in.ping";
    assert_eq!(
        peer.ask(ping, list!["ping", 1i64]).await,
        Ok(Value::from("pong"))
    );
    peer.ask(ping, list!["pong"]).await.expect_err("not a ping");
    settled(&client).await;
}

/// The client rejects a service if one of its members contradicts its id, its config or another
/// member, or replaces a reserved key.
#[tokio::test(start_paused = true)]
async fn contradictory_services_are_rejected() {
    let (client, _peer, _) = serving(hypha_rpc::client::Settings::in_process()).await;
    let method = |name: &str| Method::new(name, |call| async move { call.reply(&()) });
    for service in [
        Service::new("a.b"),
        Service::new("built-in"),
        Service::new("s").config("visibility", "public"),
        Service::new("s").method(method("config")),
        Service::new("s").method(method("a.")),
        Service::new("s").method(method("a")).method(method("a.b")),
    ] {
        let refused = client.register_service(service).overwrite(true).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    assert!(client.unregister_service("built-in").await.is_err());
    client
        .register_service(Service::new("s").method(method("ab")).method(method("a.b")))
        .await
        .expect("registered");
}
