//! Maps errors of the libraries to [`ConnectError`].
//!
//! The kind depends on the innermost error with a known meaning, not on the step that failed. So
//! all transports report the same kind for the same failure.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use tokio_tungstenite::tungstenite;

#[cfg(feature = "http")]
use super::proxy::Proxy;
use super::redirect::{self, NotFollowed};
#[cfg(feature = "http")]
use crate::error::ProxyFailure;
#[cfg(feature = "tls")]
use crate::error::TlsFailure;
use crate::error::{ConnectError, ConnectErrorKind};

/// Marks a failed lookup of a host name, because the system reports it as an [`io::Error`] without
/// a specific kind.
#[derive(Debug, thiserror::Error)]
#[error("cannot look up `{host}`")]
struct UnknownHost {
    host: String,
    source: io::Error,
}

/// Resolves the addresses of a host.
///
/// # Errors
///
/// Returns the system's error, marked as a DNS failure.
pub(super) async fn look_up(
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
    let found = tokio::net::lookup_host((host, port)).await;
    let failed = |source| UnknownHost {
        host: host.to_owned(),
        source,
    };
    let found: Vec<_> = found.map_err(failed)?.collect();
    if found.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "it has no address")).into());
    }
    Ok(found)
}

/// Returns the [`ConnectError`] for a failed attempt to open a link to `url`.
pub(super) fn connect_error(
    url: &str,
    error: impl Into<Box<dyn Error + Send + Sync>>,
) -> ConnectError {
    let error = error.into();
    let (kind, source) = classify(error.as_ref());
    let failed = ConnectError::new(kind, "").with_url(url);
    match source {
        Some(source) => failed.with_source(source),
        None => failed.with_source(error),
    }
}

/// Returns the kind of a failure, and its cause unless the cause is already in the chain of sources
/// of `error`.
fn classify(
    error: &(dyn Error + 'static),
) -> (ConnectErrorKind, Option<Box<dyn Error + Send + Sync>>) {
    let mut kind = ConnectErrorKind::Unreachable;
    let mut next = Some(error);
    while let Some(error) = next {
        #[cfg(feature = "tls")]
        if let Some(error) = rustls_error(error) {
            let kind = ConnectErrorKind::Tls(tls_failure(error));
            // Keep this error, because the `source` of the surrounding `io::Error` skips it.
            return (kind, Some(Box::new(error.clone())));
        }
        if error.is::<UnknownHost>() {
            return (ConnectErrorKind::Dns, None);
        }
        if let Some(error) = error.downcast_ref::<tungstenite::Error>() {
            kind = of_websocket(error).unwrap_or(kind);
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            kind = of_io(error).unwrap_or(kind);
            next = match error.get_ref() {
                Some(inner) => Some(inner),
                None => error.source(),
            };
            continue;
        }
        #[cfg(feature = "http")]
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            if error.is_timeout() {
                kind = ConnectErrorKind::Timeout;
            } else if error.is_request() && !error.is_connect() {
                kind = ConnectErrorKind::ConnectionLost;
            }
        }
        #[cfg(feature = "http")]
        if error
            .downcast_ref()
            .is_some_and(|error: &hyper::Error| error.is_parse() || is_unexpected_message(error))
        {
            kind = ConnectErrorKind::NotHypha;
        }
        next = error.source();
    }
    (kind, None)
}

/// Returns whether the server sent data before it got a request, as SSH and mail servers do.
/// Compares the message, because the library has no method for this error.
#[cfg(feature = "http")]
fn is_unexpected_message(error: &hyper::Error) -> bool {
    error
        .to_string()
        .starts_with("received unexpected message from connection")
}

/// Returns the kind of an I/O error, or `None` if another error of the chain determines the kind.
fn of_io(error: &io::Error) -> Option<ConnectErrorKind> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(ConnectErrorKind::ConnectionRefused),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Some(ConnectErrorKind::ConnectionLost),
        _ => None,
    }
}

/// Returns the kind of an error of the WebSocket library, or `None` if its cause determines the
/// kind.
fn of_websocket(error: &tungstenite::Error) -> Option<ConnectErrorKind> {
    use tungstenite::error::ProtocolError;
    match error {
        tungstenite::Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            Some(ConnectErrorKind::ConnectionLost)
        }
        tungstenite::Error::Protocol(_)
        | tungstenite::Error::HttpFormat(_)
        | tungstenite::Error::Utf8(_)
        | tungstenite::Error::Capacity(_)
        | tungstenite::Error::AttackAttempt => Some(ConnectErrorKind::NotHypha),
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
            Some(ConnectErrorKind::ConnectionLost)
        }
        _ => None,
    }
}

