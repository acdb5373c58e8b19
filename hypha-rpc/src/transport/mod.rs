//! Transports of messages between this program and a server: WebSocket or HTTP.
//!
//! Choose one with [`ConnectOptions::transport`](crate::ConnectOptions::transport). The rest of the
//! API is the same for all transports.
//
// A `Link` carries frames over any transport, and a `Dial` opens another link when a link is lost.
// The engine owns the link and polls it in one task, so links need no locks. Both traits are public
// for tests and for the clients within the server, and are not stable.

#[cfg(any(feature = "http", not(target_family = "wasm")))]
mod answer;
#[cfg(target_family = "wasm")]
pub(crate) mod browser;
#[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
pub(crate) mod data_channel;
#[cfg(not(target_family = "wasm"))]
mod failure;
#[cfg(feature = "http")]
pub(crate) mod fallback;
#[cfg(feature = "http")]
pub(crate) mod http;
#[doc(hidden)]
pub mod memory;
#[cfg(not(target_family = "wasm"))]
mod movable;
#[cfg(not(target_family = "wasm"))]
mod proxy;
#[cfg(not(target_family = "wasm"))]
mod redirect;
#[cfg(all(feature = "tls", not(target_family = "wasm")))]
mod tls;
#[cfg(not(target_family = "wasm"))]
mod tunnel;
#[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
pub(crate) mod webrtc;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod websocket;

#[cfg(not(target_family = "wasm"))]
use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Sink, Stream};

#[cfg(target_family = "wasm")]
pub(crate) use browser as websocket;
#[cfg(target_family = "wasm")]
pub(crate) use browser::SocketOptions;

pub use crate::error::LinkError;
use crate::error::{ConnectError, ConnectErrorKind};

/// Maximum size of an accepted frame, in bytes. It is larger than the maximum of the servers
/// (16 MiB), because a server adds fields to a message.
pub(crate) const MAX_FRAME: usize = 32 << 20;

#[cfg(not(target_family = "wasm"))]
pub(crate) use proxy::ProxyChoice;

/// Options for opening a link to the server.
#[cfg(not(target_family = "wasm"))]
#[derive(Clone, Debug)]
pub(crate) struct SocketOptions {
    /// Headers added to the request that opens a link.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) proxy: ProxyChoice,
    /// Maximum number of redirects to follow.
    pub(crate) max_redirects: usize,
    pub(crate) tls: TlsOptions,
}

#[cfg(not(target_family = "wasm"))]
impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            headers: Vec::new(),
            proxy: ProxyChoice::default(),
            max_redirects: 10,
            tls: TlsOptions::default(),
        }
    }
}

/// TLS options: the certificates to accept, and the certificate of this client.
#[cfg(not(target_family = "wasm"))]
#[derive(Clone, Default)]
#[cfg_attr(not(feature = "tls"), allow(dead_code))]
pub(crate) struct TlsOptions {
    /// Whether any certificate and host name is accepted.
    pub(crate) accept_invalid_certificates: bool,
    /// Certificates of authorities, in PEM format.
    pub(crate) authorities: Vec<Vec<u8>>,
    /// Certificate chain and private key of this client, in PEM format.
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
}

#[cfg(not(target_family = "wasm"))]
impl fmt::Debug for TlsOptions {
    /// Formats the options without the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field(
                "accept_invalid_certificates",
                &self.accept_invalid_certificates,
            )
            .finish_non_exhaustive()
    }
}

/// Returns the error for a URL that needs TLS, in builds without TLS.
#[cfg(all(not(feature = "tls"), not(target_family = "wasm")))]
fn no_tls() -> ConnectError {
    ConnectError::new(
        ConnectErrorKind::InvalidUrl,
        "encrypted connections need the feature `tls` of hypha-rpc",
    )
}

