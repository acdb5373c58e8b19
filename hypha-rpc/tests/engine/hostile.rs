//! Tests invalid input: every recorded vector of an invalid message, and further cases.

use std::path::Path;

use hypha_rpc::Value;
use hypha_rpc::client::{Identity, State};
use hypha_rpc::service::{Method, Service, Visibility};
use hypha_rpc::transport::Frame;

use crate::support::{
    ME, PEER, Received, breathe, client_as, list, map, message, method_main, seconds, serving,
    settled,
};

/// Expected reaction of the client to an input.
enum Reaction {
    /// The client runs the method. The client sends `resolve` to the given address, or sends no
    /// response.
    Runs(Option<&'static str>),
    /// The client sends the caller a rejection with this message.
    Rejects(&'static str),
    /// The client sends nothing, and counts the message as malformed, late or an event.
    Drops(Count),
}
use Reaction::{Drops, Rejects, Runs};

#[derive(Clone, Copy)]
enum Count {
    Malformed,
    Late,
    Event,
}

const B: &str = "vec-ws/client-b";

/// Expected reaction of the client to every entry of `frames-malformed.json`
/// (`docs/protocol/02-messages.md#s13`, `#s15`, `#s16`).
const WANTED: &[(&str, Reaction)] = &[
    ("valid", Runs(Some(B))),
    ("extra_missing", Runs(None)),
    ("empty", Drops(Count::Malformed)),
    ("garbage", Drops(Count::Malformed)),
    ("main_not_map", Drops(Count::Malformed)),
    ("main_string", Drops(Count::Malformed)),
    ("main_truncated", Drops(Count::Malformed)),
    ("type_missing", Drops(Count::Malformed)),
    ("type_unknown", Drops(Count::Event)),
    ("type_not_string", Drops(Count::Malformed)),
    ("from_missing", Drops(Count::Malformed)),
    ("from_no_slash", Drops(Count::Malformed)),
    ("method_missing", Drops(Count::Malformed)),
    ("to_relative", Runs(Some(B))),
    (
        "to_other_workspace",
        Rejects("Workspace mismatch: other != vec-ws"),
    ),
    ("extra_truncated", Rejects("the arguments cannot be read: ")),
    ("extra_not_map", Rejects("the arguments cannot be read: ")),
    ("extra_nil", Rejects("the arguments cannot be read: ")),
    ("third_segment", Runs(Some(B))),
    ("int_key_in_args", Rejects("svc.f: argument `value`: ")),
    ("bytes_key_in_args", Rejects("svc.f: argument `value`: ")),
    ("invalid_utf8", Rejects("svc.f: argument `value`: ")),
    (
        "args_not_array",
        Rejects("the arguments cannot be read: args: "),
    ),
    (
        "promise_unknown_text",
        Rejects("the arguments cannot be read: promise: "),
    ),
    ("promise_without_session", Drops(Count::Malformed)),
    (
        "promise_without_t",
        Rejects("the arguments cannot be read: "),
    ),
    (
        "with_kwargs_no_map",
        Rejects("the arguments cannot be read: "),
    ),
    (
        "with_kwargs_empty_args",
        Rejects("the arguments cannot be read: "),
    ),
    (
        "unknown_method",
        Rejects("Method expired or not found: vec-ws/client-b:services.svc.nope"),
    ),
    (
        "unknown_service",
        Rejects("Method expired or not found: vec-ws/client-b:services.nope.f"),
    ),
    (
        "unknown_session",
        Rejects("Session not found: vec-ws/client-b:nosession.f"),
    ),
    (
        "undotted_method",
        Rejects("Method not found: vec-ws/client-b:f at client-a"),
    ),
    (
        "not_callable",
        Rejects("Invalid method: vec-ws/client-b:services.svc.const"),
    ),
    (
        "whole_service",
        Rejects("Invalid method: vec-ws/client-b:services.svc"),
    ),
    (
        "protected_other_workspace",
        Rejects(
            "Permission denied for invoking protected method other/client-x:services.prot.f, \
             workspace mismatch: vec-ws != other",
        ),
    ),
    ("protected_from_manager", Runs(Some("*/manager-1"))),
    (
        "extra_overrides_from",
        Rejects("Permission denied for invoking protected method other/client-x:services.prot.f"),
    ),
    (
        "extra_overrides_method",
        Rejects("Method expired or not found: vec-ws/client-b:services.svc.nope"),
    ),
    ("extra_overrides_type", Drops(Count::Event)),
    ("unknown_rtype_arg", Runs(Some(B))),
    ("late_resolve", Drops(Count::Late)),
    ("late_heartbeat", Drops(Count::Late)),
    ("parent_closed_service", Runs(Some(B))),
];

fn vectors() -> Vec<(String, bytes::Bytes)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/frames-malformed.json");
    let text = std::fs::read_to_string(path).expect("vectors");
    let file: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let entries = file["vectors"].as_array().expect("a list").iter();
    let entry = |entry: &serde_json::Value| {
        let hex = entry["hex"].as_str().expect("hex");
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
            .collect();
        (
            entry["name"].as_str().expect("a name").to_owned(),
            bytes.into(),
        )
    };
    entries.map(entry).collect()
}

#[tokio::test(start_paused = true)]
async fn every_malformed_message_gets_its_reaction() {
    let mut identity = Identity::new("vec-ws", "client-a");
    identity.manager_id = Some("manager-1".into());
    let (client, mut peer) = client_as(identity, hypha_rpc::client::Settings::in_process(), 64);
    let ran = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let service = |id: &str| {
        let ran = std::sync::Arc::clone(&ran);
        Service::new(id).method(Method::new("f", move |call| {
            let ran = std::sync::Arc::clone(&ran);
            async move {
                let _: Option<Value> = call.args(&["value"])?.optional(0)?;
                ran.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                call.reply(&"done")
            }
        }))
    };
    let svc = service("svc")
        .visibility(Visibility::Public)
        .value("const", 5i64);
    for service in [svc, service("prot")] {
        client
            .register_service(service)
            .notify(false)
            .await
            .expect("registers");
    }
    let vectors = vectors();
    let names: Vec<&str> = vectors.iter().map(|(name, _)| name.as_str()).collect();
    let wanted: Vec<&str> = WANTED.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, wanted);
    for ((name, frame), (_, reaction)) in vectors.into_iter().zip(WANTED) {
        let (before, ran_before) = (
            client.stats(),
            ran.load(std::sync::atomic::Ordering::SeqCst),
        );
        peer.push(Frame::Binary(frame)).await;
        let answer = tokio::time::timeout(seconds(100), peer.receive())
            .await
            .ok();
        let ran = ran.load(std::sync::atomic::Ordering::SeqCst) - ran_before;
        let of = |answer: &Received| {
            (
                answer.text("to").to_owned(),
                answer.text("method").to_owned(),
            )
        };
        match reaction {
            Runs(to) => {
                assert_eq!(ran, 1, "{name}");
                let expected = to.map(|to| (to.to_owned(), "SESSION1.resolve".to_owned()));
                assert_eq!(answer.as_ref().map(of), expected, "{name}");
            }
            Rejects(text) => {
                let answer = answer.unwrap_or_else(|| panic!("{name}: no answer"));
                assert_eq!(ran, 0, "{name}");
                assert_eq!(answer.text("method"), "SESSION1.reject", "{name}");
                let error = answer.arg(0);
                let told = error
                    .get("_rvalue")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                assert!(told.starts_with(text), "{name}: {told}");
            }
            Drops(counter) => {
                assert!(answer.is_none() && ran == 0, "{name}: {answer:?}");
                let of = |stats: hypha_rpc::client::Stats| match counter {
                    Count::Malformed => stats.dropped_malformed,
                    Count::Late => stats.dropped_late,
                    Count::Event => stats.dropped_events,
                };
                assert_eq!(of(client.stats()), of(before) + 1, "{name}");
            }
        }
        peer.nothing_for(seconds(100)).await;
        assert_eq!(client.state(), State::Connected, "{name}");
    }
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn the_second_segment_cannot_replace_routing_data() {
    let (client, mut peer, _) = serving(hypha_rpc::client::Settings::in_process()).await;
    let extra = map! {
        "from": "*/manager", "to": "x/y", "ws": "victim", "user": map!{"id": "root"},
        "method": "services.svc.echo", "type": "event", "session": "T", "parent": "P",
        "promise": "*", "t": 10.0,
    };
    peer.send(method_main("far/away", "S", "services.svc.whoami"), extra)
        .await;
    let answer = peer.receive().await;
    assert_eq!(
        (answer.text("to"), answer.text("method")),
        ("far/away", "S.resolve")
    );
    assert_eq!(answer.arg(0), list!["far/away", "far", "user of far/away"]);
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn invalid_promises_do_no_harm() {
    let (client, mut peer, probe) = serving(hypha_rpc::client::Settings::in_process()).await;
    let good = map! {"_rtype": "method", "_rtarget": "peer", "_rmethod": "S.resolve"};
    let without_reject = map! {"resolve": good.clone()};
    let not_functions = map! {"resolve": 1i64, "reject": 2i64};
    for (promise, interval) in [
        (without_reject, Value::Null),
        (not_functions, Value::Null),
        (Value::from(7i64), Value::Null),
        (Value::from("*"), Value::from("soon")),
        (Value::from("*"), Value::from(f64::NAN)),
        (Value::from("*"), Value::from(-1i64)),
        (Value::from("*"), Value::from(f64::INFINITY)),
    ] {
        let extra = map! {"args": list![1i64], "promise": promise.clone(), "t": interval.clone()};
        peer.send(method_main(PEER, "S", "services.svc.echo"), extra)
            .await;
        let outcome = peer.answer_of("S").await;
        assert!(outcome.is_err(), "{promise} {interval}: {outcome:?}");
    }
    assert_eq!(probe.started(), 0);
    let extra = map! {"args": list![1i64], "promise": "*", "t": 1e9};
    peer.send(method_main(PEER, "S", "services.svc.echo"), extra)
        .await;
    assert_eq!(peer.answer_of("S").await, Ok(1i64.into()));
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn deep_and_long_input_is_refused() {
    let (client, mut peer, probe) = serving(hypha_rpc::client::Settings::in_process()).await;
    // `deep` contains deeply nested lists. `huge` is a list with a declared length that exceeds the
    // memory.
    let mut deep = vec![0x91; 100_000];
    deep.push(1);
    let huge = [0xdd, 0xff, 0xff, 0xff, 0xff];
    for bad in [deep.as_slice(), huge.as_slice()] {
        let mut frame = message(method_main(PEER, "S", "services.svc.echo"), Value::Null).to_vec();
        frame.extend([0x81, 0xa4, b'a', b'r', b'g', b's', 0x91]);
        frame.extend_from_slice(bad);
        peer.push(Frame::Binary(frame.into())).await;
        assert!(peer.answer_of("S").await.is_err());
        peer.push(Frame::Binary(bytes::Bytes::copy_from_slice(bad)))
            .await;
    }
    breathe().await;
    assert_eq!(probe.started(), 0);
    assert_eq!(
        peer.ask("services.svc.add", list![1i64]).await,
        Ok(2i64.into())
    );
    settled(&client).await;
}

/// Sends every prefix of a message. Also sends copies of the message with one byte changed.
#[tokio::test(start_paused = true)]
async fn damaged_messages_do_not_stop_the_client() {
    let (client, mut peer, _) = serving(hypha_rpc::client::Settings::in_process()).await;
    let whole = message(
        method_main(PEER, "S", "services.svc.echo"),
        map! {"args": list![map!{"a": list![1i64, "x", 2.5]}], "promise": "*", "t": 10.0},
    );
    let prefixes = (0..whole.len()).map(|len| whole.slice(..len));
    let damaged = (0..whole.len()).flat_map(|at| {
        [0x00, 0x80, 0xc1, 0xdf, 0xff].map(|byte| {
            let mut copy = whole.to_vec();
            copy[at] = byte;
            copy.into()
        })
    });
    let frames: Vec<bytes::Bytes> = prefixes.chain(damaged).collect();
    for frame in frames {
        peer.push(Frame::Binary(frame)).await;
        // Read every response, because the client blocks when its link is full.
        while let Ok(Some(_)) = tokio::time::timeout(seconds(1), peer.frame()).await {}
    }
    assert_eq!(
        peer.ask("services.svc.add", list![1i64]).await,
        Ok(2i64.into())
    );
    assert_eq!(client.state(), State::Connected);
    let main = map! {"type": "method", "from": PEER, "to": ME, "method": "services.svc.nope"};
    peer.send(main, Value::Null).await;
    peer.nothing_for(seconds(100)).await;
    settled(&client).await;
}