/// Returns the [`ConnectError`] for a failed attempt to open a link to `url` through a proxy. The
/// library connects to the proxy and has no error types for the failures, so this function searches
/// the messages.
#[cfg(feature = "http")]
pub(super) fn through_proxy(proxy: &Proxy, url: &str, error: reqwest::Error) -> ConnectError {
    let mut texts = String::new();
    let mut next: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = next {
        texts.push_str(&error.to_string());
        next = error.source();
    }
    let says = |text: &str| texts.contains(text);
    let is_socks_status = |statuses: &[&str]| {
        let status = texts.rsplit_once("SOCKS error: ").map(|(_, status)| status);
        status.is_some_and(|status| statuses.iter().any(|text| status.contains(text)))
    };
    let is_connect = error.is_connect();
    let is_secure = url.starts_with("https:");
    let failed = connect_error(url, error);
    let failure = match failed.kind() {
        _ if !is_connect => return failed,
        // With `socks5`, this program resolves the name of the server, before it asks the proxy.
        ConnectErrorKind::Dns if says("error resolving for socks proxy") => return failed,
        ConnectErrorKind::Dns | ConnectErrorKind::ConnectionRefused => ProxyFailure::Unreachable,
        // Without TLS to the server, or before the tunnel to it exists, only the proxy uses TLS.
        ConnectErrorKind::Tls(failure)
            if !is_secure || says("failed to create underlying connection") =>
        {
            ProxyFailure::Tls(failure)
        }
        _ if says("failed to create underlying connection") => ProxyFailure::Unreachable,
        _ if says("proxy authorization required") || says("auth") || says("credentials") => {
            ProxyFailure::Credentials
        }
        _ if says("tunnel error: unsuccessful") => ProxyFailure::NoWay,
        // The library has a text for each status of SOCKS 5. `tunnel` maps the same statuses.
        _ if is_socks_status(&["not allowed", "not supported", "255 characters"]) => {
            ProxyFailure::Refused
        }
        _ if is_socks_status(&["failure", "unreachable", "refused", "expired"]) => {
            ProxyFailure::NoWay
        }
        _ if says("tunnel error") || says("SOCKS error") => ProxyFailure::Protocol,
        ConnectErrorKind::Unreachable => ProxyFailure::Unreachable,
        _ => return failed,
    };
    let cause = failed.cause();
    proxy.failed(failure, "").with_url(url).with_cause(cause)
}

/// Returns whether a response with this status and a header `Location` is a redirect.
pub(super) fn is_redirect(status: u16) -> bool {
    (300..400).contains(&status)
}

/// Error for a redirect that is not followed. Its source is the response of the server.
#[derive(Debug, thiserror::Error)]
#[error("the redirect is not followed: {why}")]
struct Redirected {
    why: NotFollowed,
    source: Box<dyn Error + Send + Sync>,
}

/// Returns the [`ConnectError`] for a redirect that is not followed. The error names the URL that a
/// program passes to `connect` to reach the target.
pub(super) fn not_followed(
    url: &str,
    location: &str,
    why: NotFollowed,
    answer: impl Into<Box<dyn Error + Send + Sync>>,
) -> ConnectError {
    let to = redirect::base_url(&redirect::absolute(url, location));
    let hint = match why {
        // With a limit of zero, the program itself wants to handle the redirect.
        NotFollowed::TooMany(most) if most > 0 => Some(format!(
            "that is redirect {} of this attempt, probably a loop: check the settings of the \
             server and its proxies",
            most + 1
        )),
        NotFollowed::NoTarget => Some("check the settings of the server and its proxies".into()),
        _ => None,
    };
    let source = Redirected {
        why,
        source: answer.into(),
    };
    ConnectError::new(ConnectErrorKind::Redirect, to)
        .with_url(url)
        .with_hint(hint)
        .with_source(source)
}

#[cfg(feature = "tls")]
/// Returns `error` as a rustls error, or the rustls error that `error` directly contains.
fn rustls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(error);
    }
    match error.downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Tls(tungstenite::error::TlsError::Rustls(error))) => Some(error),
        _ => None,
    }
}

#[cfg(feature = "tls")]
/// Returns the kind of a TLS failure. If the server does not use TLS, its response is not a valid
/// TLS message.
fn tls_failure(error: &rustls::Error) -> TlsFailure {
    use rustls::{CertificateError, Error};
    match error {
        Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer => TlsFailure::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsFailure::NameMismatch
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => TlsFailure::Expired,
            _ => TlsFailure::Other,
        },
        Error::InvalidMessage(_) => TlsFailure::NotTls,
        Error::AlertReceived(rustls::AlertDescription::CertificateRequired) => {
            TlsFailure::CertificateRequired
        }
        _ => TlsFailure::Other,
    }
}
