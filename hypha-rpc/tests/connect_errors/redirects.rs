//! Tests which redirects of the handshake the client follows.

use std::time::Duration;

use hypha_rpc::error::{ConnectErrorKind, report};
use hypha_rpc::transport::Transport;
use rcgen::KeyPair;

use super::hypha::{self, Heads, connected};
use super::servers::{self, Server, answer};
use super::{TRANSPORTS, refused, tls};

const BOTH: [Transport; 2] = [Transport::WebSocket, Transport::Http];

/// Starts a server that redirects every request to the URL `to`, followed by the path and the query
/// of the request.
async fn redirecting(to: String) -> Server {
    servers::by_request(move |head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let location = format!("Location: {to}{path}\r\n");
        answer("308 Permanent Redirect", &location, "")
    })
    .await
}

#[tokio::test]
async fn redirects_on_the_same_host_are_followed() {
    for transport in BOTH {
        let heads = Heads::default();
        let server = hypha::server(heads.clone()).await;
        let first = redirecting(format!("http://127.0.0.1:{}/base", server.port)).await;
        let base = format!("http://127.0.0.1:{}", first.port);
        let connect = hypha_rpc::connect(base)
            .transport(transport)
            .token("secret");
        let client = connected(connect).await;
        let head = heads.first();
        assert!(head.starts_with("GET /base/"), "{head}");
        if transport == Transport::Http {
            assert!(
                head.contains("client_id=") && head.contains("Bearer secret"),
                "{head}"
            );
            // The client also sends later messages to the new URL.
            let _ = client.ping("ws/other", Duration::from_millis(50)).await;
            let posts = heads.all();
            let post = posts.iter().find(|head| head.starts_with("POST"));
            assert!(
                post.is_some_and(|post| post.starts_with("POST /base/rpc?")),
                "{posts:?}"
            );
        }
    }
}

#[tokio::test]
async fn redirects_to_tls_are_followed() {
    let authority = tls::authority(KeyPair::generate().expect("a key"));
    let config = tls::signed(tls::names(&["localhost"]), Some(&authority));
    let server = hypha::encrypted(config).await;
    let first = redirecting(format!("https://localhost:{}", server.port)).await;
    for transport in BOTH {
        let base = format!("http://localhost:{}", first.port);
        let connect = hypha_rpc::connect(base).transport(transport);
        connected(connect.ca_certificate(authority.pem())).await;
    }
}

#[tokio::test]
async fn redirects_from_tls_to_plain_are_not_followed() {
    let authority = tls::authority(KeyPair::generate().expect("a key"));
    let config = tls::signed(tls::names(&["localhost"]), Some(&authority));
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let heads = Heads::default();
    let plain = hypha::server(heads.clone()).await;
    let location = format!("Location: http://localhost:{}/ws\r\n", plain.port);
    let server = servers::serve(move |socket| {
        let (accepting, location) = (acceptor.accept(socket), location.clone());
        async move {
            if let Ok(mut socket) = accepting.await {
                servers::request(&mut socket).await;
                servers::write(&mut socket, &answer("302 Found", &location, "")).await;
            }
        }
    })
    .await;
    for transport in TRANSPORTS {
        let base = format!("https://localhost:{}", server.port);
        let connect = hypha_rpc::connect(base)
            .transport(transport)
            .token("secret");
        let error = refused(connect.ca_certificate(authority.pem())).await;
        assert_eq!(error.kind(), ConnectErrorKind::Redirect, "{error:?}");
        assert!(
            report(&error).contains("to an unencrypted one"),
            "{}",
            report(&error)
        );
        assert!(error.to_string().contains(error.detail()), "{error}");
        assert_eq!(heads.all(), [""; 0]);
    }
}

#[tokio::test]
async fn the_number_of_redirects_is_bounded() {
    for transport in BOTH {
        for most in [0, 3, 10] {
            let heads = Heads::default();
            let got = heads.clone();
            let server = servers::by_request(move |head| {
                got.push(head);
                answer("307 Temporary Redirect", "Location: again\r\n", "")
            })
            .await;
            let base = format!("http://127.0.0.1:{}", server.port);
            let mut connect = hypha_rpc::connect(base).transport(transport);
            if most != 10 {
                connect = connect.max_redirects(most);
            }
            let error = refused(connect).await;
            assert_eq!(error.kind(), ConnectErrorKind::Redirect, "{error:?}");
            assert_eq!(heads.all().len(), most + 1);
            let text = report(&error);
            assert!(text.contains(&format!("redirected {most} times")), "{text}");
        }
    }
}

/// The URL in the message is the one that a program passes to `connect`.
#[tokio::test]
async fn the_target_of_a_redirect_is_the_url_to_connect_to() {
    let first = redirecting("https://hypha.invalid/base".into()).await;
    for transport in TRANSPORTS {
        let base = format!("http://127.0.0.1:{}", first.port);
        let error = refused(hypha_rpc::connect(base).transport(transport)).await;
        assert_eq!(error.kind(), ConnectErrorKind::Redirect, "{error:?}");
        assert_eq!(error.detail(), "https://hypha.invalid/base");
        let text = error.to_string();
        assert!(text.contains("/base: connect to that address"), "{text}");
    }
}

#[tokio::test]
async fn a_redirect_without_a_target_is_named() {
    let server = servers::plain(answer("302 Found", "Location: #\r\n", "")).await;
    for transport in TRANSPORTS {
        let base = format!("http://127.0.0.1:{}", server.port);
        let text = refused(hypha_rpc::connect(&base).transport(transport)).await;
        assert!(
            text.to_string().contains("to an empty address: check"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_loop_of_redirects_is_named() {
    let server = servers::by_request(|head| {
        let path = head.split([' ', '?']).nth(1).unwrap_or_default();
        answer(
            "307 Temporary Redirect",
            &format!("Location: {path}\r\n"),
            "",
        )
    })
    .await;
    for transport in TRANSPORTS {
        let base = format!("http://127.0.0.1:{}", server.port);
        let error = refused(hypha_rpc::connect(&base).transport(transport)).await;
        assert_eq!(error.kind(), ConnectErrorKind::Redirect, "{error:?}");
        assert_eq!(error.detail(), base);
        let text = error.to_string();
        assert!(text.contains("loop"), "{text}");
        assert!(!text.contains("connect to that address"), "{text}");
    }
}
