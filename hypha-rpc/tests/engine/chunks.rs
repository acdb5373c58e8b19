//! Tests messages that are sent in chunks, in both directions (`docs/protocol/02-messages.md#s9`).

use std::time::Duration;

use hypha_rpc::client::Settings;
use hypha_rpc::error::TimeoutKind;
use hypha_rpc::{Client, Error, RemoteService, Value, args};
use tokio::time::{Instant, sleep};

use crate::support::{
    ME, PEER, Peer, Received, assert_passed, breathe, calling, client_with, list, map, message,
    payload, seconds, service, serving, settled, text,
};

fn tiny() -> Settings {
    let mut settings = Settings::in_process();
    settings.chunk_bytes = 100;
    settings.large_frame_bytes = 0;
    settings
}

#[tokio::test(start_paused = true)]
async fn large_arguments_and_results_arrive_whole() {
    let (a, b, service, _) = calling(tiny()).await;
    for n in [0, 1, 900, 1100, 1124, 1300, 5_000, 50_000] {
        let echo: hypha_rpc::Binary = service
            .call("echo", args!(payload(n)))
            .await
            .expect("echoes");
        assert_eq!(echo, payload(n));
        let made: hypha_rpc::Binary = service.call("bytes", args!(n)).await.expect("makes");
        assert_eq!(made, payload(n));
    }
    settled(&a).await;
    settled(&b).await;
}

#[tokio::test(start_paused = true)]
async fn concurrent_large_messages_do_not_mix() {
    let (a, b, service, _) = calling(tiny()).await;
    let calls = (0..20usize).map(|n| {
        let call = service.call::<hypha_rpc::Binary>("echo", args!(payload(3_000 + n)));
        call.into_future()
    });
    for (n, echo) in futures_util::future::join_all(calls)
        .await
        .into_iter()
        .enumerate()
    {
        assert_eq!(echo.expect("echoes"), payload(3_000 + n));
    }
    settled(&a).await;
    settled(&b).await;
}

/// A client does not count chunks as running calls. A client that runs only one call at a time can
/// still receive large messages.
#[tokio::test(start_paused = true)]
async fn chunks_do_not_count_as_running_calls() {
    let mut settings = tiny();
    settings.max_concurrent_calls = 1;
    let (a, b, service, _) = calling(settings).await;
    let echo = service
        .call::<hypha_rpc::Binary>("echo", args!(payload(10_000)))
        .await;
    assert_eq!(echo.expect("echoes"), payload(10_000));
    settled(&a).await;
    settled(&b).await;
}

/// The envelope of a chunk contains two addresses, so a chunk between clients with long names is
/// larger. The client must not split such a chunk into chunks again.
#[tokio::test(start_paused = true)]
async fn chunks_between_clients_with_long_names_are_not_split_again() {
    let name = "n".repeat(2000);
    let (a, b) = hypha_rpc::transport::memory::pair(64);
    let identity = |client: &str| hypha_rpc::client::Identity::new("ws", format!("{client}{name}"));
    let a = Client::from_link(Box::new(a), identity("a"), tiny());
    let b = Client::from_link(Box::new(b), identity("b"), tiny());
    let probe = Default::default();
    b.register_service(service(&probe))
        .await
        .expect("registers");
    let id = format!("ws/b{name}:svc");
    let service = a.get_remote_service(&id).await.expect("fetches");
    let call = service
        .call::<usize>("bytes", args!(5_000))
        .timeout(seconds(10));
    // The result does not have the type `usize`. The test only checks that a result arrives.
    assert!(matches!(call.await, Err(Error::Codec(_))));
    settled(&a).await;
    settled(&b).await;
}

/// Responds as the peer's built-in service to a request for its description.
async fn describe(peer: &mut Peer, version: f64) -> Received {
    let asked = peer.receive().await;
    assert_eq!(asked.text("method"), "services.built-in.get_service");
    assert_eq!(asked.arg(0), Value::from("built-in"));
    let cache = map! {"create": Value::Null};
    let config = map! {"api_version": version};
    let built_in = map! {"id": "built-in", "config": config, "message_cache": cache};
    peer.reply(&asked, "resolve", list![built_in]).await;
    asked
}

