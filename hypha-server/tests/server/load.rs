//! Tests that the server slows down clients that send too much, serves other clients, and limits
//! its memory.

use std::time::Duration;

use anyhow::{Result, ensure};
use hypha_rpc::prelude::*;
use hypha_rpc::{Map, Value};
use hypha_server::Server;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{self, Raw, server_with};

const MIB: usize = 1024 * 1024;
const ROOT: &str = "0123456789abcdef0123456789abcdef";
/// Time to wait for a server response. A server that has throttled the connection to almost zero
/// does not respond in time.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(300);

struct Desk;

#[hypha_service(id = "desk")]
impl Desk {
    /// Adds.
    pub(crate) async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
}

#[tokio::test]
async fn calls_above_the_rate_are_delayed_and_complete() -> Result<()> {
    let server = server_with(|limits| {
        limits.messages_per_second = 50.0;
        limits.message_burst = 10.0;
    })
    .await?;
    let host = hypha_rpc::connect(server.url()).await?;
    let desk = host.register_service(Desk);
    desk.visibility(Visibility::Public).await?;
    let client = hypha_rpc::connect(server.url()).await?;
    let id = format!("{}/{}:desk", host.workspace(), host.client_id());
    let desk: DeskProxy = client.proxy(id).await?;
    let begun = Instant::now();
    for number in 0..25 {
        ensure!(desk.add(number, 1).await? == number + 1);
    }
    // The server charges both request and response to the caller, so each call counts as two
    // messages. Forty of the messages exceed the burst.
    assert!(begun.elapsed() >= Duration::from_millis(700), "not slowed");
    assert!(server.stats().slowed_rate > 0);
    assert_eq!(server.stats().connections_open, 2);
    Ok(())
}

#[tokio::test]
async fn floods_of_pings_and_text_frames_are_slowed_like_messages() -> Result<()> {
    let server = server_with(|limits| {
        limits.messages_per_second = 1000.0;
        limits.message_burst = 10.0;
    })
    .await?;
    for kind in ["ping", "text"] {
        let mut flood = Raw::anonymous(&server, kind).await?;
        let begun = Instant::now();
        for _ in 0..200 {
            match kind {
                "ping" => flood.ping().await?,
                _ => flood.text("nonsense").await?,
            }
        }
        ensure!(flood.is_quiet().await, "{kind}: closed");
        assert!(begun.elapsed() >= Duration::from_millis(150), "{kind}");
    }
    Ok(())
}

