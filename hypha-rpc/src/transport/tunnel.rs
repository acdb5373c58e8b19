//! A TCP connection through a proxy: HTTP `CONNECT`, also over TLS, or SOCKS 5.

use std::io;
use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::MaybeTlsStream;

use super::movable::MovableSocket;
use super::proxy::{Protocol, Proxy};
use super::{TlsOptions, failure};
use crate::error::{ConnectError, ProxyFailure};
#[cfg(feature = "tls")]
use crate::error::{ConnectErrorKind, TlsFailure};

/// Maximum length of a proxy's response to `CONNECT`, in bytes.
const MAX_HEAD: usize = 16 << 10;

/// Error: the proxy violated its protocol.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadAnswer(&'static str);

/// Connection to a server, or to an `https://` proxy in front of it.
pub(super) type Path = MaybeTlsStream<MovableSocket>;

/// Opens a connection through the proxy to `host`, which is a name, or an address without brackets.
/// `tls` contains the options for an `https://` proxy.
///
/// # Errors
///
/// [`ConnectErrorKind::Proxy`](crate::error::ConnectErrorKind::Proxy), without the URL of the
/// server.
pub(super) async fn open(
    proxy: &Proxy,
    host: &str,
    port: u16,
    tls: &TlsOptions,
) -> Result<Path, ConnectError> {
    let unreachable = |error: Box<dyn std::error::Error + Send + Sync>| {
        proxy
            .failed(ProxyFailure::Unreachable, "")
            .with_source(error)
    };
    let addresses = failure::look_up(&proxy.host, proxy.port).await;
    let socket = TcpStream::connect(&*addresses.map_err(unreachable)?)
        .await
        .map_err(|error| unreachable(error.into()))?;
    socket
        .set_nodelay(true)
        .map_err(|error| unreachable(error.into()))?;
    let socket = MovableSocket::new(socket);
    let mut socket = match proxy.protocol {
        Protocol::Https => encrypted(proxy, socket, tls).await?,
        Protocol::Http | Protocol::Socks5 { .. } => MaybeTlsStream::Plain(socket),
    };
    match proxy.protocol {
        Protocol::Http | Protocol::Https => connect(proxy, &mut socket, host, port).await?,
        Protocol::Socks5 { looks_up } => {
            let target = match host.parse::<IpAddr>() {
                Ok(ip) => Target::Address(SocketAddr::new(ip, port)),
                Err(_) if looks_up => Target::Name(host, port),
                Err(_) => {
                    let found = failure::look_up(host, port).await;
                    let found = found.map_err(|error| failure::connect_error("", error))?;
                    // `look_up` returns at least one address, so the fallback to the name is never
                    // used.
                    found.first().map_or(Target::Name(host, port), |&address| {
                        Target::Address(address)
                    })
                }
            };
            socks(proxy, &mut socket, &target).await?;
        }
    }
    Ok(socket)
}

/// Encrypts the connection to an `https://` proxy.
#[cfg(feature = "tls")]
async fn encrypted(
    proxy: &Proxy,
    socket: MovableSocket,
    options: &TlsOptions,
) -> Result<Path, ConnectError> {
    let config = std::sync::Arc::new(super::tls::config(options)?);
    let name = rustls::pki_types::ServerName::try_from(proxy.host.clone());
    let name = name.map_err(|error| {
        let kind = ProxyFailure::Tls(TlsFailure::NameMismatch);
        proxy.failed(kind, "").with_source(error)
    })?;
    let connector = tokio_rustls::TlsConnector::from(config);
    let socket = connector.connect(name, socket).await;
    socket.map(MaybeTlsStream::Rustls).map_err(|error| {
        let cause = failure::connect_error("", error);
        let kind = match cause.kind() {
            ConnectErrorKind::Tls(failure) => ProxyFailure::Tls(failure),
            _ => ProxyFailure::Protocol,
        };
        proxy.failed(kind, "").with_cause(cause.cause())
    })
}

#[cfg(not(feature = "tls"))]
async fn encrypted(proxy: &Proxy, _: MovableSocket, _: &TlsOptions) -> Result<Path, ConnectError> {
    let fault = "an `https://` proxy needs the feature `tls` of hypha-rpc";
    Err(proxy.failed(ProxyFailure::Unsupported, fault))
}

/// Returns the error for an I/O failure on the connection to the proxy.
fn broken(proxy: &Proxy, error: io::Error) -> ConnectError {
    proxy.failed(ProxyFailure::Protocol, "").with_source(error)
}

fn bad_answer(proxy: &Proxy, fault: &'static str) -> ConnectError {
    proxy
        .failed(ProxyFailure::Protocol, "")
        .with_source(BadAnswer(fault))
}

