//! Tests that the server immediately notifies peers in other workspaces when a client disconnects.

use anyhow::{Context as _, Result};
use hypha_rpc::prelude::*;
use hypha_rpc::{Error, Value, args};
use hypha_server::Server;
use serde_json::json;
use tokio::sync::mpsc;

use crate::support::{Raw, server};

/// Sends a message with a session, which makes both peers partners.
pub(crate) async fn call(from: &mut Raw, to: &mut Raw) -> Result<()> {
    let main = json!({"type": "method", "to": to.address(), "method": "a.b", "session": "s"});
    from.send(main, Some(json!({"args": []}))).await?;
    to.message().await.map(drop)
}

/// Asserts that the next message is the event about the disconnect of the client `gone`, and that
/// the event has no sender.
pub(crate) async fn told(peer: &mut Raw, gone: (&str, &str)) -> Result<()> {
    let message = peer.message().await?;
    let main = Value::Map(message.main()?).to_json();
    let data = json!({"id": gone.1, "workspace": gone.0});
    let event = json!({"type": "client_disconnected", "to": peer.address(), "data": data});
    assert_eq!(main, event);
    Ok(())
}

#[tokio::test]
async fn callers_and_callees_are_notified_and_strangers_are_not() -> Result<()> {
    let server = server().await?;
    let mut callee = Raw::anonymous(&server, "callee").await?;
    let mut caller = Raw::anonymous(&server, "caller").await?;
    let mut target = Raw::anonymous(&server, "target").await?;
    let mut stranger = Raw::anonymous(&server, "stranger").await?;
    call(&mut caller, &mut callee).await?;
    call(&mut callee, &mut target).await?;
    // This message has no session, so no client waits for a response.
    let main = json!({"type": "method", "to": callee.address(), "method": "a.b"});
    stranger.send(main, None).await?;
    callee.message().await?;

    let workspace = callee.workspace().to_owned();
    callee.close().await?;
    told(&mut caller, (&workspace, "callee")).await?;
    told(&mut target, (&workspace, "callee")).await?;
    assert!(stranger.is_quiet().await);

    // The caller is notified only once, and not when the next client with the same id disconnects.
    assert!(caller.is_quiet().await);
    assert_eq!(server.stats().told_gone, 2);
    server.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn partners_are_kept_when_a_client_reconnects() -> Result<()> {
    let server = server().await?;
    let callee = Raw::anonymous(&server, "callee").await?;
    let mut caller = Raw::anonymous(&server, "caller").await?;
    let token = callee.field("reconnection_token").to_owned();
    let hello = json!({
        "client_id": "callee", "workspace": callee.workspace(), "reconnection_token": token,
    });
    let mut callee = callee;
    call(&mut caller, &mut callee).await?;
    let back = Raw::connect(&server, hello).await?;
    assert_eq!(back.address(), callee.address());
    assert!(caller.is_quiet().await, "the client is still connected");
    let workspace = back.workspace().to_owned();
    back.close().await?;
    told(&mut caller, (&workspace, "callee")).await?;
    server.shutdown().await;
    Ok(())
}

/// A stream is dropped while its owner is disconnected.
#[tokio::test]
async fn the_owner_of_a_dropped_stream_is_notified_when_it_reconnects() -> Result<()> {
    let server = server().await?;
    let mut owner = Raw::anonymous(&server, "owner").await?;
    let hello = json!({
        "client_id": "owner", "workspace": owner.workspace(),
        "reconnection_token": owner.field("reconnection_token"),
    });
    let caller = hypha_rpc::connect(server.url()).await?;
    let id = format!("{}:desk", owner.address());
    let finding = caller.get_remote_service(&id);
    let finding = tokio::spawn(finding.into_future());
    let address = owner.address();
    let answer = async |owner: &mut Raw, value: serde_json::Value| -> Result<()> {
        let asked = owner.answer().await?;
        let session = asked.session().context("no session")?;
        let from = asked.from().context("no sender")?;
        let main = json!({
            "type": "method", "to": from, "method": format!("{session}.resolve"), "parent": session,
        });
        owner.send(main, Some(json!({"args": [value]}))).await
    };
    let method = |path: &str| {
        json!({
            "_rtype": "method", "_rtarget": address, "_rmethod": path, "_rpromise": "*",
        })
    };
    let service = json!({"id": "desk", "count": method("services.desk.count")});
    answer(&mut owner, service).await.context("service")?;
    let service = finding.await??;
    let counting = tokio::spawn(service.call::<Value>("count", args!()).into_future());
    let stream = json!({
        "_rtype": "generator", "_rtarget": address, "_rpromise": "*",
        "_rmethod": "s.next", "_rclose_method": "s.close",
    });
    answer(&mut owner, stream).await.context("stream")?;
    let stream = counting.await??;

    owner.close().await?;
    drop(stream);
    // The client repeats the release of the stream, because the owner is not connected.
    while caller.stats().notices_repeated == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let mut owner = Raw::connect(&server, hello).await?;
    let closing = owner.answer().await.context("closing")?;
    assert_eq!(closing.method(), Some("s.close"));
    server.shutdown().await;
    Ok(())
}

/// Methods that run until they are canceled.
#[hypha_service(id = "patience", visibility = "public")]
pub(crate) trait Waiting {
    /// Waits until the call is canceled.
    async fn wait(&self, ctx: &Context) -> u32;
}

/// Reports the start and the cancellation of a call.
pub(crate) struct Reports(pub(crate) mpsc::UnboundedSender<&'static str>);

impl Waiting for Reports {
    async fn wait(&self, ctx: &Context) -> u32 {
        let _ = self.0.send("begun");
        ctx.cancellation().cancelled().await;
        let _ = self.0.send("cancelled");
        0
    }
}

struct Pair {
    _callee: Client,
    caller: Client,
    id: String,
    reports: mpsc::UnboundedReceiver<&'static str>,
}

/// Registers a public service in one workspace, and connects a client in another workspace.
async fn pair(server: &Server) -> Result<Pair> {
    let (report, reports) = mpsc::unbounded_channel();
    let callee = hypha_rpc::connect(server.url()).await?;
    let service = WaitingService::new(Reports(report));
    let info = callee.register_service(service).await?;
    Ok(Pair {
        caller: hypha_rpc::connect(server.url()).await?,
        _callee: callee,
        id: info.id,
        reports,
    })
}

#[tokio::test]
async fn a_call_fails_when_its_callee_in_another_workspace_is_killed() -> Result<()> {
    let server = server().await?;
    let process = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let url = server.url().to_owned();
    let (report, mut reports) = mpsc::unbounded_channel();
    let callee = process.spawn(async move {
        let callee = hypha_rpc::connect(url).await?;
        let service = WaitingService::new(Reports(report));
        let info = callee.register_service(service).await?;
        Ok::<_, Error>((callee, info.id))
    });
    let (_callee, id) = callee.await??;
    let caller = hypha_rpc::connect(server.url()).await?;
    let service = caller.get_service(&id).await?;
    let calling = tokio::spawn(async move { service.call::<u32>("wait", args!()).await });
    assert_eq!(reports.recv().await, Some("begun"));
    // Stops all tasks of the callee, as if its process were killed.
    process.shutdown_background();
    let error = calling.await?.err().context("the call has ended well")?;
    assert!(matches!(error, Error::Disconnected(_)), "{error}");
    server.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_handler_is_cancelled_when_its_caller_in_another_workspace_disconnects() -> Result<()> {
    let server = server().await?;
    let mut pair = pair(&server).await?;
    let service = pair.caller.get_service(&pair.id).await?;
    let calling = tokio::spawn(async move { service.call::<u32>("wait", args!()).await });
    assert_eq!(pair.reports.recv().await, Some("begun"));
    pair.caller.disconnect().await;
    assert_eq!(pair.reports.recv().await, Some("cancelled"));
    assert!(calling.await?.is_err());
    server.shutdown().await;
    Ok(())
}
