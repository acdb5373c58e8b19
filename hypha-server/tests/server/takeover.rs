//! Tests two connections that claim the same address.

use std::time::Duration;

use anyhow::Result;
use hypha_rpc::Value;
use serde_json::json;

use crate::support::{Raw, refused, server, server_with};

fn again(client: &Raw) -> serde_json::Value {
    json!({
        "client_id": client.field("client_id"),
        "reconnection_token": client.field("reconnection_token"),
    })
}

#[tokio::test]
async fn a_reconnection_displaces_the_former_connection_and_keeps_services() -> Result<()> {
    let server = server().await?;
    let mut old = Raw::anonymous(&server, "c").await?;
    old.register("built-in", json!({})).await?;
    old.register("svc", json!({})).await?;
    let mut watcher = old.colleague(&server, "watcher", "read_write").await?;
    watcher
        .ask("subscribe", json!(["client_disconnected"]))
        .await?;

    let mut new = Raw::connect(&server, again(&old)).await?;
    let end = old.end().await?;
    assert_eq!((end.code, end.error), (1001, None));
    // The end of the displaced connection does not remove the client.
    assert!(watcher.is_quiet().await);
    let listed = new.ask("list_services", json!([])).await?;
    assert_eq!(listed.as_list().map(|list| list.len()), Some(2));
    watcher
        .send(json!({"type": "hello", "to": "c"}), None)
        .await?;
    assert_eq!(new.message().await?.kind(), "hello");
    assert_eq!(server.stats().replaced, 1);

    new.close().await?;
    let event = watcher.message().await?;
    let data = Value::Map(event.main()?).to_json();
    let workspace = watcher.workspace();
    assert_eq!(
        data,
        json!({"type": "client_disconnected", "to": "*",
               "data": {"id": "c", "workspace": workspace}})
    );
    Ok(())
}

#[tokio::test]
async fn an_anonymous_client_reconnects_to_a_removed_workspace() -> Result<()> {
    let server = server().await?;
    let client = Raw::anonymous(&server, "c").await?;
    let (workspace, hello) = (client.workspace().to_owned(), again(&client));
    client.close().await?;
    while server.stats().connections_open > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut back = Raw::connect(&server, hello).await?;
    assert_eq!(back.workspace(), workspace);
    let info = back.ask("get_workspace_info", json!([])).await?;
    assert_eq!(
        info.get("id").and_then(Value::as_str),
        Some(workspace.as_str())
    );
    Ok(())
}

#[tokio::test]
async fn reconnection_tokens_serve_their_own_client_only() -> Result<()> {
    let server = server().await?;
    let client = Raw::anonymous(&server, "c").await?;
    let token = client.field("reconnection_token");
    let end = refused(
        &server,
        json!({"client_id": "d", "reconnection_token": token}),
    )
    .await?;
    assert_eq!(end.code, 1001);
    assert!(
        end.error
            .is_some_and(|error| error.contains("Client id mismatch"))
    );
    let hello = json!({"client_id": "c", "reconnection_token": token, "workspace": "public"});
    assert_eq!(refused(&server, hello).await?.code, 1001);
    Ok(())
}

#[tokio::test]
async fn a_responsive_client_keeps_its_address() -> Result<()> {
    let server = server().await?;
    let mut owner = Raw::anonymous(&server, "owner").await?;
    let token = owner.ask("generate_token", json!([])).await?;
    let token = token.as_str().unwrap_or_default();
    // This client uses the library, which responds to pings.
    let living = hypha_rpc::connect(server.url())
        .token(token)
        .client_id("c")
        .await?;
    for _ in 0..2 {
        let end = refused(&server, json!({"client_id": "c", "token": token})).await?;
        let expected = format!(
            "Client already exists and is active: {}/c",
            owner.workspace()
        );
        assert_eq!(end.code, 1001);
        assert!(end.error.is_some_and(|error| error.contains(&expected)));
    }
    let manager = living.manager().await?;
    assert_eq!(manager.list_clients(None).await?.len(), 1);
    assert_eq!(manager.echo(Value::from(1)).await?, Value::from(1));
    living.disconnect().await;
    Ok(())
}

#[tokio::test]
async fn an_unresponsive_client_loses_its_address() -> Result<()> {
    let limit = Duration::from_millis(300);
    let server = server_with(|limits| limits.incumbent_timeout = limit).await?;
    let mut owner = Raw::anonymous(&server, "owner").await?;
    owner
        .ask("subscribe", json!(["client_disconnected"]))
        .await?;
    let mut dead = owner.colleague(&server, "c", "read_write").await?;
    dead.register("built-in", json!({})).await?;
    dead.register("svc", json!({})).await?;

    // The raw client does not respond to the ping.
    let mut new = owner.colleague(&server, "c", "read_write").await?;
    assert_eq!(owner.message().await?.kind(), "client_disconnected");
    assert_eq!(dead.end().await?.code, 1001);
    let left = new.ask("list_services", json!([])).await?;
    assert_eq!(left.as_list().map(|list| list.len()), Some(0));
    new.register("built-in", json!({})).await?;
    Ok(())
}