/// Requests a tunnel from an HTTP proxy.
async fn connect(
    proxy: &Proxy,
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
    port: u16,
) -> Result<(), ConnectError> {
    let authority = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some((user, password)) = &proxy.credentials {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        request.push_str(&format!("Proxy-Authorization: Basic {basic}\r\n"));
    }
    request.push_str("\r\n");
    let io = |error| broken(proxy, error);
    socket.write_all(request.as_bytes()).await.map_err(io)?;
    // The server does not send before the client, so no bytes of the server can follow the
    // response.
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_HEAD {
            return Err(bad_answer(proxy, "its response has no end"));
        }
        match socket.read(&mut buffer).await.map_err(io)? {
            0 => {
                return Err(bad_answer(
                    proxy,
                    "the connection ended before its response",
                ));
            }
            read => head.extend_from_slice(&buffer[..read]),
        }
    }
    let head = String::from_utf8_lossy(&head);
    let line = head.lines().next().unwrap_or_default();
    let mut parts = line.splitn(3, ' ');
    let is_http = parts.next().is_some_and(|v| v.starts_with("HTTP/1."));
    let status = parts.next().and_then(|status| status.parse::<u16>().ok());
    let (true, Some(status)) = (is_http, status) else {
        return Err(bad_answer(proxy, "its response is not HTTP"));
    };
    let failure = match status {
        200..=299 => return Ok(()),
        407 => ProxyFailure::Credentials,
        500.. | 408 | 425 | 429 => ProxyFailure::NoWay,
        _ => ProxyFailure::Refused,
    };
    let reason = parts.next().unwrap_or_default();
    Err(proxy.failed(failure, format!("status {status} {reason}").trim_end()))
}

/// The address of the server in a request to a SOCKS proxy.
enum Target<'a> {
    Name(&'a str, u16),
    Address(SocketAddr),
}

/// Requests a connection from a SOCKS 5 proxy (RFC 1928, RFC 1929).
async fn socks(
    proxy: &Proxy,
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &Target<'_>,
) -> Result<(), ConnectError> {
    const VERSION: u8 = 5;
    const NO_PASSWORD: u8 = 0;
    const PASSWORD: u8 = 2;
    let io = |error| broken(proxy, error);
    let hello: &[u8] = match proxy.credentials {
        Some(_) => &[VERSION, 2, NO_PASSWORD, PASSWORD],
        None => &[VERSION, 1, NO_PASSWORD],
    };
    socket.write_all(hello).await.map_err(io)?;
    let mut method = [0; 2];
    socket.read_exact(&mut method).await.map_err(io)?;
    match (method, &proxy.credentials) {
        ([VERSION, NO_PASSWORD], _) => {}
        ([VERSION, PASSWORD], Some((user, password))) => {
            let mut request = vec![1];
            for part in [user, password] {
                let Ok(length) = u8::try_from(part.len()) else {
                    let what = "a user name and a password have at most 255 bytes";
                    return Err(proxy.failed(ProxyFailure::Credentials, what));
                };
                request.push(length);
                request.extend_from_slice(part.as_bytes());
            }
            socket.write_all(&request).await.map_err(io)?;
            let mut answer = [0; 2];
            socket.read_exact(&mut answer).await.map_err(io)?;
            if answer[1] != 0 {
                return Err(proxy.failed(ProxyFailure::Credentials, ""));
            }
        }
        ([VERSION, _], _) => return Err(proxy.failed(ProxyFailure::Credentials, "")),
        _ => return Err(bad_answer(proxy, "its response is not SOCKS 5")),
    }
    let mut request = vec![VERSION, 1, 0];
    let port = match target {
        Target::Address(SocketAddr::V4(address)) => {
            request.push(1);
            request.extend(address.ip().octets());
            address.port()
        }
        Target::Address(SocketAddr::V6(address)) => {
            request.push(4);
            request.extend(address.ip().octets());
            address.port()
        }
        Target::Name(name, port) => {
            let Ok(length) = u8::try_from(name.len()) else {
                return Err(proxy.failed(ProxyFailure::Refused, "the host name is too long"));
            };
            request.extend([3, length]);
            request.extend_from_slice(name.as_bytes());
            *port
        }
    };
    request.extend(port.to_be_bytes());
    socket.write_all(&request).await.map_err(io)?;
    let mut head = [0; 4];
    socket.read_exact(&mut head).await.map_err(io)?;
    let [version, status, _, kind] = head;
    if version != VERSION {
        return Err(bad_answer(proxy, "its response is not SOCKS 5"));
    }
    if status != 0 {
        let (failure, what) = match status {
            2 => (ProxyFailure::Refused, "not allowed by its rules"),
            3 => (ProxyFailure::NoWay, "network unreachable"),
            4 => (ProxyFailure::NoWay, "host unreachable"),
            5 => (ProxyFailure::NoWay, "connection refused"),
            6 => (ProxyFailure::NoWay, "time exceeded"),
            7 => (ProxyFailure::Refused, "command not supported"),
            8 => (ProxyFailure::Refused, "address type not supported"),
            _ => (ProxyFailure::NoWay, "general failure"),
        };
        return Err(proxy.failed(failure, what));
    }
    // Skip the address from which the proxy connects to the server.
    let length = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(socket.read_u8().await.map_err(io)?),
        _ => return Err(bad_answer(proxy, "its response is not SOCKS 5")),
    };
    let mut bound = vec![0; length + 2];
    socket.read_exact(&mut bound).await.map_err(io)?;
    Ok(())
}