async fn accept(peer: &mut Peer, member: &str) -> Received {
    let call = peer.receive().await;
    assert_eq!(
        call.text("method"),
        format!("services.built-in.message_cache.{member}")
    );
    assert_eq!(call.extra("promise"), Some(&Value::from("*")));
    peer.reply(&call, "resolve", list![Value::Null]).await;
    call
}

pub(crate) async fn fetched() -> (Client, Peer, RemoteService) {
    let (client, mut peer) = client_with(tiny(), 1024);
    let service = peer.offer(&client).await;
    (client, peer, service)
}

#[tokio::test(start_paused = true)]
async fn a_large_request_is_chunked_as_the_protocol_says() {
    for version in [3.0, 2.0] {
        let (client, mut peer, service) = fetched().await;
        let calling = service
            .call::<i64>("call", args!(payload(1_500)))
            .into_future();
        let playing = async {
            describe(&mut peer, version).await;
            let create = accept(&mut peer, "create").await;
            let key = create.arg(0);
            assert_eq!(create.arg(1), Value::Bool(false));
            let indexed = version >= 3.0;
            let mut whole = Vec::new();
            let process = loop {
                let call = peer.receive().await;
                let member = call.text("method").rsplit('.').next().unwrap_or_default();
                if member == "process" {
                    break call;
                }
                assert_eq!(member, if indexed { "set" } else { "append" });
                let at = usize::from(indexed);
                if indexed {
                    assert_eq!(call.arg(1), Value::from((whole.len() / 100) as i64));
                }
                assert_eq!(call.arg(0), key);
                let data = call.arg(at + 1);
                whole.extend_from_slice(data.as_bytes().expect("bytes"));
                assert_eq!(call.arg(at + 2), Value::Bool(false));
                peer.reply(&call, "resolve", list![Value::Null]).await;
            };
            assert_eq!((process.arg(0), process.arg(1)), (key, Value::Bool(false)));
            let call = crate::support::read(&whole.into());
            assert_eq!(call.text("method"), "services.svc.call");
            assert_eq!(call.arg(0).as_bytes().map(|b| b.len()), Some(1_500));
            // The peer may send the response to the call before the response to `process`.
            peer.reply(&call, "resolve", list![7i64]).await;
            peer.reply(&process, "resolve", list![Value::Null]).await;
        };
        let (answer, ()) = tokio::join!(calling, playing);
        assert_eq!(answer.expect("answers"), 7);
        settled(&client).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_built_in_service_of_a_peer_is_fetched_once() {
    let (client, mut peer, service) = fetched().await;
    for first in [true, false] {
        let call = service
            .call::<i64>("call", args!(payload(1_200)))
            .into_future();
        let playing = async {
            if first {
                describe(&mut peer, 3.0).await;
            }
            accept(&mut peer, "create").await;
        };
        tokio::select! {
            outcome = call => panic!("{outcome:?}"),
            () = playing => {}
        }
        // The caller no longer waits, and the client keeps no state of the call.
        assert_eq!(client.stats().sessions, 0);
        // Read all remaining frames of this round.
        breathe().await;
        while let Ok(Some(_)) = tokio::time::timeout(seconds(1), peer.frame()).await {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_a_message_cache_cannot_be_sent_large_messages() {
    let (client, mut peer, service) = fetched().await;
    let calling = service
        .call::<i64>("call", args!(payload(1_500)))
        .into_future();
    let playing = async {
        let asked = peer.receive().await;
        peer.reply(&asked, "resolve", list![map! {"id": "built-in"}])
            .await;
    };
    let (outcome, ()) = tokio::join!(calling, playing);
    let error = outcome.expect_err("fails");
    assert!(!error.may_have_run());
    assert_eq!(
        error.to_string(),
        "svc.call on ws/peer: Remote client does not support message caching for long message."
    );
    settled(&client).await;
}

/// If a result is too large for the caller, the caller receives an error immediately, instead of
/// waiting for a timeout.
#[tokio::test(start_paused = true)]
async fn a_result_too_large_for_the_caller_is_an_error() {
    let (client, mut peer, _) = serving(tiny()).await;
    peer.call("services.svc.bytes", list![1_500i64]).await;
    let asked = peer.receive().await;
    peer.reply(&asked, "resolve", list![map! {"id": "built-in"}])
        .await;
    assert_eq!(
        peer.answer_of("S").await,
        Err(
            "the result of services.svc.bytes cannot be sent: Remote client does not support \
             message caching for long message."
                .to_owned()
        )
    );
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_chunk_fails_the_call_and_removes_the_chunks() {
    let (client, mut peer, service) = fetched().await;
    let begin = Instant::now();
    let calling = service
        .call::<i64>("call", args!(payload(1_500)))
        .into_future();
    let playing = async {
        describe(&mut peer, 2.0).await;
        let create = accept(&mut peer, "create").await;
        accept(&mut peer, "append").await;
        let second = peer.receive().await;
        peer.reply(&second, "reject", list!["disk full"]).await;
        let remove = peer.receive().await;
        assert_eq!(
            remove.text("method"),
            "services.built-in.message_cache.remove"
        );
        assert_eq!(remove.arg(0), create.arg(0));
    };
    let (outcome, ()) = tokio::join!(calling, playing);
    assert_eq!(text(outcome), "svc.call on ws/peer: disk full");
    assert_passed(begin, Duration::ZERO);
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_request_did_not_run() {
    let (client, mut peer, service) = fetched().await;
    let calling = service
        .call::<i64>("call", args!(payload(1_500)))
        .timeout(seconds(5))
        .into_future();
    let playing = async {
        describe(&mut peer, 2.0).await;
        accept(&mut peer, "create").await;
    };
    let (outcome, ()) = tokio::join!(calling, playing);
    let Err(Error::Timeout(timeout)) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((timeout.kind, timeout.sent), (TimeoutKind::Total, false));

    // The timeout elapses after the client has sent `process`, so the method may have run. The
    // client also tells the peer to remove the chunks of the first call.
    let mut given_up = false;
    let calling = service
        .call::<i64>("call", args!(payload(1_200)))
        .timeout(seconds(5))
        .into_future();
    let playing = async {
        while let Some(frame) = peer.frame().await {
            let hypha_rpc::transport::Frame::Binary(data) = frame else {
                continue;
            };
            let call = crate::support::read(&data);
            if call.text("method").ends_with(".process") {
                break;
            }
            if call.text("method").ends_with(".remove") {
                given_up = true;
                continue;
            }
            if call.text("method").ends_with("get_service") {
                let cache = map! {"message_cache": map!{"create": Value::Null}};
                peer.reply(&call, "resolve", list![cache]).await;
            } else {
                peer.reply(&call, "resolve", list![Value::Null]).await;
            }
        }
    };
    let (outcome, ()) = tokio::join!(calling, playing);
    let Err(Error::Timeout(timeout)) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(timeout.sent);
    assert!(given_up, "the receiver still waits for chunks");
    settled(&client).await;
}

pub(crate) const CACHE: &str = "services.built-in.message_cache";

#[tokio::test(start_paused = true)]
async fn heartbeats_continue_while_a_large_result_is_sent() {
    let (client, mut peer, service) = fetched().await;
    let begin = Instant::now();
    let calling = service
        .call::<hypha_rpc::Binary>("call", args!())
        .idle_timeout(seconds(10));
    let playing = async {
        let call = peer.receive().await;
        let session = call.text("session").to_owned();
        let main = map! {
            "type": "method", "from": PEER, "to": ME, "method": format!("{session}.resolve"),
            "parent": session.as_str(),
        };
        let value = Value::Bytes(payload(500).into());
        let whole = message(main, map! {"args": list![value]});
        let key = session.as_str();
        sleep(seconds(8)).await;
        let created = peer.ask(&format!("{CACHE}.create"), list![key, true]).await;
        created.expect("creates");
        for (index, chunk) in whole
            .chunks(100)
            .enumerate()
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            sleep(seconds(8)).await;
            let data = Value::Bytes(bytes::Bytes::copy_from_slice(chunk));
            let set = format!("{CACHE}.set");
            peer.ask(&set, list![key, index as i64, data, true])
                .await
                .expect("sets");
        }
        sleep(seconds(8)).await;
        peer.call(&format!("{CACHE}.process"), list![key, true])
            .await;
        assert_eq!(peer.answer_of("S").await, Ok(Value::Null));
    };
    let (answer, ()) = tokio::join!(calling.into_future(), playing);
    assert_eq!(answer.expect("answers"), payload(500));
    assert!(begin.elapsed() > seconds(50));
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn chunks_of_a_result_use_the_session_of_the_call() {
    let (client, mut peer, _) = serving(tiny()).await;
    peer.call("services.svc.bytes", list![1_250i64]).await;
    describe(&mut peer, 3.0).await;
    let create = accept(&mut peer, "create").await;
    assert_eq!((create.arg(0), create.arg(1)), ("S".into(), true.into()));
    // The 14 chunks contain the result, and about 50 bytes of addresses.
    let mut whole = vec![Vec::new(); 14];
    for _ in 0..whole.len() {
        let set = accept(&mut peer, "set").await;
        assert_eq!((set.arg(0), set.arg(3)), ("S".into(), true.into()));
        let index = set.arg(1).as_i64().expect("an index");
        whole[index as usize] = set.arg(2).as_bytes().expect("bytes").to_vec();
    }
    let process = accept(&mut peer, "process").await;
    assert_eq!((process.arg(0), process.arg(1)), ("S".into(), true.into()));
    let answer = crate::support::read(&whole.concat().into());
    assert_eq!(answer.text("method"), "S.resolve");
    assert_eq!(answer.arg(0).as_bytes().map(|b| b.len()), Some(1_250));
    settled(&client).await;
}

/// If a peer announces a maximum frame size, the client sends frames up to this size to that peer.
/// For all other peers, the client uses the default size. The announcement expires after a minute.
#[tokio::test(start_paused = true)]
async fn larger_frames_go_to_peers_that_announce_them() {
    let (client, mut peer) = client_with(Settings::in_process(), 64);
    let service = peer.offer(&client).await;
    let sends = |n: usize| {
        service
            .call::<Value>("call", args!(payload(n)))
            .into_future()
    };
    let says = async |peer: &mut Peer, config: Value| {
        let asked = peer.receive().await;
        assert_eq!(asked.text("method"), "services.built-in.get_service");
        let cache = map! {"create": Value::Null};
        let built_in = map! {"id": "built-in", "config": config, "message_cache": cache};
        peer.reply(&asked, "resolve", list![built_in]).await;
    };
    let answers_whole = async |peer: &mut Peer, n: usize| {
        let call = peer.receive().await;
        assert_eq!(call.arg(0).as_bytes().map(|bytes| bytes.len()), Some(n));
        peer.reply(&call, "resolve", list![Value::Null]).await;
    };
    // The peer accepts frames of 600,000 bytes. The client requests the peer's description once,
    // and sends two messages.
    let large = async {
        says(
            &mut peer,
            map! {"api_version": 3i64, "max_frame_size": 600_000i64},
        )
        .await;
        answers_whole(&mut peer, 500_000).await;
        answers_whole(&mut peer, 590_000).await;
        peer
    };
    let calls = async {
        sends(500_000).await.expect("answered");
        sends(590_000).await.expect("answered");
    };
    let ((), mut peer) = tokio::join!(calls, large);

    // After a minute, another program may have the address of the peer. Here, that program
    // announces no frame size.
    tokio::time::advance(seconds(61)).await;
    let common = async {
        says(&mut peer, map! {"api_version": 3i64}).await;
        let create = peer.receive().await;
        assert_eq!(
            create.text("method"),
            "services.built-in.message_cache.create"
        );
        peer.reply(&create, "reject", list!["no"]).await;
    };
    let (refused, ()) = tokio::join!(sends(500_000), common);
    refused.expect_err("refused");
    settled(&client).await;
}
