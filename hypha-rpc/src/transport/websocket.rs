//! The WebSocket link (`docs/protocol/01-transport-websocket.md`): opens the socket with TLS, and
//! carries frames up to a maximum size.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Response, Uri, header};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
#[cfg(feature = "tls")]
use tokio_tungstenite::{Connector, client_async_tls_with_config};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::movable::MovableSocket;
use super::redirect::Redirects;
use super::{
    Dial, Dialing, Frame, LinkError, MAX_FRAME, SocketOptions, answer, failure, proxy, tunnel,
};
use crate::error::{ConnectError, ConnectErrorKind};

/// Size of the read buffer, in bytes. A larger buffer would be slower, because the library clears
/// the buffer for every read. Larger frames get a separate buffer.
const READ_BUFFER: usize = 32 << 10;

/// Received frames below this size, in bytes, are copied. Frames are slices of the socket's read
/// buffer, so without the copy, keeping a small frame would keep the whole buffer.
const COPY_BELOW: usize = 512;

/// Opens WebSocket connections to one URL.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    url: String,
    options: SocketOptions,
}

impl Dialer {
    /// Creates a dialer for a URL `ws://..` or `wss://..`.
    pub(crate) fn new(url: String, options: &SocketOptions) -> Self {
        Dialer {
            url,
            options: options.clone(),
        }
    }
}

impl Dial for Dialer {
    fn dial(&self) -> Dialing<'_> {
        Box::pin(async {
            let link = connect(&self.url, &self.options).await?;
            Ok(Box::new(link) as super::BoxLink)
        })
    }

    fn connection_type(&self) -> &'static str {
        "websocket"
    }

    fn url(&self) -> Option<&str> {
        Some(&self.url)
    }

    fn proxy(&self) -> Option<String> {
        let uri: Uri = self.url.parse().ok()?;
        let (secure, host, port) = target(&uri)?;
        let proxy = proxy::choose(&self.options.proxy, secure, host, port).ok()?;
        proxy.map(|proxy| proxy.shown())
    }
}

/// A client's WebSocket connection.
#[derive(Debug)]
pub(crate) struct WebSocketLink {
    socket: Socket,
}

/// Opens a socket to `url` (`ws://` or `wss://`) and follows redirects. The caller sets the
/// timeout.
///
/// # Errors
///
/// [`ConnectErrorKind::InvalidUrl`] for a URL or header that cannot be used. If the connection, TLS
/// or the upgrade fails, the error has the kind of the cause.
pub(crate) async fn connect(
    url: &str,
    options: &SocketOptions,
) -> Result<WebSocketLink, ConnectError> {
    let mut at = url.to_owned();
    let mut redirects = Redirects::default();
    loop {
        let (location, answer) = match open(&at, options).await? {
            Opened::Link(link) => return Ok(*link),
            Opened::Redirect { location, answer } => (location, answer),
        };
        at = redirects
            .follow(&at, &location, options.max_redirects)
            .map_err(|why| failure::not_followed(&at, &location, why, answer))?;
    }
}

/// Outcome of one attempt to open a socket.
enum Opened {
    Link(Box<WebSocketLink>),
    Redirect {
        location: String,
        /// Error for the response. Omits the headers and the body.
        answer: tungstenite::Error,
    },
}

/// Returns whether the URL requires TLS, its host without brackets, and its port. Returns `None` if
/// the URL is not that of a WebSocket.
fn target(uri: &Uri) -> Option<(bool, &str, u16)> {
    let (secure, usual) = match uri.scheme_str() {
        Some("ws") => (false, 80),
        Some("wss") => (true, 443),
        _ => return None,
    };
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    Some((secure, host, uri.port_u16().unwrap_or(usual)))
}

