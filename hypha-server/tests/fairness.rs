//! Tests the limits on the calls of one client to the manager.

mod support;

use anyhow::{Context, Result};
use hypha_rpc::{Value, connect};
use hypha_server::{Limits, Server};
use serde_json::json;
use support::{Raw, server};

#[tokio::test]
async fn one_client_cannot_take_all_slots_of_the_manager() -> Result<()> {
    let server = server().await?;
    let mut deaf = Raw::anonymous(&server, "deaf").await?;
    deaf.register("built-in", json!({})).await?;
    deaf.register("svc", json!({"visibility": "public"}))
        .await?;
    let id = format!("{}:svc", deaf.address());
    let mut greedy = Raw::anonymous(&server, "greedy").await?;
    for number in 0..257 {
        let main = json!({
            "type": "method", "to": greedy.manager(), "method": "services.default.get_service",
            "session": format!("S{number}"),
        });
        let extra = json!({"args": [id], "promise": "*", "t": 10.0});
        greedy.send(main, Some(extra)).await?;
    }
    // Skips the heartbeats of waiting calls.
    let answer = loop {
        let message = greedy.message().await?;
        if !message.method().unwrap_or_default().ends_with(".heartbeat") {
            break message;
        }
    };
    let error = answer.extra()?.args.get::<Value>(0).context("no error")??;
    assert_eq!(answer.method(), Some("S256.reject"), "{error}");
    let text = error.get("_rvalue").and_then(Value::as_str);
    assert!(text.is_some_and(|text| text.contains("Too many calls")));
    // Calls that do not wait for clients are still accepted, and so are calls of other clients.
    greedy.ask("echo", json!([1])).await?;
    let other = connect(server.url()).client_id("other").await?;
    assert_eq!(
        other.manager().await?.ping("other".into(), 5.0).await?,
        "pong"
    );
    Ok(())
}

/// Sends calls to the manager that wait for an unresponsive client.
async fn wait_for(deaf: &str, caller: &mut Raw, calls: std::ops::Range<usize>) -> Result<()> {
    for number in calls {
        let main = json!({
            "type": "method", "to": caller.manager(), "method": "services.default.ping",
            "session": format!("S{number}"),
        });
        let extra = json!({"args": [deaf, 60.0], "promise": "*", "t": 10.0});
        caller.send(main, Some(extra)).await?;
    }
    Ok(())
}

/// Returns the id of the call that the next response rejects, and the reason.
async fn rejected(caller: &mut Raw) -> Result<(String, String)> {
    loop {
        let message = caller.answer().await?;
        let method = message.method().unwrap_or_default().to_owned();
        if method.ends_with(".heartbeat") {
            continue;
        }
        let number = method.strip_suffix(".reject").context("not rejected")?;
        let error = message
            .extra()?
            .args
            .get::<Value>(0)
            .context("no error")??;
        return Ok((number.to_owned(), error.to_string()));
    }
}

#[tokio::test]
async fn many_clients_of_one_address_cannot_take_all_slots_of_the_manager() -> Result<()> {
    let root = "0123456789abcdef0123456789abcdef";
    let mut limits = Limits::default();
    limits.waiting_calls_per_client = 25;
    limits.waiting_calls = 30;
    let builder = Server::builder().bind("127.0.0.1:0").limits(limits);
    let server = builder.root_token(root).start().await?;
    let mut deaf = Raw::anonymous(&server, "deaf").await?;
    let mut greedy = Vec::new();
    for number in 0..3 {
        let mut raw = deaf
            .colleague(&server, &format!("g{number}"), "read")
            .await?;
        wait_for("deaf", &mut raw, 0..10).await?;
        greedy.push(raw);
    }
    // The IP address has reached its limit, so further calls are refused.
    for number in 5..10 {
        let (call, error) = rejected(&mut greedy[2]).await?;
        assert_eq!(call, format!("S{number}"));
        assert!(
            error.contains("ip:127.0.0.1 waits for 25 already"),
            "{error}"
        );
    }
    // The calls of another user first take the free slots, and then evict other calls.
    let hello = json!({"client_id": "honest", "token": root});
    let mut honest = Raw::connect(&server, hello).await?;
    let address = deaf.address();
    wait_for(&address, &mut honest, 0..10).await?;
    honest.ask("echo", json!([1])).await?;
    for number in 0..5 {
        let (call, error) = rejected(&mut greedy[0]).await?;
        assert_eq!(call, format!("S{number}"));
        assert!(error.contains("was evicted"), "{error}");
    }
    assert_eq!(server.stats().refused_waiting, 5);
    assert_eq!(server.stats().displaced_calls, 5);
    Ok(())
}

#[tokio::test]
async fn a_stranger_causes_no_calls_of_candidates() -> Result<()> {
    let server = server().await?;
    let mut a = Raw::anonymous(&server, "a").await?;
    let mut b = a.colleague(&server, "b", "read_write").await?;
    let mut stranger = Raw::anonymous(&server, "stranger").await?;
    for provider in [&mut a, &mut b] {
        provider.register("built-in", json!({})).await?;
        provider
            .register("svc", json!({"visibility": "public"}))
            .await?;
    }
    let id = format!("{}/svc", a.workspace());
    let mode = json!({"mode": "select:min:get", "select_timeout": 60.0});
    stranger.ask("get_service_info", json!([id, mode])).await?;
    // A service that is the only candidate is not called either.
    a.ask("get_service_info", json!(["a:svc", mode])).await?;
    assert!(a.is_quiet().await && b.is_quiet().await);
    Ok(())
}
