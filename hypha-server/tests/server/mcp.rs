//! Tests services as MCP servers: tools, resources and prompts, both transports, and their limits.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hypha_rpc::prelude::*;
use hypha_rpc::service::{IncomingCall, Method, Service};
use hypha_rpc::{Array, Binary, Client, Context, NdArray, RemoteFile, RemoteStream, Value};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value as Json, json};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::support::{self, server, server_with};

const LIMIT: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Desk {
    begun: Arc<Notify>,
    ended: Arc<Notify>,
}

/// A service for models.
#[hypha_service(id = "desk")]
impl Desk {
    /// Divides one number by another.
    pub(crate) async fn divide(
        &self,
        /// The number to divide.
        a: f64,
        /// The number to divide by.
        #[hypha(default = 1.0)]
        b: f64,
    ) -> Result<f64, String> {
        if b == 0.0 {
            return Err("division by zero".into());
        }
        Ok(a / b)
    }

    /// Returns its argument.
    pub(crate) async fn echo(&self, value: Value) -> Value {
        value
    }

    /// Returns the user and the workspace of the caller.
    pub(crate) async fn who(&self, ctx: &Context) -> String {
        format!("{} in {}", ctx.user().id, ctx.workspace())
    }

    /// Takes a picture.
    pub(crate) async fn snap(&self) -> Result<NdArray, String> {
        NdArray::from_vec([2, 2], vec![0_u8, 1, 2, 3]).map_err(|error| error.to_string())
    }

    /// Returns a stream of numbers. The stream ends with an error if `fails`.
    pub(crate) async fn count(&self, to: u32, fails: bool) -> RemoteStream<u32> {
        let end = fails.then(|| Err("no more".to_owned()));
        RemoteStream::try_new(futures_util::stream::iter((0..to).map(Ok).chain(end)))
    }

    /// Waits until the caller cancels the call.
    pub(crate) async fn wait(&self, ctx: &Context) {
        self.begun.notify_one();
        ctx.cancellation().cancelled().await;
        self.ended.notify_one();
    }
}

async fn host(server: &hypha_server::Server, visibility: Visibility) -> Result<(Client, String)> {
    host_of(server, Desk::default(), visibility).await
}

async fn host_of(
    server: &hypha_server::Server,
    desk: Desk,
    visibility: Visibility,
) -> Result<(Client, String)> {
    let client = hypha_rpc::connect(server.url()).await?;
    client.register_service(desk).visibility(visibility).await?;
    let url = format!("{}/{}/mcp", server.url(), client.workspace());
    Ok((client, url))
}

fn message(method: &str, params: Json) -> Json {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
}

fn post(url: &str, message: &Json) -> RequestBuilder {
    let request = support::http().post(url).json(message);
    request.header("Accept", "application/json, text/event-stream")
}

async fn answer(request: RequestBuilder) -> Result<(StatusCode, Json)> {
    let response = request.send().await?;
    let (status, text) = (response.status(), response.text().await?);
    let json = serde_json::from_str(&text).unwrap_or(Json::String(text));
    Ok((status, json))
}

/// Returns the result of a request. If the response is an error, fails with the text of that error.
async fn ask(url: &str, method: &str, params: Json) -> Result<Json> {
    let (status, body) = answer(post(url, &message(method, params))).await?;
    anyhow::ensure!(status == StatusCode::OK, "{status}: {body}");
    let result = body.get("result").cloned();
    result.with_context(|| body["error"].to_string())
}

async fn call(url: &str, tool: &str, arguments: Json) -> Result<Json> {
    let params = json!({"name": tool, "arguments": arguments});
    ask(url, "tools/call", params).await
}

fn text(text: &str) -> Json {
    json!({"type": "text", "text": text})
}

fn initialize() -> Json {
    let client = json!({"name": "test", "version": "0"});
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
    message("initialize", params)
}

