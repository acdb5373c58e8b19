//! Tests that applications cannot harm the server. Applications share the origin and the
//! connections of the server.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use hypha_rpc::prelude::*;
use hypha_rpc::service::{IncomingCall, Method, Service};
use hypha_rpc::{Client, Function, Map, Value, args};
use hypha_server::Server;
use reqwest::{Response, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Duration, timeout};

use crate::support::{self, server, server_with};

const LIMIT: Duration = Duration::from_secs(20);

/// Registers one application of the type `functions` and one of the type `asgi`. Both send the same
/// response.
async fn host(server: &Server, answer: serde_json::Value) -> Result<(Client, String)> {
    let client = hypha_rpc::connect(server.url()).await?;
    let answer = Arc::new(answer);
    let told = answer.clone();
    let index = Method::new("default", move |call: IncomingCall| {
        let answer = told.clone();
        async move { call.reply(&*answer) }
    });
    let pages = Service::new("pages")
        .service_type("functions")
        .method(index);
    let serve = Method::new("serve", move |call: IncomingCall| {
        let answer = answer.clone();
        async move {
            let fail = |error: hypha_rpc::Error| call.fail(error.to_string());
            let request: Value = call.args(&["request"])?.required(0)?;
            let send = request.get("send").map(Value::decode_as::<Function>);
            let Some(Ok(send)) = send else {
                return Err(call.fail("no function".to_owned()));
            };
            let headers = answer["headers"].as_object().into_iter().flatten();
            let headers: Vec<_> = headers.map(|(name, value)| json!([name, value])).collect();
            let start = json!({"type": "http.response.start", "status": answer["status"],
                "headers": headers});
            let body = json!({"type": "http.response.body", "body": answer["body"]});
            for message in [start, body] {
                let sent = send.call::<Value>(args!(Value::from(message)));
                sent.await.map_err(fail)?;
            }
            call.reply(&())
        }
    });
    let asgi = Service::new("asgi").service_type("asgi").method(serve);
    for service in [pages, asgi] {
        let service = client.register_service(service);
        service.visibility(Visibility::Public).await?;
    }
    let url = format!("{}/{}/apps", server.url(), client.workspace());
    Ok((client, url))
}

/// Returns the responses of both applications.
async fn both(url: &str) -> Result<Vec<Response>> {
    let http = support::http();
    let mut responses = Vec::new();
    for app in ["pages/x", "asgi/x"] {
        responses.push(http.get(format!("{url}/{app}")).send().await?);
    }
    Ok(responses)
}

/// Returns the head of a response in lower case, and the rest of the response.
async fn on_the_wire(address: &str, path: &str) -> Result<(String, String)> {
    let mut socket = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    timeout(LIMIT, socket.read_to_string(&mut text)).await??;
    let (head, rest) = text.split_once("\r\n\r\n").context("no head")?;
    Ok((head.to_ascii_lowercase(), rest.to_owned()))
}

/// An application uses the workspace in the context to separate the data of workspaces.
#[tokio::test]
async fn calls_come_from_the_workspace_in_the_url() -> Result<()> {
    let server = server().await?;
    let owner = hypha_rpc::connect(server.url()).await?;
    let home = owner.workspace();
    let other = hypha_rpc::connect(server.url()).await?;
    let reply = |call: &IncomingCall| {
        let user = call.context().user();
        let permission = user.permission(call.context().workspace());
        let seen = format!("{} {permission:?}", call.context().workspace());
        json!({"status": 200, "body": seen, "headers": {}})
    };
    let register = async |id: &str, visibility: Visibility, authorized: Vec<String>| {
        let index = Method::new("index", move |call: IncomingCall| async move {
            let answer = reply(&call);
            call.reply(&answer)
        });
        let service = Service::new(id).service_type("functions").method(index);
        let service = owner.register_service(service).visibility(visibility);
        match authorized.is_empty() {
            true => service.await,
            false => service.authorized_workspaces(authorized).await,
        }
    };
    register("open", Visibility::Public, Vec::new()).await?;
    register("closed", Visibility::Protected, Vec::new()).await?;
    register("shared", Visibility::Protected, vec![other.workspace()]).await?;
    let own = owner.manager().await?.generate_token(None).await?;
    let foreign = other.manager().await?.generate_token(None).await?;
    let theirs = other.workspace();
    let http = support::http();
    for (app, token, status, body) in [
        ("open", None, 200, format!("{home} None")),
        ("open", Some(&own), 200, format!("{home} Some(ReadWrite)")),
        ("open", Some(&foreign), 200, format!("{home} None")),
        ("closed", Some(&own), 200, format!("{home} Some(ReadWrite)")),
        (
            "closed",
            Some(&foreign),
            403,
            "Permission denied".to_owned(),
        ),
        ("closed", None, 403, "Permission denied".to_owned()),
        (
            "shared",
            Some(&foreign),
            200,
            format!("{theirs} Some(ReadWrite)"),
        ),
    ] {
        let mut request = http.get(format!("{}/{home}/apps/{app}/", server.url()));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await?;
        assert_eq!(response.status().as_u16(), status, "{app}");
        let text = response.text().await?;
        assert!(text.contains(&body), "{app}: {text}");
    }
    let missing = http.get(format!("{}/ws-nowhere/apps/x/", server.url()));
    let missing = missing.send().await?;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    let text = missing.text().await?;
    assert_eq!(
        text,
        "Workspace ws-nowhere not found: it does not exist or is not accessible"
    );
    Ok(())
}

