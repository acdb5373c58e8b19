//! Tests services as A2A agents: agent cards, messages, streams and limits.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hypha_rpc::prelude::*;
use hypha_rpc::service::{IncomingCall, Method, Service};
use hypha_rpc::{Client, Context, RemoteStream};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value as Json, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::support::{self, server, server_with};

const LIMIT: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Guide {
    begun: Arc<Notify>,
    ended: Arc<Notify>,
}

/// Shows the way.
#[hypha_service(id = "guide")]
impl Guide {
    /// Answers a message.
    pub(crate) async fn run(&self, message: Json, ctx: &Context) -> Result<Json, String> {
        let text = message["parts"][0]["text"].as_str().unwrap_or_default();
        match text {
            "fail" => Err("lost".into()),
            "who" => Ok(format!("{} in {}", ctx.user().id, ctx.workspace()).into()),
            "wait" => {
                self.begun.notify_one();
                ctx.cancellation().cancelled().await;
                self.ended.notify_one();
                Ok(Json::Null)
            }
            "large" => Ok("x".repeat(800_000).into()),
            "part" => Ok(json!({"kind": "data", "data": {"way": 5}})),
            _ => Ok(message),
        }
    }

    /// Returns the card.
    pub(crate) async fn agent_card(&self) -> Json {
        json!({"name": "Guide", "capabilities": {"streaming": true}})
    }
}

struct Counter;

/// Counts.
#[hypha_service(id = "counter")]
impl Counter {
    /// Counts, and fails at the end if the message says so.
    pub(crate) async fn run(&self, message: Json, context: Option<Json>) -> RemoteStream<u32> {
        assert!(context.is_none());
        let fails = message["parts"][0]["text"].as_str() == Some("fail");
        let end = fails.then(|| Err("no more".to_owned()));
        RemoteStream::try_new(futures_util::stream::iter((0..2).map(Ok).chain(end)))
    }
}

/// Returns an agent whose card is `card`.
fn agent(id: &str, card: Json) -> Service {
    let run = method!("run", |message: Json| async move { message });
    let card = Method::new("agent_card", move |call: IncomingCall| {
        let card = card.clone();
        async move { call.reply(&card) }
    });
    Service::new(id)
        .service_type("a2a")
        .method(run)
        .method(card)
}

struct Plain;

/// A service that is not an agent.
#[hypha_service(id = "plain")]
impl Plain {
    pub(crate) async fn run(&self) {}
}

async fn host(server: &hypha_server::Server, visibility: Visibility) -> Result<(Client, String)> {
    host_of(server, Guide::default(), visibility).await
}

async fn host_of(
    server: &hypha_server::Server,
    guide: Guide,
    visibility: Visibility,
) -> Result<(Client, String)> {
    let client = hypha_rpc::connect(server.url()).await?;
    let guide = client.register_service(guide).service_type("a2a");
    guide.visibility(visibility).await?;
    let counter = client.register_service(Counter).service_type("a2a");
    counter.visibility(visibility).await?;
    let url = format!("{}/{}/a2a", server.url(), client.workspace());
    Ok((client, url))
}

fn message(method: &str, text: &str) -> Json {
    let parts = json!([{"kind": "text", "text": text}]);
    let message = json!({"role": "user", "messageId": "m", "parts": parts});
    let params = json!({"message": message});
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
}

fn post(url: &str, message: &Json) -> RequestBuilder {
    support::http().post(url).json(message)
}

async fn answer(request: RequestBuilder) -> Result<(StatusCode, Json)> {
    let response = request.send().await?;
    let (status, text) = (response.status(), response.text().await?);
    let json = serde_json::from_str(&text).unwrap_or(Json::String(text));
    Ok((status, json))
}

/// Sends a message, and returns the parts of the response message.
async fn send(url: &str, text: &str) -> Result<Json> {
    let (status, body) = answer(post(url, &message("message/send", text))).await?;
    anyhow::ensure!(status == StatusCode::OK, "{status}: {body}");
    assert_eq!(body["id"], 7);
    assert_eq!(body["result"]["kind"], "message", "{body}");
    assert_eq!(body["result"]["role"], "agent");
    Ok(body["result"]["parts"].clone())
}

