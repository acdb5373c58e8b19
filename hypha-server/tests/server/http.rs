//! Tests plain HTTP: calls of functions, streams, applications, lists of services, and permissions.

use anyhow::{Context as _, Result};
use hypha_rpc::prelude::*;
use hypha_rpc::service::{IncomingCall, Method, Service};
use hypha_rpc::{Client, Context, Function, RemoteStream, Value, args};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::json;

use crate::support::{self, server, server_with};

struct Desk;

/// A service for calls over HTTP.
#[hypha_service(id = "desk")]
impl Desk {
    /// Adds.
    pub(crate) async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    /// Returns its argument.
    pub(crate) async fn echo(&self, value: Value) -> Value {
        value
    }

    /// Returns the caller.
    pub(crate) async fn who(&self, ctx: &Context) -> String {
        let user = &ctx.user().id;
        format!("{user} in {}", ctx.workspace())
    }

    /// Counts to `to`, then fails.
    pub(crate) async fn count(&self, to: u32) -> RemoteStream<u32> {
        let items = (0..to).map(Ok).chain([Err("no more".to_owned())]);
        RemoteStream::try_new(futures_util::stream::iter(items))
    }

    /// Calls a function with each number up to `to` and its double, and returns `to`.
    pub(crate) async fn report(
        &self,
        on_number: Callback<(u32, u32)>,
        to: u32,
        #[hypha(default = false)] waits: bool,
    ) -> Result<u32, Error> {
        for number in 1..=to {
            match waits {
                true => on_number.call((number, 2 * number)).await?,
                false => on_number.call((number, 2 * number)).send().await?,
            }
        }
        if to == 0 {
            Err(Error::Invalid("nothing to report".into()))
        } else {
            Ok(to)
        }
    }

    /// Calls a function once, and then counts to `to`.
    pub(crate) async fn count_aloud(
        &self,
        on_number: Callback<u32>,
        to: u32,
    ) -> Result<RemoteStream<u32>, Error> {
        on_number.call(to).await?;
        Ok(RemoteStream::new(futures_util::stream::iter(0..to)))
    }

    /// Calls a function with bytes, and then with a number.
    pub(crate) async fn odd(&self, on_number: Callback<Value>) -> Result<(), Error> {
        on_number.call(Value::Bytes(vec![1].into())).await?;
        on_number.call(Value::from(2)).await
    }

    /// Fails with this text.
    pub(crate) async fn fail(&self, with: String) -> Result<(), String> {
        Err(with)
    }
}

async fn answer(request: RequestBuilder) -> Result<(StatusCode, String)> {
    let response = request.send().await?;
    Ok((response.status(), response.text().await?))
}

async fn host(server: &hypha_server::Server, visibility: Visibility) -> Result<(Client, String)> {
    let client = hypha_rpc::connect(server.url()).await?;
    client.register_service(Desk).visibility(visibility).await?;
    let url = format!("{}/{}/services", server.url(), client.workspace());
    Ok((client, url))
}