#[tokio::test]
async fn functions_are_tools() -> Result<()> {
    let server = server().await?;
    let (host, url) = host(&server, Visibility::Public).await?;
    let desk = format!("{url}/desk/mcp");

    let (_, begun) = answer(post(&desk, &initialize())).await?;
    let id = format!("{}/{}:desk", host.workspace(), host.client_id());
    assert_eq!(begun["result"]["serverInfo"]["name"], *id);
    assert_eq!(begun["result"]["protocolVersion"], "2025-06-18");
    assert!(
        begun["result"]["capabilities"]["tools"].is_object(),
        "{begun}"
    );
    assert!(
        begun["result"]["capabilities"]["prompts"].is_null(),
        "{begun}"
    );

    let tools = ask(&desk, "tools/list", json!({})).await?;
    let divide = &tools["tools"][0];
    assert_eq!(divide["name"], "divide");
    assert_eq!(divide["description"], "Divides one number by another.");
    let b = &divide["inputSchema"]["properties"]["b"];
    assert_eq!(b["description"], "The number to divide by.");
    assert_eq!(divide["inputSchema"]["required"], json!(["a"]));
    let who = tools["tools"].as_array().context("no tools")?;
    let who = who.iter().find(|tool| tool["name"] == "who");
    assert_eq!(who.context("no who")?["inputSchema"]["type"], "object");

    let good = |content: Json| json!({"content": content, "isError": false});
    let bad = |why: &str| json!({"content": [text(why)], "isError": true});
    for (tool, arguments, expected) in [
        (
            "divide",
            json!({"a": 1, "b": 2}),
            good(json!([text("0.5")])),
        ),
        ("divide", json!({"a": 3}), good(json!([text("3.0")]))),
        ("divide", json!({"a": 1, "b": 0}), bad("division by zero")),
        ("echo", json!({"value": "x"}), good(json!([text("x")]))),
        (
            "echo",
            json!({"value": {"a": [1, null]}}),
            good(json!([text(r#"{"a":[1,null]}"#)])),
        ),
        (
            "echo",
            json!({"value": [1, "b"]}),
            good(json!([text("1"), text("b")])),
        ),
        (
            "count",
            json!({"to": 2, "fails": false}),
            good(json!([text("0"), text("1")])),
        ),
        ("count", json!({"to": 2, "fails": true}), bad("no more")),
        (
            "who",
            json!({}),
            good(json!([text("anonymouz-http in ws-anonymous")])),
        ),
    ] {
        assert_eq!(call(&desk, tool, arguments).await?, expected, "{tool}");
    }
    let snap = ask(&desk, "tools/call", json!({"name": "snap"})).await?;
    assert_eq!(snap["content"][0]["type"], "image");
    assert_eq!(snap["content"][0]["mimeType"], "image/png");

    for (tool, arguments, parts) in [
        (
            "divide",
            json!({"a": 1, "c": 1}),
            &["TypeError", "divide", "`c`"][..],
        ),
        (
            "nothing",
            json!({}),
            &["Tool 'nothing' not found", "desk", "divide"],
        ),
    ] {
        let result = call(&desk, tool, arguments).await?;
        let why = result["content"][0]["text"].as_str().unwrap_or_default();
        assert_eq!(result["isError"], true, "{tool}: {result}");
        for part in parts {
            assert!(why.contains(part), "{part}: {why}");
        }
    }
    assert_eq!(server.stats().mcp_calls, 12);
    let error = ask(&desk, "prompts/list", json!({})).await.unwrap_err();
    assert!(error.to_string().contains("-32601"), "{error}");
    Ok(())
}

/// A service whose arguments JSON has no types for.
struct Lab;

#[hypha_service(id = "lab")]
impl Lab {
    /// Describes its arguments.
    pub(crate) async fn describe(
        &self,
        image: Array<u16, 2>,
        any: NdArray,
        data: Binary,
        mut file: RemoteFile,
        maybe: Option<Array<f32, 1>>,
    ) -> Result<String, String> {
        let mut content = Vec::new();
        let read = file.read_to_end(&mut content).await;
        read.map_err(|error| error.to_string())?;
        let (shape, dtype) = (any.shape(), any.dtype());
        let data = data.to_vec();
        Ok(format!(
            "{:?} {shape:?} of {dtype}, {data:?} {content:?} {}",
            image.as_slice(),
            maybe.is_some()
        ))
    }

    /// Adds the items of a stream.
    pub(crate) async fn add(&self, items: RemoteStream<u8>) -> usize {
        futures_util::StreamExt::count(items).await
    }
}

#[tokio::test]
async fn arguments_have_the_form_that_the_schema_of_a_tool_describes() -> Result<()> {
    let server = server().await?;
    let client = hypha_rpc::connect(server.url()).await?;
    let registering = client.register_service(Lab);
    registering.visibility(Visibility::Public).await?;
    let base = format!("{}/{}", server.url(), client.workspace());
    let lab = format!("{base}/mcp/lab/mcp");

    let tools = ask(&lab, "tools/list", json!({})).await?;
    assert_eq!(tools["tools"].as_array().map(Vec::len), Some(1), "{tools}");
    let properties = &tools["tools"][0]["inputSchema"]["properties"];
    let whole = |most: u32| json!({"type": "integer", "minimum": 0, "maximum": most});
    let list = |items: Json| json!({"type": "array", "items": items});
    for (place, form) in [
        (&properties["image"], list(list(whole(65_535)))),
        (&properties["data"], list(whole(255))),
        (&properties["file"], list(whole(255))),
        (
            &properties["maybe"]["anyOf"][0],
            list(json!({"type": "number"})),
        ),
    ] {
        assert_eq!(place["type"], form["type"], "{properties}");
        assert_eq!(place["items"], form["items"], "{properties}");
    }
    let info = support::http().get(format!("{base}/mcp/lab")).send();
    let info: Json = info.await?.json().await?;
    let wanted = "argument `items` needs a stream, which JSON cannot hold";
    let excluded = &info["summary"]["excluded_functions"];
    assert_eq!(*excluded, json!([{"name": "add", "reason": wanted}]));

    let arguments = json!({
        "image": [[1, 2], [3, 65_535]],
        "any": [[[0.5]]],
        "data": [1, 255],
        "file": [7],
    });
    let expected = "[1, 2, 3, 65535] [1, 1, 1] of float64, [1, 255] [7] false";
    let result = call(&lab, "describe", arguments.clone()).await?;
    assert_eq!(result["content"], json!([text(expected)]));
    let request = support::http().post(format!("{base}/services/lab/describe"));
    let result: Json = request.json(&arguments).send().await?.json().await?;
    assert_eq!(result, expected);
    for (name, wrong) in [("data", json!("text")), ("image", json!([1]))] {
        let mut arguments = arguments.clone();
        arguments[name] = wrong;
        let result = call(&lab, "describe", arguments).await?;
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        assert!(text.starts_with("Input validation error: "), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn arguments_are_checked_before_the_call() -> Result<()> {
    let server = server().await?;
    let (_host, url) = host(&server, Visibility::Public).await?;
    let desk = format!("{url}/desk/mcp");
    for (tool, arguments, expected) in [
        ("divide", json!({"b": 1}), "'a' is a required property"),
        ("divide", json!({}), "'a' is a required property"),
        (
            "divide",
            json!({"a": "x"}),
            "'x' is not of type 'number' (argument `a`)",
        ),
        (
            "count",
            json!({"to": 1.5, "fails": false}),
            "1.5 is not of type 'integer' (argument `to`)",
        ),
    ] {
        let result = call(&desk, tool, arguments).await?;
        let text = text(&format!("Input validation error: {expected}"));
        assert_eq!(result, json!({"content": [text], "isError": true}));
    }
    let result = ask(&desk, "tools/call", json!({"name": "divide"})).await?;
    assert_eq!(result["isError"], true, "{result}");

    // Both transports.
    let mut session = Session::open(&server, &format!("{url}/desk")).await?;
    session.begin().await?;
    for (arguments, expected) in [
        (json!({"a": 1, "b": 2}), "0.5"),
        (
            json!({"b": 2}),
            "Input validation error: 'a' is a required property",
        ),
    ] {
        let params = json!({"name": "divide", "arguments": arguments});
        session.send(&message("tools/call", params)).await?;
        let answered = session.message().await?;
        assert_eq!(answered["result"]["content"], json!([text(expected)]));
    }
    Ok(())
}

#[tokio::test]
async fn arguments_take_a_few_times_their_size() -> Result<()> {
    let server = server_with(|limits| {
        limits.frame_bytes = 2_000_000;
        limits.connection_memory_bytes = 8_000_000;
    });
    let server = server.await?;
    let client = hypha_rpc::connect(server.url()).await?;
    let len = method!("len", |values: Vec<u8>| async move { values.len() });
    let schema = json!({"name": "len", "parameters": {"type": "object",
        "properties": {"values": {"type": "array", "items": {"type": "integer"}}}}});
    let len = len.schema(schema);
    let service = client.register_service(Service::new("desk").method(len));
    service.visibility(Visibility::Public).await?;
    let url = format!("{}/{}/mcp/desk", server.url(), client.workspace());
    let zeros = json!({"values": vec![0; 420_000]});
    let found = call(&format!("{url}/mcp"), "len", zeros.clone()).await?;
    assert_eq!(found["content"], json!([text("420000")]), "{found}");
    let mut session = Session::open(&server, &url).await?;
    session.begin().await?;
    let params = json!({"name": "len", "arguments": zeros});
    session.send(&message("tools/call", params)).await?;
    let answered = session.message().await?;
    assert_eq!(answered["result"]["content"], json!([text("420000")]));
    Ok(())
}

#[tokio::test]
async fn clients_that_request_progress_receive_the_items_of_a_stream() -> Result<()> {
    let server = server().await?;
    let (_host, url) = host(&server, Visibility::Public).await?;
    let params = json!({"name": "count", "arguments": {"to": 2, "fails": false},
        "_meta": {"progressToken": "p"}});
    let url = format!("{url}/desk/mcp");
    let response = post(&url, &message("tools/call", params.clone()))
        .send()
        .await?;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let events = response.text().await?;
    let events = events
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Json> = events.map(serde_json::from_str).collect::<Result<_, _>>()?;
    let progress = |event: &Json| {
        let params = &event["params"];
        (params["progress"].as_f64(), params["message"].clone())
    };
    assert_eq!(progress(&events[0]), (Some(1.0), json!("0")));
    assert_eq!(progress(&events[1]), (Some(2.0), json!("1")));
    assert_eq!(
        events[2]["result"]["content"],
        json!([text("0"), text("1")])
    );

    // A client that accepts no events gets only the response, without progress.
    let alone = support::http()
        .post(&url)
        .json(&message("tools/call", params));
    let (_, body) = answer(alone.header("Accept", "application/json")).await?;
    assert_eq!(body["result"]["content"], json!([text("0"), text("1")]));
    Ok(())
}

#[tokio::test]
async fn permissions_are_those_of_functions_over_http() -> Result<()> {
    let server = server().await?;
    let (owner, url) = host(&server, Visibility::Protected).await?;
    let desk = format!("{url}/desk/mcp");
    let list = message("tools/list", json!({}));
    let (status, body) = answer(post(&desk, &list)).await?;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    // A stranger cannot distinguish a protected service from a missing service.
    assert_eq!(body["error"], "Service desk not found or not accessible");
    let missing = post(&format!("{url}/nothing/mcp"), &list);
    let (status, body) = answer(missing).await?;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    assert_eq!(body["error"], "Service nothing not found or not accessible");

    let token = owner.manager().await?.generate_token(None).await?;
    let (status, _) = answer(post(&desk, &list).bearer_auth(&token)).await?;
    assert_eq!(status, StatusCode::OK);
    let cookie = || post(&desk, &list).header("Cookie", format!("access_token={token}"));
    let own = cookie().header("Origin", server.url());
    assert_eq!(answer(own).await?.0, StatusCode::OK);
    let foreign = cookie().header("Origin", "https://evil.example");
    assert_eq!(answer(foreign).await?.0, StatusCode::NOT_FOUND);
    let stream = || support::http().get(format!("{url}/desk/sse"));
    assert_eq!(answer(stream()).await?.0, StatusCode::NOT_FOUND);
    let (status, body) = answer(post(&desk, &list).bearer_auth("garbage")).await?;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{body}");

    let info = || support::http().get(format!("{url}/desk"));
    assert_eq!(answer(info()).await?.0, StatusCode::NOT_FOUND);
    let (status, body) = answer(info().bearer_auth(&token)).await?;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["summary"]["tools_count"], 6, "{body}");
    let endpoint = format!("/{}/mcp/desk/mcp", owner.workspace());
    assert_eq!(body["endpoints"]["streamable_http"], *endpoint);
    Ok(())
}

#[tokio::test]
async fn urls_accept_every_form_of_a_service_id() -> Result<()> {
    let server = server().await?;
    let (host, url) = host(&server, Visibility::Public).await?;
    let list = message("tools/list", json!({}));
    let (workspace, client) = (host.workspace(), host.client_id());
    for path in [
        "desk/mcp".to_owned(),
        "desk/mcp/".to_owned(),
        format!("{client}:desk/mcp"),
        format!("{workspace}/{client}:desk/mcp"),
        "desk/mcp?_mode=first".to_owned(),
    ] {
        let (status, body) = answer(post(&format!("{url}/{path}"), &list)).await?;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
    }
    for (path, expected, part) in [
        ("nothing/mcp", StatusCode::NOT_FOUND, "nothing"),
        ("*/mcp", StatusCode::BAD_REQUEST, "Invalid service id"),
    ] {
        let (status, body) = answer(post(&format!("{url}/{path}"), &list)).await?;
        assert_eq!(status, expected, "{path}: {body}");
        assert!(body["error"].to_string().contains(part), "{path}: {body}");
    }
    let nowhere = format!("{}/ws-nowhere/mcp/desk/mcp", server.url());
    let (status, body) = answer(post(&nowhere, &list)).await?;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body["error"].to_string().contains("ws-nowhere"), "{body}");
    let index = support::http().get(format!("{url}/"));
    let (status, body) = answer(index).await?;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body["error"], "MCP service ID required");
    Ok(())
}

#[tokio::test]
async fn invalid_mcp_requests_are_refused() -> Result<()> {
    let server = server_with(|limits| limits.frame_bytes = 4096).await?;
    let (_host, url) = host(&server, Visibility::Public).await?;
    let url = format!("{url}/desk/mcp");
    let raw = |body: String, kind: &'static str, accept: &'static str| {
        let request = support::http().post(&url).body(body);
        request
            .header("Content-Type", kind)
            .header("Accept", accept)
    };
    let ping = message("ping", json!({})).to_string();
    let json = "application/json";
    for (request, expected) in [
        (raw(ping.clone(), json, "*/*"), StatusCode::OK),
        (
            raw(ping.clone(), json, "text/html"),
            StatusCode::NOT_ACCEPTABLE,
        ),
        (
            raw(ping.clone(), "text/plain", json),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (raw("{".into(), json, json), StatusCode::BAD_REQUEST),
        (
            raw(r#"{"x":1}"#.into(), json, json),
            StatusCode::BAD_REQUEST,
        ),
        (raw("[]".into(), json, json), StatusCode::BAD_REQUEST),
        (
            raw(ping.clone(), json, json).header("MCP-Protocol-Version", "1999-01-01"),
            StatusCode::BAD_REQUEST,
        ),
        (
            raw(" ".repeat(5000), json, json),
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
        (support::http().get(&url), StatusCode::METHOD_NOT_ALLOWED),
        (support::http().delete(&url), StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let (status, body) = answer(request).await?;
        assert_eq!(status, expected, "{body}");
    }
    let (status, body) = answer(post(&url, &message("nothing/at/all", json!({})))).await?;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::OK, &json!(-32601))
    );
    let told = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(answer(post(&url, &told)).await?.0, StatusCode::ACCEPTED);
    Ok(())
}

#[tokio::test]
async fn a_disconnected_client_cancels_its_call() -> Result<()> {
    let server = server().await?;
    let desk = Desk::default();
    let (begun, ended) = (desk.begun.clone(), desk.ended.clone());
    let (_host, url) = host_of(&server, desk, Visibility::Public).await?;
    let params = json!({"name": "wait", "arguments": {}});
    let request = post(&format!("{url}/desk/mcp"), &message("tools/call", params));
    let call = tokio::spawn(request.send());
    timeout(LIMIT, begun.notified()).await?;
    call.abort();
    timeout(LIMIT, ended.notified()).await?;
    nothing_is_held(&server).await
}

/// Waits until the server has no open requests and no open sessions.
async fn nothing_is_held(server: &hypha_server::Server) -> Result<()> {
    let gone = async {
        loop {
            let stats = server.stats();
            if stats.mcp_sessions_open == 0 && stats.http_requests_open == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    Ok(timeout(LIMIT, gone).await?)
}

/// A session of the SSE transport.
struct Session {
    stream: Response,
    read: String,
    messages: String,
}

impl Session {
    async fn open(server: &hypha_server::Server, url: &str) -> Result<Session> {
        let stream = support::http().get(format!("{url}/sse")).send().await?;
        anyhow::ensure!(stream.status() == StatusCode::OK, "{}", stream.status());
        let mut session = Session {
            stream,
            read: String::new(),
            messages: String::new(),
        };
        let (kind, endpoint) = session.event().await?.context("no event")?;
        anyhow::ensure!(kind == "endpoint", "{kind}");
        session.messages = format!("{}{endpoint}", server.url());
        Ok(session)
    }

    /// Returns the next event, or `None` at the end of the stream.
    async fn event(&mut self) -> Result<Option<(String, String)>> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\r\n\r\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.read = rest;
                let field = |name: &str| {
                    let mut lines = event.lines();
                    let value = lines.find_map(|line| line.strip_prefix(name));
                    value.map(str::to_owned)
                };
                if let (Some(kind), Some(data)) = (field("event: "), field("data: ")) {
                    return Ok(Some((kind, data)));
                }
                continue;
            }
            match timeout(LIMIT, self.stream.chunk()).await?? {
                Some(piece) => self.read.push_str(std::str::from_utf8(&piece)?),
                None => return Ok(None),
            }
        }
    }

    async fn message(&mut self) -> Result<Json> {
        let (_, data) = self.event().await?.context("the stream has ended")?;
        Ok(serde_json::from_str(&data)?)
    }

    async fn send(&self, message: &Json) -> Result<()> {
        let (status, body) = answer(post(&self.messages, message)).await?;
        anyhow::ensure!(status == StatusCode::ACCEPTED, "{status}: {body}");
        Ok(())
    }

    async fn begin(&mut self) -> Result<()> {
        self.send(&initialize()).await?;
        let begun = self.message().await?;
        anyhow::ensure!(begun["result"]["serverInfo"].is_object(), "{begun}");
        let told = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        self.send(&told).await
    }
}

#[tokio::test]
async fn a_session_lasts_as_long_as_its_stream() -> Result<()> {
    let server = server().await?;
    let desk = Desk::default();
    let (begun, ended) = (desk.begun.clone(), desk.ended.clone());
    let (_host, url) = host_of(&server, desk, Visibility::Public).await?;
    let mut session = Session::open(&server, &format!("{url}/desk")).await?;
    session.begin().await?;
    assert_eq!(server.stats().mcp_sessions_open, 1);
    let divide = json!({"name": "divide", "arguments": {"a": 1, "b": 4}});
    session.send(&message("tools/call", divide)).await?;
    let result = session.message().await?;
    assert_eq!(
        result["result"]["content"],
        json!([text("0.25")]),
        "{result}"
    );

    // A canceled call has no response.
    let wait = message("tools/call", json!({"name": "wait", "arguments": {}}));
    session.send(&wait).await?;
    timeout(LIMIT, begun.notified()).await?;
    let params = json!({"requestId": 7, "reason": "enough"});
    let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": params});
    session.send(&cancelled).await?;
    timeout(LIMIT, ended.notified()).await?;
    session.send(&message("ping", json!({}))).await?;
    assert_eq!(session.message().await?["result"], json!({}));

    // An invalid message does not end the session.
    let (status, body) = answer(post(&session.messages, &json!({"x": 1}))).await?;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");

    // A call in progress is canceled when the stream is dropped.
    session.send(&wait).await?;
    timeout(LIMIT, begun.notified()).await?;
    let messages = session.messages.clone();
    drop(session);
    timeout(LIMIT, ended.notified()).await?;
    nothing_is_held(&server).await?;
    let (status, body) = answer(post(&messages, &initialize())).await?;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body["error"], "SSE session not found. Please reconnect.");
    Ok(())
}

#[tokio::test]
async fn a_session_accepts_messages_of_its_user_only() -> Result<()> {
    let server = server().await?;
    let (owner, url) = host(&server, Visibility::Protected).await?;
    let token = owner.manager().await?.generate_token(None).await?;
    let stream = support::http().get(format!("{url}/desk/sse"));
    let mut stream = stream.bearer_auth(&token).send().await?;
    let first = stream.chunk().await?.context("no event")?;
    let first = std::str::from_utf8(&first)?;
    let endpoint = first.lines().find_map(|line| line.strip_prefix("data: "));
    let messages = format!("{}{}", server.url(), endpoint.context("no endpoint")?);
    let send = || post(&messages, &initialize());
    assert_eq!(
        answer(send().bearer_auth(&token)).await?.0,
        StatusCode::ACCEPTED
    );
    assert_eq!(answer(send()).await?.0, StatusCode::NOT_FOUND);
    // The session belongs to its service.
    let elsewhere = messages.replace("/desk/", "/other/");
    let elsewhere = post(&elsewhere, &initialize()).bearer_auth(&token);
    assert_eq!(answer(elsewhere).await?.0, StatusCode::NOT_FOUND);
    let other = hypha_rpc::connect(server.url()).await?;
    let other = other.manager().await?.generate_token(None).await?;
    assert_eq!(
        answer(send().bearer_auth(&other)).await?.0,
        StatusCode::NOT_FOUND
    );
    Ok(())
}

#[tokio::test]
async fn sessions_are_limited_and_idle_ones_end() -> Result<()> {
    let server = server_with(|limits| {
        limits.mcp_sessions_per_user = 1;
        limits.mcp_idle_timeout = Duration::from_millis(200);
    })
    .await?;
    let (_host, url) = host(&server, Visibility::Public).await?;
    let url = format!("{url}/desk");
    let mut first = Session::open(&server, &url).await?;
    let mut second = Session::open(&server, &url).await?;
    assert!(first.event().await?.is_none());
    assert_eq!(server.stats().mcp_sessions_displaced, 1);
    assert!(second.event().await?.is_none());
    assert_eq!(server.stats().mcp_sessions_idle, 1);
    nothing_is_held(&server).await
}

#[tokio::test]
async fn a_session_with_a_call_is_not_idle() -> Result<()> {
    let limit = Duration::from_millis(100);
    let server = server_with(|limits| limits.mcp_idle_timeout = limit).await?;
    let desk = Desk::default();
    let (begun, ended) = (desk.begun.clone(), desk.ended.clone());
    let (_host, url) = host_of(&server, desk, Visibility::Public).await?;
    let mut session = Session::open(&server, &format!("{url}/desk")).await?;
    session.begin().await?;
    let wait = message("tools/call", json!({"name": "wait", "arguments": {}}));
    session.send(&wait).await?;
    timeout(LIMIT, begun.notified()).await?;
    assert!(timeout(2 * limit, ended.notified()).await.is_err());
    assert_eq!(server.stats().mcp_sessions_idle, 0);
    drop(session);
    timeout(LIMIT, ended.notified()).await?;
    Ok(())
}

#[tokio::test]
async fn sessions_end_with_the_server() -> Result<()> {
    let server = server().await?;
    let (_host, url) = host(&server, Visibility::Public).await?;
    let mut session = Session::open(&server, &format!("{url}/desk")).await?;
    let ((), event) = tokio::join!(server.shutdown(), session.event());
    assert!(event?.is_none());
    Ok(())
}

/// Returns a service of type `mcp` with maps of tools, resources and prompts.
fn listing() -> Service {
    let schema = |name: &str, properties: Json| {
        let parameters = json!({"type": "object", "properties": properties, "required": ["topic"]});
        json!({"name": name, "description": "Does it.", "parameters": parameters})
    };
    let shout = Method::new("tools.shout", |call: IncomingCall| async move {
        let topic: String = call.args(&["topic"])?.required(0)?;
        call.reply(&vec![topic.to_uppercase()])
    });
    let read = Method::new("resources.one.read", |call: IncomingCall| async move {
        call.reply("inline content")
    });
    let write = Method::new("prompts.write.read", |call: IncomingCall| async move {
        let topic: String = call.args(&["topic"])?.required(0)?;
        call.reply(&format!("Write about {topic}"))
    });
    let topic = json!({"topic": {"type": "string", "description": "the topic"}});
    Service::new("listing")
        .service_type("mcp")
        .visibility(Visibility::Public)
        .method(shout.schema(schema("shout", topic.clone())))
        .value("resources.one.uri", "resource://one")
        .value("resources.one.mime_type", "text/markdown")
        .method(read.schema(schema("read", json!({}))))
        .value("prompts.write.name", "Write")
        .method(write.schema(schema("write", topic)))
}

/// Returns a service that implements the protocol functions itself.
fn native() -> Service {
    let call_tool = Method::new("call_tool", |call: IncomingCall| async move {
        let args = call.args(&["name", "arguments"])?;
        let name: String = args.required(0)?;
        let arguments: Value = args.required(1)?;
        let content = json!([{"type": "text", "text": format!("{name} {arguments}")}]);
        match name.as_str() {
            "whole" => call.reply(&json!({"content": content, "isError": true})),
            _ => call.reply(&content),
        }
    });
    let answering = |name: &str, answer: Json| {
        Method::new(name, move |call: IncomingCall| {
            let answer = answer.clone();
            async move { call.reply(&answer) }
        })
    };
    let tool = json!({"name": "t", "inputSchema": {"type": "object"}});
    let contents = json!({"contents": [{"text": "content"}, {"uri": "b:", "blob": "aGk="}]});
    let messages = json!([{"role": "assistant", "content": "hello"},
        {"content": {"type": "image", "data": "aGk=", "mimeType": "image/png"}}]);
    Service::new("native")
        .service_type("mcp")
        .visibility(Visibility::Public)
        .method(call_tool)
        .method(answering("list_tools", json!([tool])))
        .method(answering("list_resources", json!([{"uri": "a:"}])))
        .method(answering("read_resource", contents))
        .method(answering(
            "get_prompt",
            json!({"description": "d", "messages": messages}),
        ))
}

#[tokio::test]
async fn services_of_type_mcp_define_their_offer() -> Result<()> {
    let server = server().await?;
    let host = hypha_rpc::connect(server.url()).await?;
    host.register_service(listing()).await?;
    host.register_service(native()).await?;
    let none = Service::new("none").service_type("mcp");
    let nothing = Method::new("f", |call: IncomingCall| async move { call.reply(&()) });
    host.register_service(none.visibility(Visibility::Public).method(nothing))
        .await?;
    let url = format!("{}/{}/mcp", server.url(), host.workspace());

    let listing = format!("{url}/listing/mcp");
    let result = call(&listing, "shout", json!({"topic": "x"})).await?;
    assert_eq!(result["content"], json!([text(r#"["X"]"#)]), "{result}");
    let resources = ask(&listing, "resources/list", json!({})).await?;
    assert_eq!(resources["resources"][0]["uri"], "resource://one");
    let one = ask(&listing, "resources/read", json!({"uri": "resource://one"})).await?;
    let content = json!({"uri": "resource://one", "mimeType": "text/markdown",
        "text": "inline content"});
    assert_eq!(one["contents"], json!([content]));
    let prompts = ask(&listing, "prompts/list", json!({})).await?;
    let argument = json!({"name": "topic", "description": "the topic", "required": true});
    assert_eq!(prompts["prompts"][0]["arguments"], json!([argument]));
    for name in ["write", "Write"] {
        let params = json!({"name": name, "arguments": {"topic": "x"}});
        let prompt = ask(&listing, "prompts/get", params).await?;
        let message = json!({"role": "user", "content": text("Write about x")});
        assert_eq!(prompt["messages"], json!([message]));
    }
    for (method, params) in [
        ("resources/read", json!({"uri": "resource://two"})),
        ("prompts/get", json!({"name": "two"})),
    ] {
        let error = ask(&listing, method, params).await.unwrap_err().to_string();
        assert!(
            error.contains("not found") && error.contains("listing"),
            "{error}"
        );
    }

    let native = format!("{url}/native/mcp");
    let tools = ask(&native, "tools/list", json!({})).await?;
    assert_eq!(tools["tools"][0]["name"], "t");
    let result = call(&native, "t", json!({"a": 1})).await?;
    assert_eq!(result["content"], json!([text(r#"t {"a":1}"#)]));
    assert_eq!(call(&native, "whole", json!({})).await?["isError"], true);
    let read = ask(&native, "resources/read", json!({"uri": "a:"})).await?;
    assert_eq!(read["contents"][0]["uri"], "a:");
    assert_eq!(read["contents"][1]["blob"], "aGk=");
    let prompt = ask(&native, "prompts/get", json!({"name": "p"})).await?;
    assert_eq!(prompt["messages"][0]["role"], "assistant");
    assert_eq!(prompt["messages"][1]["content"]["type"], "image");
    let error = ask(&native, "resources/list", json!({})).await.unwrap_err();
    assert!(error.to_string().contains("list_resources"), "{error}");

    let (status, body) = answer(post(&format!("{url}/none/mcp"), &initialize())).await?;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let why = body["error"].as_str().unwrap_or_default();
    assert!(why.contains("does not follow valid MCP structure"), "{why}");
    Ok(())
}

#[tokio::test]
async fn strings_of_a_service_are_resources() -> Result<()> {
    let server = server().await?;
    let host = hypha_rpc::connect(server.url()).await?;
    let about = json!({"how_to": "turn it on", "parts": ["lamp"], "count": 5});
    let service = Service::new("lamp")
        .docs("read me")
        .value("about", Value::from(about));
    host.register_service(service.visibility(Visibility::Public))
        .await?;
    let url = format!("{}/{}/mcp/lamp/mcp", server.url(), host.workspace());
    let found = ask(&url, "resources/list", json!({})).await?;
    let found = found["resources"].as_array().context("no resources")?;
    let found = found.iter().map(|found| (&found["uri"], &found["name"]));
    let expected = [
        (json!("resource://about/how_to"), json!("About How To")),
        (json!("resource://about/parts/0"), json!("About Parts 0")),
        (json!("resource://docs"), json!("Documentation for lamp")),
    ];
    assert_eq!(
        found.collect::<Vec<_>>(),
        expected
            .iter()
            .map(|(uri, name)| (uri, name))
            .collect::<Vec<_>>()
    );
    let docs = ask(&url, "resources/read", json!({"uri": "resource://docs"})).await?;
    assert_eq!(docs["contents"][0]["text"], "read me");
    Ok(())
}
