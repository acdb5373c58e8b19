//! Bounds on the calls of one client to the manager.

mod support;

use anyhow::{Context, Result};
use hypha_rpc::{Value, connect};
use serde_json::json;
use support::{Raw, server};

#[tokio::test]
async fn one_client_cannot_take_all_places_at_the_manager() -> Result<()> {
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
    // Waiting calls send heartbeats.
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
    // Calls that do not wait for clients pass, and so do those of other clients.
    greedy.ask("echo", json!([1])).await?;
    let other = connect(server.url()).client_id("other").await?;
    assert_eq!(
        other.manager().await?.ping("other".into(), 5.0).await?,
        "pong"
    );
    Ok(())
}

#[tokio::test]
async fn a_stranger_does_not_have_services_asked() -> Result<()> {
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
    // A single candidate is not called either.
    a.ask("get_service_info", json!(["a:svc", mode])).await?;
    assert!(a.is_quiet().await && b.is_quiet().await);
    Ok(())
}