/// Sends a message with `message/stream`. Returns the result in each event of the response.
async fn events(url: &str, text: &str) -> Result<Vec<Json>> {
    let response = post(url, &message("message/stream", text)).send().await?;
    let kind = &response.headers()["content-type"];
    assert_eq!(kind, "text/event-stream; charset=utf-8");
    let events = response.text().await?;
    let events = events
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    let event = |line| Ok(serde_json::from_str::<Json>(line)?["result"].clone());
    events.map(event).collect()
}

fn text(text: &str) -> Json {
    json!({"kind": "text", "text": text})
}

#[tokio::test]
async fn a_card_is_completed_from_the_service() -> Result<()> {
    let server = server().await?;
    let (host, url) = host(&server, Visibility::Public).await?;
    let id = |name: &str| format!("{}/{}:{name}", host.workspace(), host.client_id());
    for path in [".well-known/agent-card.json", ".well-known/agent.json"] {
        let card = support::http().get(format!("{url}/guide/{path}"));
        let (status, card) = answer(card).await?;
        assert_eq!(status, StatusCode::OK, "{card}");
        assert_eq!(card["name"], "Guide");
        assert_eq!(card["description"], "Shows the way.");
        assert_eq!(card["url"], format!("{url}/guide"));
        assert_eq!(card["capabilities"], json!({"streaming": true}));
        assert_eq!(card["defaultInputModes"], json!(["text"]));
        assert_eq!(card["skills"][0]["tags"], json!(["chat"]));
    }
    let cardless = support::http().get(format!("{url}/counter/.well-known/agent-card.json"));
    assert_eq!(answer(cardless).await?.1["name"], *id("counter"));

    let info = support::http().get(format!(
        "{}/{}/a2a-info/guide",
        server.url(),
        host.workspace()
    ));
    let (status, info) = answer(info).await?;
    assert_eq!(status, StatusCode::OK, "{info}");
    assert_eq!(info["service"]["id"], *id("guide"));
    assert_eq!(info["service_functions"], json!(["run", "agent_card"]));
    let endpoint = format!("/{}/a2a/guide", host.workspace());
    assert_eq!(info["endpoints"]["a2a"], *endpoint);
    Ok(())
}

#[tokio::test]
async fn a_broken_card_is_an_error_everywhere() -> Result<()> {
    let server = server().await?;
    let (host, url) = host(&server, Visibility::Public).await?;
    let broken = agent("broken", json!({"skills": 1}));
    let broken = host.register_service(broken);
    broken.visibility(Visibility::Public).await?;
    let info = url.replace("/a2a", "/a2a-info");
    for url in [
        format!("{url}/broken/.well-known/agent-card.json"),
        format!("{info}/broken"),
    ] {
        let (status, body) = answer(support::http().get(&url)).await?;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{body}");
        let why = "`skills` of the agent card: expected a list of maps";
        assert!(body.to_string().contains(why), "{body}");
    }
    Ok(())
}

