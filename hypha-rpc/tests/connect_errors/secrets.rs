//! Tests that an error never shows the credentials or the query of a URL.

use std::error::Error;

use hypha_rpc::error::{ConnectError, ConnectErrorKind, report};

use super::{TRANSPORTS, refused, servers};

/// Asserts that the secret does not occur in the message of the error, in the messages of its
/// sources, or in the messages of the error of the other attempt.
fn assert_hidden(error: &ConnectError) {
    assert!(!error.detail().contains("SECRET"), "{error:?}");
    assert!(!report(error).contains("SECRET"), "{}", report(error));
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        for text in [
            format!("{error}"),
            format!("{error:?}"),
            format!("{error:#?}"),
        ] {
            assert!(!text.contains("SECRET"), "{text}");
        }
        next = error.source();
    }
    if let Some(other) = error.other_attempt() {
        assert_hidden(other);
    }
}

#[tokio::test]
async fn redirect_targets_show_no_secret() {
    for (to, shown) in [
        ("https://o/ws?token=SECRET", "https://o"),
        ("https://u:SECRET@o/ws#SECRET", "https://o"),
        ("/login?next=SECRET", "/login"),
    ] {
        let headers = format!("Location: {to}\r\nSet-Cookie: id=SECRET\r\n");
        let server = servers::plain(servers::answer("302 Found", &headers, "SECRET")).await;
        for transport in TRANSPORTS {
            let connect = hypha_rpc::connect(format!("http://127.0.0.1:{}", server.port));
            let error = refused(connect.transport(transport)).await;
            assert_eq!(error.kind(), ConnectErrorKind::Redirect, "{error:?}");
            assert!(error.detail().ends_with(shown), "{error}");
            assert_hidden(&error);
        }
    }
}

#[tokio::test]
async fn invalid_urls_show_no_secret() {
    for url in [
        "https://h:bad/ws?token=SECRET",
        "http://u:SECRET@h:99999/",
        "ws://u:SECRET@h:99999/ws?token=SECRET",
        "http://u:SE#SECRET@h/",
        "http://u:SECRET/SECRET@h/",
        "ftp://u:SECRET@h/?token=SECRET",
        "u:SECRET@h/?token=SECRET",
        "http://?token=SECRET",
    ] {
        for transport in TRANSPORTS {
            let connect = hypha_rpc::connect(url).transport(transport);
            assert!(!format!("{connect:?}").contains("SECRET"));
            let error = refused(connect).await;
            assert_eq!(error.kind(), ConnectErrorKind::InvalidUrl, "{error:?}");
            assert_hidden(&error);
        }
    }
}

#[tokio::test]
async fn attempted_urls_show_no_secret() {
    let server = servers::plain(servers::answer("404 Not Found", "", "")).await;
    for port in [server.port, servers::closed_port().await] {
        let url = format!("ws://u:SECRET@127.0.0.1:{port}/ws?token=SECRET");
        for transport in TRANSPORTS {
            assert_hidden(&refused(hypha_rpc::connect(&url).transport(transport)).await);
        }
    }
}