#[tokio::test]
async fn functions_are_called_with_keywords() -> Result<()> {
    let server = server().await?;
    let (host, url) = host(&server, Visibility::Public).await?;
    let http = support::http();
    let get = |path: &str| http.get(format!("{url}/{path}"));

    let ok = |text: &str| (StatusCode::OK, text.to_owned());
    assert_eq!(answer(get("desk/add?a=2&b=3")).await?, ok("5"));
    let local = format!("{}:desk/add?a=2&b=3&_mode=first", host.client_id());
    assert_eq!(answer(get(&local)).await?, ok("5"));
    let post = |body: &'static str, kind: &str| {
        let request = http.post(format!("{url}/desk/add")).body(body);
        request.header("Content-Type", kind)
    };
    let json = "application/json; charset=utf-8";
    assert_eq!(answer(post(r#"{"a": 4, "b": 5}"#, json)).await?, ok("9"));
    assert_eq!(answer(post("[4, 5]", json)).await?, ok("9"));
    let (status, text) = answer(post("a=4", "text/plain")).await?;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{text}");

    // The request and the response are msgpack. Binary data cannot be converted to JSON.
    let body = hypha_wire::to_vec(&json!({"value": [1, "x"]}))?;
    let request = http.post(format!("{url}/desk/echo")).body(body.clone());
    let response = request.header("Content-Type", "application/msgpack");
    let bytes = response.send().await?.bytes().await?;
    assert_eq!(bytes, hypha_wire::to_vec(&json!([1, "x"]))?);

    for (path, expected) in [
        ("desk/add?a=1", StatusCode::BAD_REQUEST),
        ("desk/nothing", StatusCode::NOT_FOUND),
        ("nobody/add", StatusCode::NOT_FOUND),
        ("desk/fail?with=ValueError:%20x", StatusCode::BAD_REQUEST),
        ("desk/fail?with=PermissionError:%20x", StatusCode::FORBIDDEN),
        (
            "desk/fail?with=the%20file%20was%20Not%20Found",
            StatusCode::NOT_FOUND,
        ),
        ("desk/fail?with=whatever", StatusCode::INTERNAL_SERVER_ERROR),
        ("a%2Fb%2Fc/add", StatusCode::BAD_REQUEST),
        ("*/add", StatusCode::BAD_REQUEST),
    ] {
        let (status, text) = answer(get(path)).await?;
        assert_eq!(status, expected, "{path}: {text}");
        assert!(text.contains(r#""success":false"#), "{path}: {text}");
    }
    let (_, value) = answer(get("desk/id")).await?;
    assert!(
        value.contains("desk"),
        "a member that is no function: {value}"
    );
    let (_, text) = answer(get("desk/who")).await?;
    assert_eq!(text, r#""anonymouz-http in ws-anonymous""#);
    Ok(())
}

#[tokio::test]
async fn streams_arrive_item_by_item() -> Result<()> {
    let server = server().await?;
    let (_host, url) = host(&server, Visibility::Public).await?;
    let http = support::http();
    let response = http.get(format!("{url}/desk/count?to=2")).send().await?;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await?;
    let events: Vec<&str> = text.split_terminator("\n\n").collect();
    assert_eq!(events[..2], ["data: 0", "data: 1"]);
    assert!(events[2].contains("no more"), "{text}");
    assert_eq!(events[3..], ["data: [DONE]"]);
    assert_eq!(server.stats().http_calls_failed, 1);

    let request = http.get(format!("{url}/desk/count?to=2"));
    let request = request.header("Content-Type", "application/msgpack");
    let bytes = request.send().await?.bytes().await?;
    assert_eq!(bytes[..2], [0, 1]);
    Ok(())
}

// Several threads, because they could change the order of the calls.
#[tokio::test(flavor = "multi_thread")]
async fn calls_of_functions_arrive_before_the_result() -> Result<()> {
    let server = server().await?;
    let (_host, url) = host(&server, Visibility::Public).await?;
    let http = support::http();
    let called = |n: u32| json!({"callback": "on_number", "args": [n, 2 * n]});
    for waits in [false, true] {
        let path = format!("{url}/desk/report?_callback=on_number");
        let request = http.post(path).json(&json!({"to": 9, "waits": waits}));
        let (status, text) = answer(request).await?;
        assert_eq!(status, StatusCode::OK, "{text}");
        let mut expected: Vec<_> = (1..=9).map(called).collect();
        expected.push(json!({"result": 9}));
        let mut expected: Vec<_> = expected.iter().map(|it| format!("data: {it}")).collect();
        expected.push("data: [DONE]".into());
        assert_eq!(text.split_terminator("\n\n").collect::<Vec<_>>(), expected);
    }
    // GET and MessagePack.
    let request = http.get(format!("{url}/desk/report?_callback=on_number&to=1"));
    let request = request.header("Content-Type", "application/msgpack");
    let bytes = request.send().await?.bytes().await?;
    let size = bytes.len() - hypha_wire::to_vec(&json!({"result": 1}))?.len() - 4;
    let first: Value = hypha_wire::from_slice(&bytes.slice(..size))?;
    assert_eq!(first, Value::from(called(1)));
    let last: Value = hypha_wire::from_slice(&bytes.slice(size..))?;
    assert_eq!(last, Value::from(json!({"result": 1})));
    // A stream.
    let request = http.get(format!("{url}/desk/count_aloud?_callback=on_number&to=2"));
    let (_, text) = answer(request).await?;
    let expected = [
        json!({"callback": "on_number", "args": [2]}),
        json!({"item": 0}),
        json!({"item": 1}),
    ];
    let mut expected: Vec<_> = expected.iter().map(|it| format!("data: {it}")).collect();
    expected.push("data: [DONE]".into());
    assert_eq!(text.split_terminator("\n\n").collect::<Vec<_>>(), expected);
    // A call that fails before it calls a function has the status of the failure.
    let request = http.get(format!("{url}/desk/report?_callback=on_number&to=0"));
    let (status, text) = answer(request).await?;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
    assert!(text.contains("nothing to report"), "{text}");
    // Arguments that JSON cannot represent do not end the call.
    let (_, text) = answer(http.get(format!("{url}/desk/odd?_callback=on_number"))).await?;
    let events: Vec<&str> = text.split_terminator("\n\n").collect();
    let error = r#"{"callback":"on_number","error":"The call contains binary data"#;
    assert!(events[0].starts_with(&format!("data: {error}")), "{text}");
    let rest = [
        json!({"callback": "on_number", "args": [2]}),
        json!({"result": null}),
    ];
    let rest = rest.map(|it| format!("data: {it}"));
    assert_eq!(events[1..3], rest);
    // Many calls at the same time.
    let many = format!("{url}/desk/report?_callback=on_number&to=500");
    let (_, text) = answer(http.get(many)).await?;
    let mut expected: Vec<_> = (1..=500).map(called).collect();
    expected.push(json!({"result": 500}));
    let mut expected: Vec<_> = expected.iter().map(|it| format!("data: {it}")).collect();
    expected.push("data: [DONE]".into());
    assert_eq!(text.split_terminator("\n\n").collect::<Vec<_>>(), expected);
    for name in ["", "_rtype", "workspace"] {
        let path = format!("{url}/desk/report?_callback={name}&to=0");
        let (status, text) = answer(http.get(path)).await?;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(text.contains("reserved name"), "{text}");
    }
    let twice = format!("{url}/desk/report?_callback=f&_callback=f&to=0");
    let (status, text) = answer(http.get(twice)).await?;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("has the name f twice"), "{text}");
    Ok(())
}

#[tokio::test]
async fn strangers_reach_public_services_only() -> Result<()> {
    let server = server().await?;
    let (owner, url) = host(&server, Visibility::Protected).await?;
    let http = support::http();
    let call = || http.get(format!("{url}/desk/add?a=1&b=1"));
    let list = || http.get(format!("{url}/"));
    let info = || http.get(format!("{}/{}/info", server.url(), owner.workspace()));

    assert_eq!(answer(call()).await?.0, StatusCode::FORBIDDEN);
    assert_eq!(answer(info()).await?.0, StatusCode::FORBIDDEN);
    // The built-in service is public.
    let listed: Vec<serde_json::Value> = serde_json::from_str(&answer(list()).await?.1)?;
    assert_eq!(listed.len(), 1, "{listed:?}");

    let token = owner.manager().await?.generate_token(None).await?;
    assert_eq!(answer(call().bearer_auth(&token)).await?.1, "2");
    assert_eq!(answer(call().basic_auth("any", Some(&token))).await?.1, "2");
    let cookie = || call().header("Cookie", format!("access_token={token}"));
    assert_eq!(answer(cookie()).await?.1, "2");
    assert_eq!(
        answer(cookie().header("Origin", server.url())).await?.1,
        "2"
    );
    let foreign = cookie().header("Origin", "https://evil.example");
    assert_eq!(answer(foreign).await?.0, StatusCode::FORBIDDEN);
    assert_eq!(answer(info().bearer_auth(&token)).await?.0, StatusCode::OK);
    let (_, listed) = answer(list().bearer_auth(&token)).await?;
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed)?;
    let ids: Vec<_> = listed.iter().map(|s| s["id"].as_str()).collect();
    let desk = format!("{}:desk", owner.client_id());
    assert!(ids.contains(&Some(desk.as_str())), "{ids:?}");

    // An invalid token is refused instead of being ignored.
    for bad in ["garbage", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0."] {
        let (status, text) = answer(list().bearer_auth(bad)).await?;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{text}");
    }
    let nowhere = http.get(format!("{}/ws-nowhere/services/", server.url()));
    assert_eq!(answer(nowhere).await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn requests_leave_no_clients_behind() -> Result<()> {
    let server = server().await?;
    let (owner, url) = host(&server, Visibility::Public).await?;
    let http = support::http();
    for _ in 0..20 {
        assert_eq!(
            answer(http.get(format!("{url}/desk/add?a=1&b=1"))).await?.1,
            "2"
        );
    }
    let clients = owner.manager().await?.list_clients(None).await?;
    assert_eq!(clients.len(), 1);
    let status = owner.manager().await?.get_workspace_info(None).await;
    assert!(status.is_ok());
    Ok(())
}

/// An ASGI application that returns the body of the request in pieces.
async fn serve(call: IncomingCall) -> Result<hypha_wire::Args, hypha_wire::WireError> {
    let fail = |error: hypha_rpc::Error| call.fail(error.to_string());
    let request: Value = call.args(&["request"])?.required(0)?;
    let function = |name: &str| request.get(name)?.decode_as::<Function>().ok();
    let (Some(receive), Some(send)) = (function("receive"), function("send")) else {
        return Err(call.fail("no functions".to_owned()));
    };
    let path = request.get("scope").and_then(|scope| scope.get("path"));
    let path = path.cloned();
    let start = json!({"type": "http.response.start", "status": 201,
        "headers": [["x-path", path.unwrap_or_default().as_str()], ["content-type",
        "text/plain"]]});
    send.call::<Value>(args!(Value::from(start)))
        .await
        .map_err(fail)?;
    loop {
        let piece: Value = receive.call(args!()).await.map_err(fail)?;
        let more = piece.get("more_body").cloned().unwrap_or_default();
        let body = piece.get("body").cloned().unwrap_or_default();
        let message = hypha_rpc::Map::from_iter([
            ("type".to_owned(), Value::from("http.response.body")),
            ("body".to_owned(), body),
            ("more_body".to_owned(), more.clone()),
        ]);
        send.call::<Value>(args!(message)).await.map_err(fail)?;
        if more.as_bool() != Some(true) {
            return call.reply(&());
        }
    }
}

#[tokio::test]
async fn requests_reach_applications_of_both_types() -> Result<()> {
    let server = server().await?;
    let client = hypha_rpc::connect(server.url()).await?;
    let asgi = Service::new("app")
        .service_type("asgi")
        .method(Method::new("serve", serve));
    client
        .register_service(asgi)
        .visibility(Visibility::Public)
        .await?;
    let page = Method::new("index", |call: IncomingCall| async move {
        let request: Value = call.args(&["request"])?.required(0)?;
        let method = request.get("method").and_then(Value::as_str).unwrap_or("?");
        call.reply(&json!({"status": 200, "headers": {"X-Made-By": "index"}, "body": method}))
    });
    let other = Method::new("default", |call: IncomingCall| async move {
        let request: Value = call.args(&["request"])?.required(0)?;
        call.reply(&json!({"status": 404, "body": request.get("function_path").unwrap().to_json()}))
    });
    let functions = Service::new("pages")
        .service_type("functions")
        .method(page)
        .method(other);
    client
        .register_service(functions)
        .visibility(Visibility::Public)
        .await?;

    let url = format!("{}/{}/apps", server.url(), client.workspace());
    let http = support::http();
    let body = "x".repeat(700_000);
    let response = http
        .post(format!("{url}/app/a/b?c=d"))
        .header("Origin", "https://lab.example.org")
        .body(body.clone())
        .send()
        .await?;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["x-path"], "/a/b");
    let origin = response.headers().get("access-control-allow-origin");
    assert_eq!(origin.context("no CORS")?, "https://lab.example.org");
    assert_eq!(response.text().await?, body);

    let response = http.put(format!("{url}/pages")).send().await?;
    assert_eq!(response.headers()["x-made-by"], "index");
    assert_eq!(response.text().await?, "PUT");
    // A request with `OPTIONS` that is no preflight request is for the application.
    let options = |path: &str| http.request(reqwest::Method::OPTIONS, format!("{url}/{path}"));
    let response = options("pages").send().await?;
    assert_eq!(response.headers()["x-made-by"], "index");
    assert_eq!(response.text().await?, "OPTIONS");
    let response = options("app/a").header("Origin", "https://lab.example.org");
    let response = response.send().await?;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["x-path"], "/a");
    let origin = response.headers().get("access-control-allow-origin");
    assert_eq!(origin.context("no CORS")?, "https://lab.example.org");
    let preflight = options("app/a")
        .header("Origin", "https://lab.example.org")
        .header("Access-Control-Request-Method", "OPTIONS");
    let response = preflight.send().await?;
    assert!(!response.headers().contains_key("x-path"));
    let missing = http.get(format!("{url}/pages/deep/down"));
    assert_eq!(
        answer(missing).await?,
        (StatusCode::NOT_FOUND, "/deep/down".to_owned())
    );
    assert_eq!(
        answer(http.get(format!("{url}/nothing/"))).await?.0,
        StatusCode::NOT_FOUND
    );
    Ok(())
}

#[tokio::test]
async fn the_server_describes_itself() -> Result<()> {
    let server = server().await?;
    let http = support::http();
    let get = |path: &str| http.get(format!("{}{path}", server.url()));
    let (_, config) = answer(get("/assets/config.json")).await?;
    let config: serde_json::Value = serde_json::from_str(&config)?;
    assert_eq!(config["public_base_url"], server.url());
    assert_eq!(config["user"]["id"], "anonymouz-http");
    let (_, metrics) = answer(get("/metrics")).await?;
    assert!(
        metrics.contains("hypha_server_connections_open 0"),
        "{metrics}"
    );
    assert_eq!(answer(get("/health/liveness")).await?.0, StatusCode::OK);
    let (status, services) = answer(get("/public/services")).await?;
    assert_eq!(status, StatusCode::OK, "{services}");

    let preflight = http
        .request(reqwest::Method::OPTIONS, format!("{}/rpc", server.url()))
        .header("Origin", "https://lab.example.org")
        .header("Access-Control-Request-Method", "POST")
        .header(
            "Access-Control-Request-Headers",
            "authorization,content-type",
        )
        .send()
        .await?;
    assert_eq!(preflight.status(), StatusCode::OK);
    let headers = preflight.headers();
    assert_eq!(headers["access-control-allow-credentials"], "true");
    assert_eq!(
        headers["access-control-allow-headers"],
        "authorization,content-type"
    );
    Ok(())
}

#[tokio::test]
async fn anonymous_requests_have_a_lower_rate_limit_than_users() -> Result<()> {
    let server = server_with(|limits| {
        limits.http_per_second = 0.001;
        limits.http_burst = 5.0;
    })
    .await?;
    let user = hypha_rpc::connect(server.url()).await?;
    let token = user.manager().await?.generate_token(None).await?;
    let http = support::http();
    let get = |path: &str| http.get(format!("{}{path}", server.url()));
    for _ in 0..20 {
        let list = get("/public/services/").bearer_auth(&token);
        assert_eq!(answer(list).await?.0, StatusCode::OK);
    }
    // Requests with invalid tokens count against the limit of the IP address.
    for _ in 0..5 {
        let list = get("/public/services/").bearer_auth("garbage");
        assert_eq!(answer(list).await?.0, StatusCode::UNAUTHORIZED);
    }
    let response = get("/public/services/").send().await?;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key("retry-after"));
    let list = get("/public/services/").bearer_auth(&token);
    assert_eq!(answer(list).await?.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer(get("/health/readiness")).await?.0, StatusCode::OK);
    Ok(())
}

#[cfg(feature = "compression")]
#[tokio::test]
async fn large_answers_are_compressed_on_request() -> Result<()> {
    let server = server().await?;
    let (client, url) = host(&server, Visibility::Public).await?;
    let app = Method::new("default", |call: IncomingCall| async move {
        let headers = json!({"Content-Type": "text/html"});
        call.reply(&json!({"status": 200, "headers": headers, "body": "y".repeat(2000)}))
    });
    let pages = Service::new("pages").service_type("functions").method(app);
    client
        .register_service(pages)
        .visibility(Visibility::Public)
        .await?;
    let http = support::http();
    // The two quotes around the string count as part of `size`.
    let echo = |http: &reqwest::Client, size: usize| {
        let body = json!({"value": "x".repeat(size - 2)});
        http.post(format!("{url}/desk/echo")).json(&body)
    };
    let coding = |response: &reqwest::Response| {
        let coding = response.headers().get("content-encoding");
        coding.map(|coding| coding.to_str().unwrap_or_default().to_owned())
    };

    for (accepted, expected) in [
        ("zstd, br, gzip", Some("zstd")),
        ("gzip, br", Some("br")),
        ("gzip", Some("gzip")),
        ("gzip;q=0", None),
        ("identity", None),
        ("", None),
    ] {
        let request = echo(&http, 1000).header("Accept-Encoding", accepted);
        let response = request.send().await?;
        assert_eq!(coding(&response).as_deref(), expected, "{accepted}");
        assert_eq!(response.headers()["vary"], "accept-encoding");
        let sent = response.bytes().await?.len();
        assert_eq!(sent < 100, expected.is_some(), "{accepted}: {sent} bytes");
    }
    let small = echo(&http, 999).header("Accept-Encoding", "gzip");
    assert_eq!(coding(&small.send().await?), None);

    // Every client decodes the response to the same payload.
    let everything = format!("\"{}\"", "x".repeat(49_998));
    for reader in [
        support::http_reader(|client| client.gzip(true)),
        support::http_reader(|client| client.brotli(true)),
        support::http_reader(|client| client.zstd(true)),
    ] {
        assert_eq!(answer(echo(&reader, 50_000)).await?.1, everything);
    }

    // The response of an application is not compressed.
    let page = format!("{}/{}/apps/pages/page", server.url(), client.workspace());
    let page = http
        .get(page)
        .header("Accept-Encoding", "br")
        .send()
        .await?;
    assert_eq!(coding(&page), None);
    assert_eq!(page.text().await?, "y".repeat(2000));
    Ok(())
}

#[cfg(feature = "compression")]
#[tokio::test]
async fn streams_are_not_compressed() -> Result<()> {
    let server = server().await?;
    let (_host, url) = host(&server, Visibility::Public).await?;
    let http = support::http();
    for (path, kind) in [
        (format!("{url}/desk/count?to=2000"), "text/event-stream"),
        (
            format!("{}/rpc?client_id=x", server.url()),
            "application/x-msgpack-stream",
        ),
    ] {
        let request = http.get(path).header("Accept-Encoding", "gzip, br, zstd");
        let mut response = request.send().await?;
        assert_eq!(response.headers()["content-type"], kind);
        assert!(response.headers().get("content-encoding").is_none());
        assert!(response.chunk().await?.is_some());
    }
    Ok(())
}

#[tokio::test]
async fn calls_may_be_compressed() -> Result<()> {
    let server = server().await?;
    let (_host, url) = host(&server, Visibility::Public).await?;
    // `{"a": 1, "b": 2}` in gzip.
    let zipped: &'static [u8] = &[
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0xab, 0x56, 0x4a, 0x54, 0xb2, 0x52, 0x30, 0xd4, 0x51,
        0x50, 0x4a, 2, 0xd2, 0x46, 0xb5, 0, 0x1f, 0x9a, 0xb5, 0x2b, 0x10, 0, 0, 0,
    ];
    let post = |body: &'static [u8], coding: &str| {
        let request = support::http().post(format!("{url}/desk/add"));
        let request = request.header("content-type", "application/json");
        request.header("content-encoding", coding).body(body)
    };
    let sum = answer(post(zipped, "gzip")).await?;
    assert_eq!(sum, (StatusCode::OK, "3".to_owned()));
    let (status, text) = answer(post(b"nonsense", "gzip")).await?;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
    let (status, _) = answer(post(zipped, "compress")).await?;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    Ok(())
}

