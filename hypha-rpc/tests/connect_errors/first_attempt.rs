//! Tests that the client retries its first attempt to connect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hypha_rpc::client::Backoff;
use hypha_rpc::error::ConnectErrorKind;
use hypha_rpc::transport::Transport;
use tokio::net::TcpListener;

use super::servers::{self, Server, answer};
use super::{hypha, refused};

/// Starts a server that rejects the first `requests` requests with `status`, and then acts as a
/// Hypha server. Returns the server and a counter of the requests.
async fn rejecting_first(status: &'static str, requests: usize) -> (Server, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let server = servers::serve(move |mut socket| {
        let count = Arc::clone(&counted);
        async move {
            let head = servers::request(&mut socket).await;
            if count.fetch_add(1, Ordering::SeqCst) < requests {
                servers::write(&mut socket, &answer(status, "", "")).await;
            } else {
                hypha::accept(socket, &head).await;
            }
        }
    })
    .await;
    (server, count)
}

fn quick() -> Backoff {
    Backoff::default().longest(Duration::from_millis(1))
}

#[tokio::test]
async fn it_is_retried_on_request() {
    for transport in [Transport::WebSocket, Transport::Http] {
        let (server, count) = rejecting_first("503 Service Unavailable", 3).await;
        let base = format!("http://127.0.0.1:{}", server.port);
        let connect = hypha_rpc::connect(base).transport(transport).silent(true);
        let error = refused(connect.clone()).await;
        assert_eq!(error.kind(), ConnectErrorKind::HttpStatus(503));
        let connect = connect.reconnect(quick()).retry_on_initial_connect(true);
        connect.await.expect("the server is there at last");
        assert_eq!(count.load(Ordering::SeqCst), 4);
    }
}

#[tokio::test]
async fn the_backoff_limits_retries_of_retryable_errors() {
    for (status, attempts) in [("503 Service Unavailable", 2), ("404 Not Found", 1)] {
        let (server, count) = rejecting_first(status, usize::MAX).await;
        let connect = hypha_rpc::connect(format!("http://127.0.0.1:{}", server.port));
        let connect = connect.reconnect(quick().attempts(2));
        refused(connect.retry_on_initial_connect(true)).await;
        assert_eq!(count.load(Ordering::SeqCst), attempts);
    }
}

/// If a proxy does not respond to the WebSocket handshake, the client still has time to try HTTP.
/// If HTTP fails too, the error contains both failures.
#[tokio::test]
async fn http_is_tried_after_a_silent_websocket() {
    let silent = |head: &str| head.contains("GET /ws");
    let server = servers::serve(move |mut socket| async move {
        let head = servers::request(&mut socket).await;
        if silent(&head) {
            return std::future::pending().await;
        }
        hypha::accept(socket, &head).await;
    })
    .await;
    let connect = hypha_rpc::connect(format!("http://127.0.0.1:{}", server.port));
    let connect = connect.transport(Transport::Auto);
    let client = hypha::connected(connect.connect_timeout(Duration::from_millis(400))).await;
    assert_eq!(client.identity().connection_type, "http_streaming");

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = servers::serve_at(listener, move |mut socket| async move {
        let head = servers::request(&mut socket).await;
        if silent(&head) {
            servers::write(&mut socket, &answer("404 Not Found", "", "")).await;
        }
        std::future::pending().await
    });
    let connect = hypha_rpc::connect(format!("http://127.0.0.1:{}", server.port));
    let connect = connect.transport(Transport::Auto);
    let error = refused(connect.connect_timeout(Duration::from_millis(100))).await;
    assert_eq!(error.kind(), ConnectErrorKind::HttpStatus(404), "{error:?}");
    let other = error.other_attempt().expect("that over HTTP");
    assert_eq!(other.kind(), ConnectErrorKind::Timeout);
    assert!(error.to_string().contains("within 100ms"), "{error}");
}