/// Opens a socket to `url` without following redirects.
async fn open(url: &str, options: &SocketOptions) -> Result<Opened, ConnectError> {
    let invalid =
        |fault: String| ConnectError::new(ConnectErrorKind::InvalidUrl, fault).with_url(url);
    let mut request = url
        .into_client_request()
        .map_err(|e| invalid("it is not a URL".into()).with_source(e))?;
    // Check here, because the library treats a port that is not a number as a missing port.
    let authority = request
        .uri()
        .authority()
        .and_then(|authority| authority.as_str().rsplit('@').next())
        .unwrap_or_default();
    let after_host = authority
        .rsplit(']')
        .next()
        .and_then(|rest| rest.rsplit_once(':'));
    if after_host.is_some_and(|(_, port)| port.parse::<u16>().is_err()) {
        // The error omits the part after the colon, because it may be a password.
        return Err(invalid("the port is not a number from 0 to 65535".into()));
    }
    for (name, value) in &options.headers {
        let name: HeaderName = name
            .parse()
            .map_err(|_| invalid(format!("bad header name `{name}`")))?;
        let value: HeaderValue = value
            .parse()
            .map_err(|_| invalid(format!("bad value of header `{name}`")))?;
        request.headers_mut().append(name, value);
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_frame_size(Some(MAX_FRAME))
        .max_message_size(Some(MAX_FRAME));
    let uri = request.uri();
    let Some((secure, host, port)) = target(uri) else {
        return Err(invalid("it is not `ws://host` or `wss://host`".into()));
    };
    let is_endpoint = uri.path().ends_with("/ws");
    let failed = |error| failure::connect_error(url, error);
    let named = |e: ConnectError| e.with_url(url);
    let connector = connector(secure, options).map_err(named)?;
    let proxy = proxy::choose(&options.proxy, secure, host, port).map_err(named)?;
    let stream = match proxy {
        Some(proxy) => {
            let opened = tunnel::open(&proxy, host, port, &options.tls).await;
            opened.map_err(named)?
        }
        None => {
            // Resolve the name in a separate step. A connect that also resolves reports an unknown
            // host as an error without a specific kind.
            let addresses = failure::look_up(host, port).await.map_err(failed)?;
            let opened = TcpStream::connect(&*addresses).await;
            let stream = opened.map_err(|e| failed(e.into()))?;
            // Nagle's algorithm would hold small frames back until the previous frame is
            // acknowledged.
            stream.set_nodelay(true).map_err(|e| failed(e.into()))?;
            MaybeTlsStream::Plain(MovableSocket::new(stream))
        }
    };
    match upgrade(request, stream, config, connector).await {
        Ok(socket) => Ok(Opened::Link(Box::new(WebSocketLink { socket }))),
        Err(tungstenite::Error::Url(e)) => Err(invalid("it cannot be used".into()).with_source(e)),
        Err(tungstenite::Error::Http(answer)) => {
            let location = answer.headers().get(header::LOCATION);
            let location = location.and_then(|location| location.to_str().ok());
            // Keep only the status, because `Debug` of the library's error shows the headers, which
            // may contain tokens.
            let mut kept = Response::new(None);
            *kept.status_mut() = answer.status();
            let kept = tungstenite::Error::Http(Box::new(kept));
            let status = answer.status().as_u16();
            match location {
                Some(location) if failure::is_redirect(status) => Ok(Opened::Redirect {
                    location: location.to_owned(),
                    answer: kept,
                }),
                _ => {
                    let body = answer.body().as_deref().unwrap_or_default();
                    let body = String::from_utf8_lossy(body);
                    let error = answer::unexpected(url, status, &body).with_source(kept);
                    let hint = (!is_endpoint && !error.is_retryable()).then(|| {
                        "add `/ws` to the URL, or use `http://` or `https://` instead of `ws://` \
                         or `wss://`"
                            .to_owned()
                    });
                    Err(error.with_hint(hint))
                }
            }
        }
        // Use the inner error, because the message of the outer error only adds a prefix.
        Err(tungstenite::Error::Io(e)) => Err(failed(e.into())),
        Err(e) => Err(failed(e.into())),
    }
}

type Socket = WebSocketStream<MaybeTlsStream<tunnel::Path>>;

/// Placeholder for the TLS configuration in builds without TLS.
#[cfg(not(feature = "tls"))]
struct Connector;

/// Creates the TLS configuration if the connection is `secure`. Call this before contacting the
/// server, so that an invalid option is always reported.
#[cfg(feature = "tls")]
fn connector(secure: bool, options: &SocketOptions) -> Result<Connector, ConnectError> {
    Ok(match secure {
        true => Connector::Rustls(std::sync::Arc::new(super::tls::config(&options.tls)?)),
        false => Connector::Plain,
    })
}

#[cfg(not(feature = "tls"))]
fn connector(secure: bool, _: &SocketOptions) -> Result<Connector, ConnectError> {
    match secure {
        true => Err(super::no_tls()),
        false => Ok(Connector),
    }
}

/// Performs the TLS handshake, if the URL requires it, and the upgrade to a WebSocket.
#[cfg(feature = "tls")]
async fn upgrade(
    request: Request,
    stream: tunnel::Path,
    config: WebSocketConfig,
    connector: Connector,
) -> Result<Socket, tungstenite::Error> {
    let upgraded = client_async_tls_with_config(request, stream, Some(config), Some(connector));
    Ok(upgraded.await?.0)
}

#[cfg(not(feature = "tls"))]
async fn upgrade(
    request: Request,
    stream: tunnel::Path,
    config: WebSocketConfig,
    _: Connector,
) -> Result<Socket, tungstenite::Error> {
    let stream = MaybeTlsStream::Plain(stream);
    let upgraded = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
    Ok(upgraded.await?.0)
}

impl Stream for WebSocketLink {
    type Item = Result<Frame, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return Poll::Ready(match ready!(self.socket.poll_next_unpin(cx)) {
                None => None,
                Some(Err(e)) => Some(Err(broken(e))),
                Some(Ok(Message::Binary(data))) => Some(Ok(Frame::Binary(own_small(data)))),
                Some(Ok(Message::Text(text))) => Some(Ok(Frame::Text(text.as_str().to_owned()))),
                Some(Ok(Message::Close(frame))) => Some(Ok(Frame::Close(
                    frame.map(|f| (u16::from(f.code), f.reason.as_str().to_owned())),
                ))),
                Some(Ok(Message::Pong(_))) => Some(Ok(Frame::Pong)),
                // Do nothing for a ping, because the library replies to it.
                Some(Ok(Message::Ping(_) | Message::Frame(_))) => continue,
            });
        }
    }
}