#[tokio::test]
async fn a_head_request_calls_no_function() -> Result<()> {
    let server = server().await?;
    let (_host, url) = host(&server, Visibility::Public).await?;
    let head = support::http().head(format!("{url}/desk/add?a=1&b=2"));
    assert_eq!(head.send().await?.status(), StatusCode::METHOD_NOT_ALLOWED);
    Ok(())
}

#[tokio::test]
async fn a_method_that_is_not_allowed_is_named_with_the_allowed_ones() -> Result<()> {
    let server = server().await?;
    let (_host, url) = host(&server, Visibility::Public).await?;
    let http = support::http();
    for (method, url, allowed) in [
        ("PUT", format!("{url}/desk/add"), "GET, POST"),
        ("OPTIONS", format!("{url}/desk/add"), "GET, POST"),
        ("DELETE", format!("{url}/desk"), "GET,HEAD"),
        ("POST", format!("{}/health", server.url()), "GET,HEAD"),
    ] {
        let response = http.request(method.parse()?, &url).send().await?;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{url}");
        assert_eq!(response.headers()["allow"], allowed, "{method} {url}");
        let body: serde_json::Value = response.json().await?;
        assert_eq!(body["success"], false, "{method} {url}: {body}");
        assert_eq!(body["detail"], "Method Not Allowed", "{method} {url}");
    }
    // A preflight request is for the server.
    let preflight = http.request("OPTIONS".parse()?, format!("{url}/desk/add"));
    let preflight = preflight
        .header("Origin", "https://lab.example.org")
        .header("Access-Control-Request-Method", "PUT");
    let response = preflight.send().await?;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["access-control-allow-methods"], "PUT");
    Ok(())
}

