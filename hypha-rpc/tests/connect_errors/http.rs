//! Tests the errors of the client when a server that is not a Hypha server sends an HTTP response.

use std::time::Duration;

use hypha_rpc::client::{Backoff, CloseReason};
use hypha_rpc::error::{ConnectError, ConnectErrorKind};
use hypha_rpc::transport::Transport;
use tokio_tungstenite::tungstenite;

use super::{find, over_each, refused, servers};

/// Returns whether the sources of the error contain the HTTP error of the library that implements
/// the transport.
fn has_answer(error: &ConnectError) -> bool {
    match error.url().is_some_and(|url| url.starts_with("ws")) {
        true => matches!(find(error), Some(tungstenite::Error::Http(_))),
        false => find(error).is_some_and(|e: &reqwest::Error| e.status().is_some()),
    }
}

#[tokio::test]
async fn the_status_determines_the_error() {
    for (status, text, retryable) in [
        (404, "404 Not Found", false),
        (405, "405 Method Not Allowed", false),
        (429, "429 Too Many Requests", true),
        (500, "500 Internal Server Error", true),
        (503, "503 Service Unavailable", true),
    ] {
        let server = servers::plain(servers::answer(text, "", "")).await;
        let base = format!("http://127.0.0.1:{}", server.port);
        let kind = ConnectErrorKind::HttpStatus(status);
        over_each(&base, kind, retryable, has_answer).await;
    }
}

#[tokio::test]
async fn a_redirect_is_reported_and_not_followed() {
    let to = "Location: https://elsewhere.example/hypha\r\n";
    for status in ["301 Moved Permanently", "307 Temporary Redirect"] {
        let server = servers::plain(servers::answer(status, to, "")).await;
        let base = format!("http://127.0.0.1:{}", server.port);
        over_each(&base, ConnectErrorKind::Redirect, false, |error| {
            error.detail() == "https://elsewhere.example/hypha"
                && error.to_string().contains(error.detail())
        })
        .await;
    }
}

#[tokio::test]
async fn messages_are_shown_and_pages_are_not() {
    for (body, shown) in [
        ("the backend sleeps\nmore", true),
        ("<html>the backend sleeps", false),
    ] {
        let server = servers::plain(servers::answer("503 Service Unavailable", "", body)).await;
        let connect = hypha_rpc::connect(format!("http://127.0.0.1:{}", server.port));
        let text = refused(connect).await.to_string();
        assert_eq!(text.contains("the backend sleeps"), shown, "{text}");
        assert!(!text.contains("more"), "{text}");
    }
}

/// If both transports fail for different reasons, the client reports the error of the attempt that
/// got further.
#[tokio::test]
async fn auto_keeps_both_failures() {
    let server = servers::by_request(|head| match head.contains("GET /ws") {
        true => servers::answer("404 Not Found", "", ""),
        false => {
            let detail = r#"{"detail": "Signature has expired"}"#;
            servers::answer("401 Unauthorized", "", detail)
        }
    })
    .await;
    let base = format!("http://127.0.0.1:{}", server.port);
    let error = refused(hypha_rpc::connect(&base).transport(Transport::Auto)).await;
    assert_eq!(error.kind(), ConnectErrorKind::TokenRejected, "{error:?}");
    assert_eq!(error.url(), Some(format!("{base}/rpc").as_str()));
    assert!(!error.is_retryable() && has_answer(&error));
    let other = error.other_attempt().expect("that of the WebSocket");
    assert_eq!(other.kind(), ConnectErrorKind::HttpStatus(404));
    assert_eq!(
        other.url(),
        Some(format!("ws://127.0.0.1:{}/ws", server.port).as_str())
    );
    assert!(has_answer(other));
    let text = error.to_string();
    assert!(
        text.contains("Signature has expired") && text.contains("status 404"),
        "{text}"
    );
}