#[tokio::test]
async fn a_card_that_never_comes_is_an_error() -> Result<()> {
    let limit = Duration::from_millis(100);
    let server = server_with(|limits| limits.agent_card_timeout = limit).await?;
    let (host, url) = host(&server, Visibility::Public).await?;
    let never = Method::new("agent_card", |_: IncomingCall| async move {
        std::future::pending::<()>().await;
        Ok(hypha_rpc::Args::new(0, 0))
    });
    let silent = agent("silent", Json::Null).method(never);
    let silent = host.register_service(silent);
    silent.visibility(Visibility::Public).await?;
    let info = url.replace("/a2a", "/a2a-info");
    for url in [
        format!("{url}/silent/.well-known/agent-card.json"),
        format!("{info}/silent"),
    ] {
        let (status, body) = timeout(LIMIT, answer(support::http().get(&url))).await??;
        assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{body}");
        assert!(
            body.to_string().contains("did not return within 100ms"),
            "{body}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_message_is_held_once() -> Result<()> {
    let server = server().await?;
    let (host, url) = host(&server, Visibility::Public).await?;
    let run = method!("run", |message: Json| async move {
        message["parts"][0]["data"]["values"]
            .as_array()
            .map_or(0, Vec::len)
    });
    let counter = Service::new("len").service_type("a2a").method(run);
    let counter = host.register_service(counter);
    counter.visibility(Visibility::Public).await?;
    let part = json!({"kind": "data", "data": {"values": vec![0; 300_000]}});
    let mut sent = message("message/send", "");
    sent["params"]["message"]["parts"][0] = part;
    let (status, body) = answer(post(&format!("{url}/len"), &sent)).await?;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["result"]["parts"][0]["text"], "300000", "{body}");
    Ok(())
}

#[tokio::test]
async fn messages_are_calls_of_run() -> Result<()> {
    let server = server().await?;
    let (host, url) = host(&server, Visibility::Public).await?;
    let guide = format!("{url}/guide");
    let echoed = send(&guide, "hello").await?;
    let echoed: Json = serde_json::from_str(echoed[0]["text"].as_str().context("no text")?)?;
    let expected = json!({"parts": [text("hello")], "role": "user", "messageId": "m"});
    assert_eq!(echoed, expected);
    assert_eq!(send(&guide, "fail").await?, json!([text("Error: lost")]));
    let part = json!([{"kind": "data", "data": {"way": 5}}]);
    assert_eq!(send(&guide, "part").await?, part);
    let who = send(&guide, "who").await?.to_string();
    assert!(!who.contains(host.user().id.as_str()), "{who}");
    let counter = format!("{url}/counter");
    assert_eq!(send(&counter, "").await?, json!([text("0"), text("1")]));
    let failed = send(&counter, "fail").await?;
    assert_eq!(failed, json!([text("Error: no more")]));
    assert_eq!(server.stats().a2a_messages, 6);
    Ok(())
}

#[tokio::test]
async fn a_stream_is_an_artifact_of_a_task() -> Result<()> {
    let server = server().await?;
    let (_host, url) = host(&server, Visibility::Public).await?;
    let whole = events(&format!("{url}/guide"), "fail").await?;
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0]["parts"], json!([text("Error: lost")]));

    for (said, state) in [("", "completed"), ("fail", "failed")] {
        let events = events(&format!("{url}/counter"), said).await?;
        let kinds: Vec<_> = events.iter().map(|event| event["kind"].clone()).collect();
        let update = "artifact-update";
        assert_eq!(kinds, ["task", update, update, "status-update"]);
        let task = &events[0];
        for (event, number) in events[1..3].iter().zip(["0", "1"]) {
            assert_eq!(event["taskId"], task["id"]);
            assert_eq!(event["contextId"], task["contextId"]);
            assert_eq!(event["artifact"]["parts"], json!([text(number)]));
            assert_eq!(event["append"], number == "1");
        }
        assert_eq!(events[3]["status"]["state"], *state);
        assert_eq!(events[3]["final"], true);
    }
    Ok(())
}