#[tokio::test]
async fn a_response_names_the_end_of_its_connection() -> Result<()> {
    let server = server_with(|limits| limits.frame_bytes = 16 * 1024).await?;
    let (_host, url) = host(&server, Visibility::Public).await?;
    let desk = format!("{url}/desk");
    let rpc = format!("{}/rpc", server.url());
    for (url, size, status, closes) in [
        (format!("{desk}/echo"), 1000, StatusCode::OK, false),
        (
            format!("{desk}/nothing"),
            1000,
            StatusCode::NOT_FOUND,
            false,
        ),
        (desk.clone(), 1000, StatusCode::METHOD_NOT_ALLOWED, false),
        (rpc.clone(), 1000, StatusCode::BAD_REQUEST, false),
        (
            format!("{desk}/echo"),
            100_000,
            StatusCode::PAYLOAD_TOO_LARGE,
            true,
        ),
        (
            format!("{desk}/nothing"),
            100_000,
            StatusCode::NOT_FOUND,
            true,
        ),
        (desk, 100_000, StatusCode::METHOD_NOT_ALLOWED, true),
        (
            format!("{}/no/where", server.url()),
            100_000,
            StatusCode::NOT_FOUND,
            true,
        ),
        (rpc, 100_000, StatusCode::BAD_REQUEST, true),
    ] {
        let body = format!("[\"{}\"]", "x".repeat(size));
        let request = support::http().post(&url).body(body);
        let request = request.header("content-type", "application/json");
        let response = request.send().await?;
        assert_eq!(response.status(), status, "{url} {size}");
        let connection = response.headers().get("connection");
        assert_eq!(
            connection.is_some_and(|it| it == "close"),
            closes,
            "{url} {size}"
        );
    }
    // A client that waits for `100 Continue` does not send its body after the refusal.
    let waiting = support::http().post(format!("{url}/desk/nothing"));
    let waiting = waiting
        .header("Expect", "100-continue")
        .body("[]")
        .send()
        .await?;
    assert_eq!(waiting.headers()["connection"], "close");
    Ok(())
}