/// Returns whether the server reads the messages of the client.
async fn is_read(client: &mut Raw) -> Result<bool> {
    client.text(r#"{"type":"ping"}"#).await?;
    let answered = async { while client.control().await.is_err() {} };
    Ok(timeout(RESPONSE_TIMEOUT, answered).await.is_ok())
}

#[tokio::test]
async fn a_response_is_charged_to_the_caller() -> Result<()> {
    // The rate is so low that the rate limiter refills no tokens during the test.
    let server = server_with(|limits| {
        limits.messages_per_second = 0.001;
        limits.message_burst = 10.0;
    });
    let server = server.await?;
    let mut host = Raw::anonymous(&server, "host").await?;
    let mut asker = Raw::anonymous(&server, "asker").await?;
    let mut mallory = Raw::anonymous(&server, "mallory").await?;
    let call = json!({
        "type": "method", "to": host.address(), "method": "services.x.y", "session": "S",
    });
    asker.send(call, None).await?;
    host.message().await?;
    let answer = json!({"type": "method", "to": asker.address(), "method": "S.heartbeat"});
    for _ in 0..15 {
        host.send(answer.clone(), None).await?;
    }
    assert!(is_read(&mut host).await?, "the callee is slowed down");
    for _ in 0..15 {
        asker.message().await?;
    }
    assert!(!is_read(&mut asker).await?, "the caller is not slowed down");
    // There was no request for these responses.
    for _ in 0..15 {
        mallory.send(answer.clone(), None).await?;
    }
    assert!(!is_read(&mut mallory).await?);
    Ok(())
}

#[tokio::test]
async fn chunks_and_acknowledgements_do_not_count_as_messages() -> Result<()> {
    let server = server_with(|limits| {
        limits.messages_per_second = 0.001;
        limits.message_burst = 5.0;
    });
    let server = server.await?;
    let mut host = Raw::anonymous(&server, "host").await?;
    let mut sender = Raw::anonymous(&server, "sender").await?;
    for _ in 0..30 {
        let part = json!({
            "type": "method", "to": host.address(), "session": "S",
            "method": "services.built-in.message_cache.append",
        });
        let extra = json!({"args": ["key", "x".repeat(20_000)]});
        sender.send(part, Some(extra)).await?;
        host.message().await?;
        let done = json!({"type": "method", "to": sender.address(), "method": "S.resolve"});
        host.send(done, None).await?;
        sender.message().await?;
    }
    assert!(is_read(&mut sender).await? && is_read(&mut host).await?);
    Ok(())
}

/// Waits until the server holds less memory than `bytes`.
async fn until_below(server: &Server, bytes: u64) -> Result<()> {
    let falling = async {
        while server.stats().memory_used > bytes {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let fell = timeout(Duration::from_secs(10), falling).await;
    ensure!(
        fell.is_ok(),
        "{} bytes are left",
        server.stats().memory_used
    );
    Ok(())
}

/// Starts a server with a small memory budget and a root token.
async fn small_server(change: impl FnOnce(&mut hypha_server::Limits)) -> Result<Server> {
    let mut limits = hypha_server::Limits::default();
    limits.frame_bytes = 4 * MIB;
    limits.connection_memory_bytes = 8 * MIB;
    limits.user_memory_bytes = 32 * MIB;
    limits.memory_bytes = 32 * MIB;
    limits.memory_timeout = Duration::from_secs(5);
    change(&mut limits);
    let builder = Server::builder().bind("127.0.0.1:0").root_token(ROOT);
    Ok(builder.limits(limits).start().await?)
}

#[tokio::test]
async fn partial_frames_stay_within_the_budget_and_the_largest_account_is_evicted() -> Result<()> {
    let server = small_server(|_| ()).await?;
    let idle = server.stats().memory_used;
    let hello = json!({"client_id": "victim", "token": ROOT});
    let mut victim = Raw::connect(&server, hello).await?;
    let mut head = vec![0x82, 0xff];
    head.extend((4 * MIB as u64).to_be_bytes());
    head.extend([0; 4]);
    let mut hostile = Vec::new();
    for number in 0..300 {
        hostile.push(Raw::anonymous(&server, &format!("h{number}")).await?);
    }
    for raw in &mut hostile {
        raw.bytes(&head).await?;
        // The server no longer reads the connection, so the bytes wait in the sockets.
        let _ = timeout(Duration::from_millis(20), raw.bytes(&vec![0; 400_000])).await;
        assert!(server.stats().memory_used <= 32 * MIB as u64);
    }
    let full = server.stats();
    assert!(full.memory_used > 24 * MIB as u64, "{full:?}");
    // Other clients are served. The first attempt may only evict an account, and ask the client to
    // try again.
    let large = json!(["x".repeat(200_000)]);
    let served = async {
        loop {
            match victim.ask("echo", large.clone()).await {
                Err(error) if error.to_string().contains("try again later") => {}
                result => return result,
            }
        }
    };
    let answer = timeout(Duration::from_secs(10), served).await??;
    assert_eq!(answer.as_str().map(str::len), Some(200_000));
    let stats = server.stats();
    assert!(stats.memory_gave_way > 0, "{stats:?}");
    assert!(stats.memory_peak <= 34 * MIB as u64, "{stats:?}");
    drop(hostile);
    victim.close().await?;
    until_below(&server, idle).await
}

#[tokio::test]
async fn a_connection_without_memory_is_closed_with_try_again() -> Result<()> {
    let server = small_server(|limits| {
        limits.user_memory_bytes = 8 * MIB;
        limits.memory_timeout = Duration::from_millis(50);
    })
    .await?;
    let mut others = Vec::new();
    for number in 0..3 {
        let mut raw = Raw::anonymous(&server, &format!("c{number}")).await?;
        let mut begun = vec![0x82, 0xff];
        begun.extend((4 * MIB as u64).to_be_bytes());
        begun.extend([0; 4]);
        begun.resize(3 * MIB, 0);
        raw.bytes(&begun).await?;
        others.push(raw);
    }
    let waiting = async {
        while server.stats().closed_memory == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await?;
    let mut codes = Vec::new();
    for mut raw in others {
        if let Ok(Ok(end)) = timeout(RESPONSE_TIMEOUT, raw.end()).await {
            assert!(
                end.error
                    .is_some_and(|text| text.contains("memory limit of"))
            );
            codes.push(end.code);
        }
    }
    assert!(
        !codes.is_empty() && codes.iter().all(|code| *code == 1013),
        "{codes:?}"
    );
    Ok(())
}

#[tokio::test]
async fn queued_messages_are_charged_until_the_receiver_disconnects() -> Result<()> {
    let server = small_server(|limits| limits.queue_bytes = MIB).await?;
    let idle = server.stats().memory_used;
    let mut sender = Raw::anonymous(&server, "sender").await?;
    let mut deaf = Vec::new();
    for number in 0..10 {
        let client = Raw::anonymous(&server, &format!("deaf{number}")).await?;
        let to = client.address();
        for _ in 0..100 {
            let main = json!({"type": "n", "to": to, "data": "x".repeat(200_000)});
            let sent = timeout(Duration::from_millis(50), sender.send(main, None)).await;
            if sent.is_err() {
                break;
            }
        }
        let stats = server.stats();
        assert!(stats.memory_used <= 32 * MIB as u64, "{stats:?}");
        deaf.push(client);
        // The previous sender waits for its receiver, so the next receiver needs another sender.
        sender = Raw::anonymous(&server, &format!("sender{number}")).await?;
    }
    assert!(server.stats().memory_used > idle + MIB as u64);
    drop((deaf, sender));
    until_below(&server, idle).await?;
    let metrics = format!("{}/metrics", server.url());
    let text = support::http().get(metrics).send().await?.text().await?;
    for name in ["memory_used", "memory_limit 33554432", "memory_gave_way"] {
        assert!(text.contains(&format!("\nhypha_server_{name}")), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_small_message_passes_a_waiting_upload() -> Result<()> {
    let server = server_with(|_| ()).await?;
    let mut host = Raw::anonymous(&server, "host").await?;
    let mut uploader = host.colleague(&server, "uploader", "read_write").await?;
    let mut caller = host.colleague(&server, "caller", "read_write").await?;
    let to = host.address();
    let up = to.clone();
    let uploading = tokio::spawn(async move {
        let main = json!({"type": "upload", "to": up, "data": "x".repeat(250_000)});
        while uploader.send(main.clone(), None).await.is_ok() {}
    });
    // Wait until the sockets and the queue are full.
    let mut received = server.stats().messages_received;
    loop {
        sleep(Duration::from_millis(50)).await;
        let now = server.stats().messages_received;
        if now == received && now > 10 {
            break;
        }
        received = now;
    }
    let routed = server.stats().messages_routed;
    caller.send(json!({"type": "call", "to": to}), None).await?;
    assert!(caller.is_quiet().await, "the caller waits for the uploader");
    assert_eq!(server.stats().messages_routed, routed + 1);
    let mut before = 0;
    while host.message().await?.kind() != "call" {
        before += 1;
    }
    uploading.abort();
    println!("{before} messages before that of the caller");
    Ok(())
}

#[tokio::test]
async fn requests_above_the_rate_wait() -> Result<()> {
    let server = server_with(|limits| {
        limits.http_per_second = 20.0;
        limits.http_burst = 2.0;
    });
    let server = server.await?;
    let http = support::http();
    let begun = Instant::now();
    let url = format!("{}/public/services/", server.url());
    let each = (0..8).map(|_| http.get(&url).send());
    for response in futures_util::future::try_join_all(each).await? {
        assert_eq!(response.status(), 200);
    }
    assert!(begun.elapsed() >= Duration::from_millis(250));
    let stats = server.stats();
    assert!(stats.slowed_rate > 0 && stats.refused_rate == 0);
    Ok(())
}

/// Starts to send a message in chunks to `to`. Returns whether the first chunk was accepted.
async fn begin_chunks(from: &mut Raw, to: &str, bytes: usize) -> Result<bool> {
    let request = |method: &str, session: &str, args: Vec<Value>| -> Result<Vec<u8>> {
        let main = json!({
            "type": "method", "to": to, "session": session,
            "method": format!("services.built-in.message_cache.{method}"),
        });
        let mut frame = hypha_wire::to_vec(&main)?;
        let extra = Map::from_iter([
            ("args".to_owned(), Value::List(args)),
            ("promise".to_owned(), Value::from("*")),
            ("t".to_owned(), Value::from(10.0)),
        ]);
        hypha_wire::encode(&mut frame, &Value::Map(extra))?;
        Ok(frame)
    };
    let create = request(
        "create",
        "create",
        vec!["k".into(), false.into(), true.into()],
    )?;
    from.binary(create).await?;
    let created = from.message().await?;
    ensure!(created.method() == Some("create.resolve"), "{created:?}");
    let content = Value::Bytes(vec![0; bytes].into());
    let set = request("set", "set", vec!["k".into(), 0.into(), content])?;
    from.binary(set).await?;
    Ok(from.message().await?.method() == Some("set.resolve"))
}

#[tokio::test]
async fn unfinished_messages_have_one_account_and_end_with_their_sender() -> Result<()> {
    let server = server_with(|limits| {
        limits.frame_bytes = MIB;
        limits.connection_memory_bytes = 2 * MIB;
        limits.memory_timeout = Duration::from_millis(50);
    })
    .await?;
    let idle = server.stats().memory_used;
    let mut sender = Raw::anonymous(&server, "sender").await?;
    let info = sender
        .ask("get_service_info", json!(["public/hypha-login"]))
        .await?;
    let id = info.get("id").and_then(Value::as_str).unwrap_or_default();
    let login = id.split(':').next().unwrap_or_default().to_owned();
    let manager = sender.manager();
    let former = "*/manager-of-yesterday".to_owned();
    let mut taken = 0;
    for to in [&manager, &login, &former, &manager, &login, &former] {
        taken += usize::from(begin_chunks(&mut sender, to, 900 * 1024).await?);
    }
    // Two of the messages fill the account, regardless of their addresses. A new message may
    // replace a message to the same address.
    assert!((1..=3).contains(&taken), "{taken}");
    let held = server.stats().memory_used;
    assert!(held > 900 * 1024 && held < 4 * MIB as u64, "{held}");

    sender.close().await?;
    let freed = async {
        while server.stats().memory_used > idle {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(1), freed).await?;
    Ok(())
}