#[tokio::test]
async fn applications_cannot_set_the_framing() -> Result<()> {
    let server = server().await?;
    let injected = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond";
    let answer = json!({"status": 200, "body": format!("first{injected}"), "headers": {
        "Content-Length": "5", "Transfer-Encoding": "identity", "Keep-Alive": "timeout=1",
        "Connection": "close, X-Secret", "X-Secret": "x", "TE": "trailers", "Trailer": "X-T",
        "Upgrade": "h2c", "Proxy-Authenticate": "Basic", "X-Own": "yes",
    }});
    let (_client, url) = host(&server, answer).await?;
    for response in both(&url).await? {
        let headers = response.headers().clone();
        assert_eq!(headers["x-own"], "yes");
        for name in [
            "keep-alive",
            "connection",
            "x-secret",
            "te",
            "trailer",
            "upgrade",
            "proxy-authenticate",
        ] {
            assert!(!headers.contains_key(name), "{name}");
        }
        assert_eq!(response.text().await?, format!("first{injected}"));
    }

    // On the wire, there is only one response.
    let address = server.url().trim_start_matches("http://");
    let path = url.trim_start_matches(server.url());
    for app in ["pages", "asgi"] {
        let (head, _) = on_the_wire(address, &format!("{path}/{app}/x")).await?;
        let framed = head.contains("transfer-encoding: chunked")
            != head.contains(&format!("content-length: {}", 5 + injected.len()));
        assert!(framed && !head.contains("content-length: 5\r\n"), "{head}");
    }
    Ok(())
}

#[tokio::test]
async fn a_response_without_content_has_no_length() -> Result<()> {
    let server = server().await?;
    let answer = json!({"status": 204, "body": "hello", "headers": {"Content-Length": "5"}});
    let (_client, url) = host(&server, answer).await?;
    let address = server.url().trim_start_matches("http://");
    let path = url.trim_start_matches(server.url());
    for app in ["pages", "asgi"] {
        let (head, body) = on_the_wire(address, &format!("{path}/{app}/x")).await?;
        assert!(head.starts_with("http/1.1 204 "), "{head}");
        let framed = head.contains("\ncontent-length:") || head.contains("\ntransfer-encoding:");
        assert!(!framed && body.is_empty(), "{head}: {body}");
    }
    Ok(())
}

#[tokio::test]
async fn invalid_responses_of_applications_are_refused() -> Result<()> {
    let server = server().await?;
    let many: Map = (0..40_000)
        .map(|number| (format!("x-{number}"), Value::from("y")))
        .collect();
    let long = json!({"x-long": "y".repeat(70_000)});
    for answer in [
        json!({"status": 100, "headers": {}, "body": "x"}),
        json!({"status": 101, "headers": {"Upgrade": "websocket"}, "body": "x"}),
        json!({"status": 199, "headers": {}, "body": "x"}),
        json!({"status": 600, "headers": {}, "body": "x"}),
        json!({"status": 70_000, "headers": {}, "body": "x"}),
        json!({"status": 200, "headers": Value::Map(many).to_json(), "body": "x"}),
        json!({"status": 200, "headers": long, "body": "x"}),
    ] {
        let (_client, url) = host(&server, answer).await?;
        for response in both(&url).await? {
            assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
            let text = response.text().await?;
            assert!(text.contains("The application ws-user-"), "{text}");
        }
    }
    assert_eq!(server.stats().http_refused_apps, 14);
    Ok(())
}

#[tokio::test]
async fn applications_cannot_set_headers_of_the_origin() -> Result<()> {
    let server = server().await?;
    let answer = json!({"status": 200, "body": "x", "headers": {
        "Set-Cookie": "access_token=theirs; Path=/", "Service-Worker-Allowed": "/",
        "Clear-Site-Data": "\"cookies\"", "Access-Control-Allow-Origin": "https://evil.example",
        "Access-Control-Allow-Credentials": "true", "Content-Type": "text/html",
    }});
    let (_client, url) = host(&server, answer).await?;
    for response in both(&url).await? {
        let headers = response.headers();
        for name in ["set-cookie", "service-worker-allowed", "clear-site-data"] {
            assert!(!headers.contains_key(name), "{name}");
        }
        let origins: Vec<_> = headers
            .get_all("access-control-allow-origin")
            .iter()
            .collect();
        assert!(
            !origins
                .iter()
                .any(|origin| *origin == "https://evil.example")
        );
        assert_eq!(headers["content-type"], "text/html");
    }
    let own = json!({"status": 200, "body": "x", "headers": {"Set-Cookie": "session=1"}});
    let (_client, url) = host(&server, own).await?;
    for response in both(&url).await? {
        assert_eq!(response.headers()["set-cookie"], "session=1");
    }
    Ok(())
}