#[tokio::test]
async fn agents_are_called_as_the_user_of_the_token() -> Result<()> {
    let server = server().await?;
    let (owner, url) = host(&server, Visibility::Protected).await?;
    let guide = format!("{url}/guide");
    let hello = message("message/send", "who");
    let card = || support::http().get(format!("{guide}/.well-known/agent-card.json"));
    let info = format!("{}/{}/a2a-info/guide", server.url(), owner.workspace());
    let info = || support::http().get(&info);
    for (request, status) in [
        (post(&guide, &hello), StatusCode::NOT_FOUND),
        (card(), StatusCode::NOT_FOUND),
        (info(), StatusCode::NOT_FOUND),
        (
            post(&guide, &hello).bearer_auth("garbage"),
            StatusCode::UNAUTHORIZED,
        ),
    ] {
        let (found, body) = answer(request).await?;
        assert_eq!(found, status, "{body}");
        assert!(body["error"].is_string(), "{body}");
    }
    // A stranger cannot distinguish a protected service from a missing service.
    for name in ["guide", "nothing"] {
        let (_, body) = answer(post(&format!("{url}/{name}"), &hello)).await?;
        let text = format!("Service {name} not found or not accessible");
        assert_eq!(body["error"], *text);
    }
    let token = owner.manager().await?.generate_token(None).await?;
    for request in [post(&guide, &hello), card(), info()] {
        let (status, body) = answer(request.bearer_auth(&token)).await?;
        assert_eq!(status, StatusCode::OK, "{body}");
    }
    let cookie = || post(&guide, &hello).header("Cookie", format!("access_token={token}"));
    let own = cookie().header("Origin", server.url());
    assert_eq!(answer(own).await?.0, StatusCode::OK);
    let foreign = cookie().header("Origin", "https://evil.example");
    assert_eq!(answer(foreign).await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn requests_that_are_none_are_refused() -> Result<()> {
    let server = server_with(|limits| limits.frame_bytes = 4096).await?;
    let (host, url) = host(&server, Visibility::Public).await?;
    let plain = host.register_service(Plain);
    plain.visibility(Visibility::Public).await?;
    let guide = format!("{url}/guide");
    let raw = |body: &'static str| support::http().post(&guide).body(body);
    for (request, code) in [
        (raw("{"), -32700),
        (raw("[]"), -32600),
        (
            raw(r#"{"jsonrpc": "2.0", "id": 1, "method": "no/such"}"#),
            -32601,
        ),
        (
            raw(r#"{"jsonrpc": "2.0", "id": 1, "method": "message/send"}"#),
            -32602,
        ),
        (
            raw(r#"{"id": 1, "method": "tasks/get", "params": {"id": "t"}}"#),
            -32001,
        ),
        (
            raw(
                r#"{"id": 1, "method": "tasks/pushNotificationConfig/get", "params": {"id": "t"}}"#,
            ),
            -32004,
        ),
    ] {
        let (status, body) = answer(request).await?;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(body["error"]["code"], code, "{body}");
    }
    let large = message("message/send", &"x".repeat(5000));
    let get = |path: &str| support::http().get(format!("{url}/{path}"));
    let hello = message("message/send", "hello");
    for (request, status) in [
        (post(&guide, &large), StatusCode::PAYLOAD_TOO_LARGE),
        (get("guide"), StatusCode::METHOD_NOT_ALLOWED),
        (get("guide/no-such"), StatusCode::NOT_FOUND),
        (get(""), StatusCode::NOT_FOUND),
        (
            post(&format!("{url}/plain"), &hello),
            StatusCode::BAD_REQUEST,
        ),
        (
            post(&format!("{url}/nothing"), &hello),
            StatusCode::NOT_FOUND,
        ),
    ] {
        let (found, body) = answer(request).await?;
        assert_eq!(found, status, "{body}");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_message() -> Result<()> {
    let server = server().await?;
    let guide = Guide::default();
    let (begun, ended) = (guide.begun.clone(), guide.ended.clone());
    let (_host, url) = host_of(&server, guide, Visibility::Public).await?;
    for method in ["message/send", "message/stream"] {
        let request = post(&format!("{url}/guide"), &message(method, "wait"));
        let request = tokio::spawn(async move { request.send().await?.text().await });
        timeout(LIMIT, begun.notified()).await?;
        request.abort();
        timeout(LIMIT, ended.notified()).await?;
    }
    timeout(LIMIT, async {
        while server.stats().http_requests_open > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn an_answer_beyond_the_memory_of_a_request_is_an_error() -> Result<()> {
    let server = server_with(|limits| {
        limits.frame_bytes = 1_000_000;
        limits.connection_memory_bytes = 4_000_000;
    });
    let server = server.await?;
    let (_host, url) = host(&server, Visibility::Public).await?;
    let guide = format!("{url}/guide");
    let large = message("message/send", "large");
    let (status, body) = answer(post(&guide, &large)).await?;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["error"]["code"], -32603, "{body}");
    assert!(send(&guide, "hello").await?.is_array());
    Ok(())
}