#[tokio::test]
async fn the_body_may_contain_the_selection_mode() -> Result<()> {
    let server = server().await?;
    let (owner, url) = host(&server, Visibility::Public).await?;
    let token = owner.manager().await?.generate_token(None).await?;
    let other = hypha_rpc::connect(server.url()).token(token).await?;
    other
        .register_service(Desk)
        .visibility(Visibility::Public)
        .await?;
    let http = support::http();
    let post = |path: &str, body: serde_json::Value| http.post(format!("{url}/{path}")).json(&body);
    let (status, text) = answer(post("desk/add", json!({"a": 1, "b": 2}))).await?;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
    assert!(text.contains("Multiple services found"), "{text}");
    for (path, body) in [
        ("desk/add", json!({"a": 1, "b": 2, "_mode": "first"})),
        ("desk/add?_mode=random", json!([1, 2])),
        (
            "desk/add?_mode=random",
            json!({"a": 1, "b": 2, "_mode": "last", "workspace": "x", "service_id": 5}),
        ),
    ] {
        let (status, text) = answer(post(path, body)).await?;
        assert_eq!((status, text.as_str()), (StatusCode::OK, "3"), "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_request_is_refused_before_its_body_is_read() -> Result<()> {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let server = server().await?;
    let (_host, url) = host(&server, Visibility::Public).await?;
    let address = server.url().trim_start_matches("http://");
    let path = url.trim_start_matches(server.url());
    for (target, status) in [
        ("desk/nothing", "404"),
        ("nobody/add", "404"),
        ("desk/add", "100"),
    ] {
        // The client waits for `100 Continue` before it sends the body.
        let request = format!(
            "POST {path}/{target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1000000\r\n\
             Expect: 100-continue\r\n\r\n"
        );
        let mut socket = tokio::net::TcpStream::connect(address).await?;
        socket.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        BufReader::new(&mut socket).read_line(&mut line).await?;
        assert!(line.starts_with(&format!("HTTP/1.1 {status}")), "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn bodies_and_results_above_the_memory_limit_are_refused() -> Result<()> {
    const MIB: usize = 1024 * 1024;
    let server = server_with(|limits| {
        limits.frame_bytes = 2 * MIB;
        limits.connection_memory_bytes = 4 * MIB;
        limits.user_memory_bytes = 4 * MIB;
    })
    .await?;
    let (_host, url) = host(&server, Visibility::Public).await?;
    let echo = |body: String| {
        let request = support::http().post(format!("{url}/desk/echo"));
        request
            .header("content-type", "application/json")
            .body(body)
    };
    // The floats are more than twice as large in msgpack as in JSON.
    let floats = format!("[[{}0]]", "0.5,".repeat(MIB / 2 - 10));
    let (status, text) = answer(echo(floats)).await?;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{text}");
    assert!(text.contains("memory limit of this connection"), "{text}");
    assert_eq!(server.stats().http_refused_memory, 1);
    let long = format!("[\"{}\"]", "x".repeat(MIB));
    assert_eq!(answer(echo(long)).await?.0, StatusCode::OK);
    assert_eq!(answer(echo("[[1, 2]]".into())).await?.1, "[1,2]");
    Ok(())
}

#[tokio::test]
async fn a_disconnected_visitor_ends_its_call_and_frees_its_slot() -> Result<()> {
    const ROOT: &str = "0123456789abcdef0123456789abcdef";
    let mut limits = hypha_server::Limits::default();
    limits.http_concurrent_requests = 1;
    limits.http_queue_timeout = std::time::Duration::from_millis(50);
    let builder = hypha_server::Server::builder().bind("127.0.0.1:0");
    let server = builder.limits(limits).root_token(ROOT).start().await?;
    let client = hypha_rpc::connect(server.url()).await?;
    let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let wait = Method::new("wait", move |call: IncomingCall| {
        let report = report.clone();
        async move {
            let _ = report.send("begun");
            call.context().cancellation().cancelled().await;
            let _ = report.send("cancelled");
            call.reply(&())
        }
    });
    let service = client.register_service(Service::new("slow").method(wait));
    service.visibility(Visibility::Public).await?;
    let url = format!("{}/{}/services", server.url(), client.workspace());
    let http = support::http();
    let waiting = tokio::spawn(http.get(format!("{url}/slow/wait")).send());
    assert_eq!(reports.recv().await, Some("begun"));
    let (status, text) = answer(http.get(format!("{url}/slow/id"))).await?;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
    assert!(text.contains("http_concurrent_requests"), "{text}");
    // A token of an anonymous client shares the slots of the IP address. A user has separate slots.
    let token = client.manager().await?.generate_token(None).await?;
    let again = http.get(format!("{url}/slow/id")).bearer_auth(token);
    assert_eq!(answer(again).await?.0, StatusCode::SERVICE_UNAVAILABLE);
    let user = http.get(format!("{url}/slow/id")).bearer_auth(ROOT);
    assert_eq!(answer(user).await?.0, StatusCode::OK);
    waiting.abort();
    assert_eq!(reports.recv().await, Some("cancelled"));
    let mut status = StatusCode::SERVICE_UNAVAILABLE;
    while status == StatusCode::SERVICE_UNAVAILABLE {
        status = answer(http.get(format!("{url}/slow/id"))).await?.0;
    }
    assert_eq!(status, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn functions_in_results_are_released_when_the_response_is_made() -> Result<()> {
    let server = server().await?;
    let client = hypha_rpc::connect(server.url()).await?;
    let (report, mut reports) = tokio::sync::mpsc::unbounded_channel::<()>();
    let give = Method::new("give", move |call: IncomingCall| {
        let report = report.clone();
        async move {
            let function = hypha_rpc::Callback::<(), ()>::new(move |()| {
                let _held = report.clone();
                async {}
            });
            call.reply(&json_like(function))
        }
    });
    let service = client.register_service(Service::new("giver").method(give));
    service.visibility(Visibility::Public).await?;
    let url = format!(
        "{}/{}/services/giver/give",
        server.url(),
        client.workspace()
    );
    for kind in ["application/json", "application/msgpack"] {
        let request = support::http().get(&url).header("content-type", kind);
        let body = request.send().await?.bytes().await?;
        let target = format!("{}/{}", client.workspace(), client.client_id());
        let found = body
            .windows(target.len())
            .any(|part| part == target.as_bytes());
        assert!(found, "{kind}: {body:?}");
    }
    // After the service is unregistered, the owner holds no function.
    client.unregister_service("giver").await?;
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), reports.recv());
    assert_eq!(ended.await?, None);
    Ok(())
}

/// Returns a map that contains a function.
fn json_like<T: serde::Serialize>(function: T) -> std::collections::BTreeMap<&'static str, T> {
    std::collections::BTreeMap::from([("function", function)])
}