/// Registers an application that reports whether its messages were accepted. If `stays` is true,
/// the application also reports the cancellation of its call.
async fn reporting(
    server: &Server,
    stays: bool,
) -> Result<(Client, String, mpsc::UnboundedReceiver<&'static str>)> {
    let client = hypha_rpc::connect(server.url()).await?;
    let (report, reports) = mpsc::unbounded_channel();
    let serve = Method::new("serve", move |call: IncomingCall| {
        let report = report.clone();
        async move {
            let request: Value = call.args(&["request"])?.required(0)?;
            let function = |name: &str| request.get(name)?.decode_as::<Function>().ok();
            let (Some(receive), Some(send)) = (function("receive"), function("send")) else {
                return Err(call.fail("no functions".to_owned()));
            };
            let start = json!({"type": "http.response.start", "status": 200, "headers": []});
            let last = json!({"type": "http.response.body", "body": "x", "more_body": false});
            for (message, what) in [(start, "start"), (last, "last")] {
                let sent = send.call::<Value>(args!(Value::from(message))).await;
                let _ = report.send(if sent.is_ok() { what } else { "failed" });
            }
            // The application calls `receive` after the visitor has received the whole response.
            for _ in 0..2 {
                let event = receive.call::<Value>(args!()).await;
                let kind = event.ok().and_then(|event| event.get("type").cloned());
                let gone = kind.as_ref().and_then(Value::as_str) == Some("http.disconnect");
                let _ = report.send(if gone { "gone" } else { "body" });
            }
            if stays {
                call.context().cancellation().cancelled().await;
                let _ = report.send("cancelled");
            }
            call.reply(&())
        }
    });
    let asgi = Service::new("asgi").service_type("asgi").method(serve);
    let service = client.register_service(asgi);
    service.visibility(Visibility::Public).await?;
    let url = format!("{}/{}/apps/asgi/", server.url(), client.workspace());
    Ok((client, url, reports))
}

#[tokio::test]
async fn an_application_may_finish_after_its_response() -> Result<()> {
    let server = server().await?;
    let (_client, url, mut reports) = reporting(&server, false).await?;
    let http = support::http();
    for _ in 0..20 {
        assert_eq!(http.get(&url).send().await?.text().await?, "x");
        for expected in ["start", "last", "body", "gone"] {
            let report = timeout(LIMIT, reports.recv()).await?;
            assert_eq!(report, Some(expected));
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_application_that_does_not_return_is_ended() -> Result<()> {
    let server = server_with(|limits| limits.app_grace = Duration::from_millis(50)).await?;
    let (_client, url, mut reports) = reporting(&server, true).await?;
    let http = support::http();
    assert_eq!(http.get(&url).send().await?.text().await?, "x");
    for expected in ["start", "last", "body", "gone", "cancelled"] {
        let report = timeout(LIMIT, reports.recv()).await?;
        assert_eq!(report, Some(expected));
    }
    let ended = async {
        while server.stats().apps_ended != 1 || server.stats().http_requests_open != 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, ended).await?;
    Ok(())
}

#[tokio::test]
async fn an_unfinished_response_is_aborted() -> Result<()> {
    let server = server().await?;
    let client = hypha_rpc::connect(server.url()).await?;
    let serve = Method::new("serve", |call: IncomingCall| async move {
        let request: Value = call.args(&["request"])?.required(0)?;
        let send = request.get("send").map(|send| send.decode_as::<Function>());
        let Some(Ok(send)) = send else {
            return Err(call.fail("no functions".to_owned()));
        };
        let start = json!({"type": "http.response.start", "status": 200, "headers": []});
        let part = json!({"type": "http.response.body", "body": "begun", "more_body": true});
        for message in [start, part] {
            drop(send.call::<Value>(args!(Value::from(message))).await);
        }
        Err(call.fail("the disk is full".to_owned()))
    });
    let asgi = Service::new("asgi").service_type("asgi").method(serve);
    let service = client.register_service(asgi);
    service.visibility(Visibility::Public).await?;
    let url = format!("{}/{}/apps/asgi/", server.url(), client.workspace());
    let mut response = support::http().get(url).send().await?;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.chunk().await?.as_deref(), Some(&b"begun"[..]));
    assert!(response.chunk().await.is_err(), "the body looks complete");
    Ok(())
}