/// Responds like a proxy that rejects WebSockets with an HTTP error. The server behind the proxy
/// rejects the token.
fn broken_proxy(head: &str) -> String {
    match head.contains("GET /ws") {
        true => servers::answer("502 Bad Gateway", "", ""),
        false => servers::answer("401 Unauthorized", "", r#"{"detail": "expired"}"#),
    }
}

/// The client does not retry after a server has rejected the token, even if the other transport
/// failed with a retryable error.
#[tokio::test]
async fn a_rejected_token_is_final_behind_a_broken_proxy() {
    let server = servers::by_request(broken_proxy).await;
    let connect = hypha_rpc::connect(format!("http://127.0.0.1:{}", server.port));
    let error = refused(connect.transport(Transport::Auto)).await;
    assert_eq!(error.kind(), ConnectErrorKind::TokenRejected, "{error:?}");
    let other = error.other_attempt().expect("that of the WebSocket");
    assert_eq!(other.kind(), ConnectErrorKind::HttpStatus(502));
    assert!(other.is_retryable() && !error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_rejected_token_ends_the_attempts_to_reconnect() {
    let server = servers::killed_then(broken_proxy).await;
    let connect = hypha_rpc::connect(format!("http://127.0.0.1:{}", server.port));
    let mut backoff = Backoff::default().attempts(3);
    backoff.spread = Duration::ZERO;
    backoff.first = Duration::from_millis(1);
    let connect = connect.transport(Transport::Auto).silent(true);
    let client = connect.reconnect(backoff).await.expect("the first link");
    let lost = client.ping("ws/other", Duration::from_secs(60)).await;
    assert!(lost.is_err(), "{lost:?}");
    let reason = client.closed().await;
    let CloseReason::Refused(error) = &*reason else {
        panic!("wanted a refusal, got {reason:?}");
    };
    assert_eq!(error.kind(), ConnectErrorKind::TokenRejected, "{error:?}");
}

#[tokio::test]
async fn a_page_is_not_a_stream_of_frames() {
    for body in ["hello", "<html>", "hi", "", "\0\0\0\x05hello"] {
        let server = servers::plain(servers::answer("200 OK", "", body)).await;
        let base = format!("http://127.0.0.1:{}", server.port);
        let error = refused(hypha_rpc::connect(&base).transport(Transport::Http)).await;
        let url = format!("{base}/rpc");
        assert_eq!(
            error.kind(),
            ConnectErrorKind::NotHypha,
            "{body:?}: {error:?}"
        );
        assert_eq!(error.url(), Some(url.as_str()));
        assert!(!error.is_retryable());

        let error = refused(hypha_rpc::connect(&base).transport(Transport::Auto)).await;
        assert_eq!(error.kind(), ConnectErrorKind::HttpStatus(200), "{error:?}");
        let other = error.other_attempt().expect("that over HTTP");
        assert_eq!(other.kind(), ConnectErrorKind::NotHypha, "{error:?}");
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn a_stream_that_breaks_before_its_first_frame_is_lost() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    let server = servers::by_request(move |head| match head.contains("GET /ws") {
        true => servers::answer("404 Not Found", "", ""),
        false => cut.to_owned(),
    })
    .await;
    let base = format!("http://127.0.0.1:{}", server.port);
    let error = refused(hypha_rpc::connect(&base).transport(Transport::Http)).await;
    assert_eq!(error.kind(), ConnectErrorKind::ConnectionLost, "{error:?}");
    assert!(error.is_retryable() && find::<reqwest::Error>(&error).is_some());
    let error = refused(hypha_rpc::connect(&base).transport(Transport::Auto)).await;
    assert!(error.other_attempt().is_some(), "{error:?}");
}

#[tokio::test]
async fn tokens_are_not_shown() {
    let server = servers::plain(servers::answer("404 Not Found", "", "")).await;
    for transport in super::TRANSPORTS {
        let connect = hypha_rpc::connect(format!("http://127.0.0.1:{}", server.port));
        let connect = connect.token("secret-1").reconnection_token("secret-2");
        let error = refused(connect.transport(transport)).await;
        for shown in [format!("{error:?}"), hypha_rpc::error::report(&error)] {
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_socket_url_without_the_endpoint_is_named() {
    let page = servers::answer("200 OK", "", "This is a Hypha server");
    let server = servers::plain(page).await;
    for (path, missing) in [("", true), ("/", true), ("/hypha", true), ("/ws", false)] {
        let url = format!("ws://127.0.0.1:{}{path}", server.port);
        let error = refused(hypha_rpc::connect(&url)).await;
        assert_eq!(error.kind(), ConnectErrorKind::HttpStatus(200), "{error:?}");
        let text = error.to_string();
        assert_eq!(text.contains("add `/ws`"), missing, "{text}");
    }
}

/// A server over a WebSocket sends the same message in an `error` frame.
#[tokio::test]
async fn a_refused_client_id_has_one_kind() {
    let body = r#"{"success": false, "detail": "Invalid client id: a b"}"#;
    let server = servers::plain(servers::answer("403 Forbidden", "", body)).await;
    let connect = hypha_rpc::connect(format!("http://127.0.0.1:{}", server.port));
    let error = refused(connect.client_id("a b").transport(Transport::Http)).await;
    assert_eq!(error.kind(), ConnectErrorKind::Refused, "{error:?}");
    assert_eq!(error.detail(), "Invalid client id: a b");
}
