//! Tests the errors of the client when name resolution or TCP fails.

use std::io;
use std::time::Duration;

use hypha_rpc::Error;
use hypha_rpc::error::{ConnectErrorKind, report};
use tokio::net::TcpListener;

use super::{TRANSPORTS, find, over_each, refused, servers};

#[tokio::test]
async fn no_program_listens() {
    let base = format!("http://127.0.0.1:{}", servers::closed_port().await);
    over_each(&base, ConnectErrorKind::ConnectionRefused, true, |error| {
        assert!(report(error).contains("Connection refused"), "{error:?}");
        find(error).is_some_and(|e: &io::Error| e.kind() == io::ErrorKind::ConnectionRefused)
    })
    .await;
}

#[tokio::test]
async fn the_host_is_unknown() {
    // This domain never resolves (RFC 6761).
    over_each(
        "http://hypha.invalid",
        ConnectErrorKind::Dns,
        true,
        |error| find::<io::Error>(error).is_some(),
    )
    .await;
}

#[tokio::test]
async fn the_connection_ends_without_an_answer() {
    let server = servers::silent().await;
    let base = format!("http://127.0.0.1:{}", server.port);
    over_each(&base, ConnectErrorKind::ConnectionLost, true, |error| {
        // Servers with TLS that send no alert, and restarting proxies, respond in the same way.
        error.to_string().contains("or use `https://`")
            && std::error::Error::source(error).is_some()
    })
    .await;
}

#[tokio::test]
async fn the_answer_is_not_http() {
    let server = servers::plain("SSH-2.0-OpenSSH_9.6\r\n").await;
    let base = format!("http://127.0.0.1:{}", server.port);
    over_each(&base, ConnectErrorKind::NotHypha, false, |error| {
        std::error::Error::source(error).is_some()
    })
    .await;
}

/// Servers for SSH and mail send data before the client does.
#[tokio::test]
async fn the_server_sends_data_before_the_request() {
    let server = servers::talkative("SSH-2.0-OpenSSH_9.6\r\n").await;
    let base = format!("http://127.0.0.1:{}", server.port);
    over_each(&base, ConnectErrorKind::NotHypha, false, |error| {
        std::error::Error::source(error).is_some()
    })
    .await;
}

#[tokio::test]
async fn the_server_is_killed_during_a_call() {
    let server = servers::killed_then(|_| String::new()).await;
    let connect = hypha_rpc::connect(format!("http://127.0.0.1:{}", server.port));
    let client = connect.silent(true).reconnect(None).await;
    let client = client.expect("the handshake succeeds");
    // The server drops the connection when it receives this call.
    let error = client.ping("ws/other", Duration::from_secs(60)).await;
    let error = error.expect_err("the connection is lost");
    let text = report(&error);
    assert!(text.contains("the connection ended"), "{text}");
    assert!(!text.contains("the server violated"), "{text}");
    assert!(text.contains("without closing handshake"), "{text}");
}

#[tokio::test]
async fn the_server_does_not_respond() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    for transport in TRANSPORTS {
        let connect = hypha_rpc::connect(&base).transport(transport);
        let error = refused(connect.connect_timeout(Duration::from_millis(50))).await;
        assert_eq!(error.kind(), ConnectErrorKind::Timeout, "{error:?}");
        assert!(error.is_retryable());
        assert_eq!(error.url(), Some(base.as_str()));
        assert!(error.to_string().contains("50ms"), "{error}");
    }
}

#[tokio::test]
async fn the_url_cannot_be_used() {
    for url in ["", "ftp://host", "http://", "ws://host:port/ws", "nonsense"] {
        for transport in TRANSPORTS {
            let error = refused(hypha_rpc::connect(url).transport(transport)).await;
            assert_eq!(
                error.kind(),
                ConnectErrorKind::InvalidUrl,
                "{url}: {error:?}"
            );
            assert!(!error.is_retryable());
            assert!(error.to_string().contains(url), "{error}");
        }
    }
}

#[tokio::test]
async fn unusable_tokens_and_ids_are_found_before_connecting() {
    let base = format!("http://127.0.0.1:{}", servers::closed_port().await);
    for transport in TRANSPORTS {
        let connect = || hypha_rpc::connect(&base).transport(transport);
        for (connect, option) in [
            (connect().token("SEC\nRET"), "`token`"),
            (
                connect().reconnection_token("SEC\0RET"),
                "`reconnection_token`",
            ),
        ] {
            let connect = connect.retry_on_initial_connect(true);
            let error = refused(connect).await;
            assert_eq!(error.kind(), ConnectErrorKind::InvalidOption, "{error:?}");
            assert!(!error.is_retryable());
            let text = error.to_string();
            assert!(text.contains(option) && text.contains(&base), "{text}");
            assert!(!text.contains("RET"), "{text}");
        }
        for id in ["", "a/b", "a:b", "a@b"] {
            match connect().client_id(id).await {
                Err(Error::Invalid(text)) => assert!(text.contains(&format!("{id:?}")), "{text}"),
                other => panic!("wanted an invalid id, got {other:?}"),
            }
        }
    }
}
