//! Tests every cause of a failed connection, over every transport. The kind of the error must match
//! the cause. The error must name the URL, say whether a retry can help, and have the underlying
//! error as its source. Also tests proxies, redirects and certificates.

mod certificates;
mod first_attempt;
mod http;
mod hypha;
mod network;
mod proxies;
mod redirects;
mod secrets;
mod servers;
mod tls;

use std::error::Error as _;

use hypha_rpc::error::{ConnectError, ConnectErrorKind, TlsFailure};
use hypha_rpc::transport::Transport;
use hypha_rpc::{ConnectOptions, Error};

const TRANSPORTS: [Transport; 3] = [Transport::WebSocket, Transport::Http, Transport::Auto];

/// Connects, and returns the error. Panics if the connection succeeds.
async fn refused(connect: ConnectOptions) -> ConnectError {
    match connect.await {
        Err(Error::Connect(error)) => error,
        other => panic!("wanted a connect error, got {other:?}"),
    }
}

/// Asserts that connecting to `base` (an `http://` URL) fails over each transport, and checks the
/// error. `cause` returns whether an error has the expected underlying error.
async fn over_each(
    base: &str,
    kind: ConnectErrorKind,
    retryable: bool,
    cause: fn(&ConnectError) -> bool,
) {
    for transport in TRANSPORTS {
        let error = refused(hypha_rpc::connect(base).transport(transport)).await;
        check(&error, transport, base, kind, retryable);
        assert!(cause(&error), "{transport:?}: {error:?}");
    }
}

fn check(
    error: &ConnectError,
    transport: Transport,
    base: &str,
    kind: ConnectErrorKind,
    retryable: bool,
) {
    assert_eq!(error.kind(), kind, "{transport:?}: {error:?}");
    assert_eq!(error.is_retryable(), retryable, "{transport:?}: {error:?}");
    let socket = format!("{}/ws", base.replacen("http", "ws", 1));
    let http = format!("{base}/rpc");
    let url = match transport {
        Transport::Http => &http,
        // Neither attempt got further than the other, so the client reports the error of the first
        // attempt.
        _ => &socket,
    };
    assert_eq!(error.url(), Some(url.as_str()), "{transport:?}: {error:?}");
    assert!(error.to_string().contains(url), "{error}");
    if let Some(source) = error.source() {
        let source = source.to_string();
        assert!(!error.to_string().contains(&source), "{error} and {source}");
    }
    let other = error
        .other_attempt()
        .map(|other| (other.kind(), other.url()));
    let wanted = (transport == Transport::Auto).then_some((kind, Some(http.as_str())));
    assert_eq!(other, wanted, "{error:?}");
}

/// Returns the first error of type `T` in the chain of sources.
fn find<T: std::error::Error + 'static>(error: &ConnectError) -> Option<&T> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

fn tls(failure: TlsFailure) -> ConnectErrorKind {
    ConnectErrorKind::Tls(failure)
}