/// Copies a small frame, so that it does not keep the read buffer alive. See [`COPY_BELOW`].
fn own_small(data: Bytes) -> Bytes {
    if data.len() <= COPY_BELOW {
        Bytes::copy_from_slice(&data)
    } else {
        data
    }
}

impl Sink<Frame> for WebSocketLink {
    type Error = LinkError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.socket.poll_ready_unpin(cx).map_err(broken)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), LinkError> {
        let message = match frame {
            Frame::Binary(data) => Message::Binary(data),
            Frame::Text(text) => Message::Text(text.into()),
            Frame::Ping => Message::Ping(Bytes::new()),
            Frame::Pong => Message::Pong(Bytes::new()),
            Frame::Close(reason) => Message::Close(reason.map(|(code, reason)| CloseFrame {
                code: CloseCode::from(code),
                reason: reason.into(),
            })),
        };
        self.socket.start_send_unpin(message).map_err(broken)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.socket.poll_flush_unpin(cx).map_err(broken)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.socket.poll_close_unpin(cx).map_err(broken)
    }
}

/// Returns the error for the loss of an open link.
fn broken(error: tungstenite::Error) -> LinkError {
    match error {
        tungstenite::Error::Io(e) => LinkError::new("the network failed").with_source(e),
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
            LinkError::new("the WebSocket is closed").with_source(error)
        }
        // The process at the other end was killed, or a proxy closed the connection.
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            LinkError::new("the connection ended").with_source(error)
        }
        e => LinkError::new("the server violated the WebSocket protocol").with_source(e),
    }
}