/// Transport for the messages of a connection. Default: WebSocket.
///
/// # Examples
///
/// ```
/// use hypha_rpc::transport::Transport;
///
/// assert_eq!("websocket".parse(), Ok(Transport::WebSocket));
/// let error = "carrier-pigeon".parse::<Transport>().unwrap_err();
/// assert!(error.to_string().starts_with("unknown transport `carrier-pigeon`"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// A WebSocket (`docs/protocol/01-transport-websocket.md`).
    #[default]
    WebSocket,
    /// HTTP: received messages are the body of one long response, and each sent message is a
    /// request (`docs/protocol/05-http-transport.md`). Slower than a WebSocket, but works through
    /// proxies that block WebSockets.
    #[cfg(feature = "http")]
    Http,
    /// A WebSocket, or HTTP if the WebSocket cannot be opened. Each attempt to connect tries the
    /// WebSocket first.
    #[cfg(feature = "http")]
    Auto,
}

impl std::str::FromStr for Transport {
    type Err = ConnectError;

    /// Parses `websocket`, `http` or `auto`, the names in the Python and JavaScript clients.
    ///
    /// # Errors
    ///
    /// [`ConnectErrorKind::UnknownTransport`] for any other name, and for `http` and `auto` without
    /// the feature `http`.
    fn from_str(name: &str) -> Result<Self, ConnectError> {
        match name {
            "websocket" => Ok(Transport::WebSocket),
            #[cfg(feature = "http")]
            "http" => Ok(Transport::Http),
            #[cfg(feature = "http")]
            "auto" => Ok(Transport::Auto),
            other => Err(ConnectError::new(ConnectErrorKind::UnknownTransport, other)),
        }
    }
}

/// One unit of a link (`docs/protocol/01-transport-websocket.md#s5`, `#s6`).
#[doc(hidden)] // For tests and the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// RPC message: the MAIN segment, optionally followed by the EXTRA segment.
    Binary(Bytes),
    /// JSON control object.
    Text(String),
    /// Ping of the transport, which keeps proxies from closing an idle link. A link without pings
    /// ignores this frame.
    Ping,
    /// Response to a ping.
    Pong,
    /// End of the link, with an optional code and reason. The sender sends nothing after it.
    Close(Option<(u16, String)>),
}

/// Carries frames in order in both directions.
///
/// The stream ends when the link has ended, or after an error. As with any [`Sink`], a frame is
/// sent when a flush completes. The task that polls a link may move to another runtime. A link that
/// does not register its sockets there makes no progress until the task moves back.
#[doc(hidden)]
pub trait Link:
    Stream<Item = Result<Frame, LinkError>> + Sink<Frame, Error = LinkError> + Send + Unpin + 'static
{
}

impl<T> Link for T where
    T: Stream<Item = Result<Frame, LinkError>>
        + Sink<Frame, Error = LinkError>
        + Send
        + Unpin
        + 'static
{
}

/// Boxed link of any kind.
#[doc(hidden)]
pub type BoxLink = Box<dyn Link>;

/// Opens links to one server: the first link, and another link after each loss.
///
/// The client performs the same handshake on every new link: it sends a [`Frame::Text`]
/// (`docs/protocol/01-transport-websocket.md#s2`) and waits for the response.
#[doc(hidden)]
pub trait Dial: Send + Sync + 'static {
    /// Opens a link. Dropping the future cancels the attempt.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] with the kind and the cause. After a lost link, the kind determines whether
    /// the client tries again.
    fn dial(&self) -> Dialing<'_>;

    /// Returns the connection type for the contexts of incoming calls, such as `websocket`.
    fn connection_type(&self) -> &'static str;

    /// Returns the URL of the server, for errors of the handshake. Default: none.
    fn url(&self) -> Option<&str> {
        None
    }

    /// Returns the proxy, without its credentials, for errors of the handshake. Default: none.
    fn proxy(&self) -> Option<String> {
        None
    }

    /// Returns the error of another transport that was tried before this transport. Default: none.
    fn earlier_failure(&self) -> Option<ConnectError> {
        None
    }
}

/// Future that opens a link.
#[doc(hidden)]
pub type Dialing<'a> = Pin<Box<dyn Future<Output = Result<BoxLink, ConnectError>> + Send + 'a>>;
