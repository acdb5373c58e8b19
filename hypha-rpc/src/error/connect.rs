//! Errors of connecting: their kinds and messages, and the mapping from the server's messages to
//! kinds.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use hypha_wire::redacted_url;

use super::cause::{Cause, source_of};

/// Error of an attempt to connect to a server.
///
/// [`kind`](Self::kind) returns the kind of failure, and [`url`](Self::url) the address.
/// [`source`](std::error::Error::source) returns the underlying error of the system or a library:
/// an [`io::Error`](std::io::Error) for a refused connection or an unknown host, a `rustls::Error`
/// for a TLS failure, a `tungstenite::Error` or `reqwest::Error` for an HTTP response. The message
/// suggests a fix. It omits the message of the underlying error, because [`report`](super::report)
/// prints the messages of an error and of all its causes.
///
/// If connecting fails, no method has run. Two errors are equal if their kind, URL and message are
/// equal; causes are not compared.
///
/// # Examples
///
/// ```no_run
/// use hypha_rpc::Error;
/// use hypha_rpc::error::ConnectErrorKind;
///
/// # async fn example() {
/// match hypha_rpc::connect("https://hypha.example.org").await {
///     Ok(client) => println!("connected to {}", client.workspace()),
///     Err(Error::Connect(error)) if error.kind() == ConnectErrorKind::TokenRejected => {
///         println!("log in again: {}", error.detail());
///     }
///     Err(error) if error.is_retryable() => println!("try later: {error}"),
///     Err(error) => println!("{error}"),
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct ConnectError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ConnectErrorKind,
    url: Option<String>,
    /// Error message of the server, or the variable part of this error's message. May be empty.
    detail: String,
    /// End of the message, instead of the fix for the kind.
    hint: Option<String>,
    source: Option<Cause>,
    /// Error of the other transport, if both were tried.
    other: Option<ConnectError>,
}

/// Kind of a [`ConnectError`].
///
/// | kind | retryable | what to do |
/// | --- | --- | --- |
/// | [`InvalidUrl`](Self::InvalidUrl) | no | correct the URL |
/// | [`UnknownTransport`](Self::UnknownTransport) | no | correct the option |
/// | [`InvalidOption`](Self::InvalidOption) | no | correct the option or the variable |
/// | [`Proxy`](Self::Proxy) | some | see [`ProxyFailure`] |
/// | [`Dns`](Self::Dns) | yes | check the host name and the network |
/// | [`ConnectionRefused`](Self::ConnectionRefused) | yes | start the server, check host and port |
/// | [`Unreachable`](Self::Unreachable) | yes | check the network and firewalls |
/// | [`ConnectionLost`](Self::ConnectionLost) | yes | wait, or check proxies |
/// | [`Timeout`](Self::Timeout) | yes | check the network, or set a longer timeout |
/// | [`Tls`](Self::Tls) | no | see [`TlsFailure`] |
/// | [`HttpStatus`](Self::HttpStatus) 408, 425, 429, 5xx | yes | wait |
/// | [`HttpStatus`](Self::HttpStatus), all others | no | correct the URL: not a Hypha server |
/// | [`NotHypha`](Self::NotHypha) | no | correct the URL: not a Hypha server |
/// | [`Redirect`](Self::Redirect) | no | use the URL in the message |
/// | [`TokenRejected`](Self::TokenRejected) | no | get another token |
/// | [`WrongWorkspace`](Self::WrongWorkspace) | no | name a workspace that the token is for |
/// | [`ClientIdInUse`](Self::ClientIdInUse) | no | choose another id, or stop the other client |
/// | [`Busy`](Self::Busy) | yes | wait |
/// | [`PeerConnection`](Self::PeerConnection) | yes | check the network, or call through the server |
/// | [`Refused`](Self::Refused), [`Protocol`](Self::Protocol) | no | read the server's message |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// The server URL or a header is invalid.
    InvalidUrl,
    /// The transport has an unknown name, or needs a feature of the crate that is not enabled.
    UnknownTransport,
    /// A certificate, a token, an option, or an environment variable for the proxy is invalid.
    InvalidOption,
    /// The proxy did not open a connection to the server.
    Proxy(ProxyFailure),
    /// The host name of the URL has no address.
    Dns,
    /// The host refused the connection: no program listens on this port.
    ConnectionRefused,
    /// The network failed below TLS and HTTP: no route, a connection reset, or no permission.
    Unreachable,
    /// The encrypted connection failed.
    Tls(TlsFailure),
    /// The server responded with this HTTP status instead of opening a connection.
    HttpStatus(u16),
    /// The server responded with a redirect that the client does not follow. Either it leads to
    /// another host, which must not get the token; or it leads from an encrypted connection to an
    /// unencrypted one; or the number of redirects exceeded
    /// [`max_redirects`](crate::ConnectOptions::max_redirects).
    Redirect,
    /// The program at the URL speaks neither HTTP nor this protocol.
    NotHypha,
    /// The connection ended during the handshake without an error message. A restarting proxy
    /// causes this, and so does an `http://` URL for a port with TLS that sends no alert.
    ConnectionLost,
    /// The server rejected the token or the reconnection token.
    TokenRejected,
    /// The workspace does not exist or is not accessible, or the server assigned another workspace.
    WrongWorkspace,
    /// Another client with the same id is already connected.
    ClientIdInUse,
    /// The server or this program is overloaded.
    Busy,
    /// The server rejected the client for the reason in the message.
    Refused,
    /// The server sent a message that does not belong to the handshake.
    Protocol,
    /// No connection to another client could be opened (feature `webrtc`).
    PeerConnection,
    /// The connect timeout elapsed.
    Timeout,
}

/// Failure of an encrypted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The certificate is not signed by an authority that this machine trusts. Install the
    /// authority, or pass it to [`ca_certificate`][ca]. On a trusted network,
    /// [`danger_accept_invalid_certificates`][accept] turns the check off.
    ///
    /// [ca]: crate::ConnectOptions::ca_certificate
    /// [accept]: crate::ConnectOptions::danger_accept_invalid_certificates
    UnknownIssuer,
    /// The certificate is for other host names. Connect with one of its host names.
    NameMismatch,
    /// The certificate has expired or is not valid yet. Renew it, or correct the clock of this
    /// machine.
    Expired,
    /// The server does not use TLS on this port. Use `http://` or `ws://`, or another port.
    NotTls,
    /// The server requires a client certificate. Set [`identity`](crate::ConnectOptions::identity).
    CertificateRequired,
    /// Another failure, described by the source of the error.
    Other,
}

/// Failure of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyFailure {
    /// The proxy cannot be reached. Start it, or correct its URL. Retryable.
    Unreachable,
    /// The proxy rejects the credentials. Correct the user name and password in its URL. Not
    /// retryable.
    Credentials,
    /// The proxy refuses to connect to the server. Ask its operator. Not retryable.
    Refused,
    /// The proxy cannot connect to the server. Retryable.
    NoWay,
    /// The program at the URL of the proxy does not respond like a proxy. Not retryable.
    Protocol,
    /// The encrypted connection to an `https://` proxy failed, for example because of the
    /// certificate of the proxy. [`ca_certificate`][ca] adds its authority. Not retryable.
    ///
    /// [ca]: crate::ConnectOptions::ca_certificate
    Tls(TlsFailure),
    /// The transport does not support this kind of proxy. Not retryable.
    Unsupported,
}

impl ProxyFailure {
    /// Returns the failure, as a predicate of "the proxy …", and a fix.
    fn texts(self) -> (&'static str, &'static str) {
        const RULES: &str = "ask its operator, or list the host in NO_PROXY if it is reachable \
                             without a proxy";
        match self {
            ProxyFailure::Unreachable => (
                "cannot be reached",
                "start it, or correct the option `proxy` or the variables HTTPS_PROXY, \
                 HTTP_PROXY, ALL_PROXY and NO_PROXY",
            ),
            ProxyFailure::Credentials => (
                "does not accept the credentials",
                "its URL has the form `http://user:password@host:port`",
            ),
            ProxyFailure::Refused => ("refuses the connection", RULES),
            ProxyFailure::NoWay => ("does not reach the server", "try again later"),
            ProxyFailure::Protocol => (
                "does not answer like a proxy of this kind",
                "check its scheme, host and port",
            ),
            ProxyFailure::Tls(TlsFailure::UnknownIssuer) => (
                "has a certificate of an authority that this machine does not trust",
                "install that authority, or set the option `ca_certificate`",
            ),
            ProxyFailure::Tls(TlsFailure::NameMismatch) => (
                "has a certificate for another host name",
                "use a host name that the certificate lists",
            ),
            ProxyFailure::Tls(TlsFailure::Expired) => (
                "has a certificate that is not valid now",
                "renew it, or set the clock of this machine",
            ),
            ProxyFailure::Tls(TlsFailure::NotTls) => (
                "does not speak TLS",
                "use `http://` in its URL, or the TLS port of the proxy",
            ),
            ProxyFailure::Tls(TlsFailure::CertificateRequired) => (
                "requires a certificate of this client",
                "set the option `identity`",
            ),
            ProxyFailure::Tls(TlsFailure::Other) => (
                "does not open an encrypted connection",
                "check the TLS settings of the proxy and of this machine",
            ),
            ProxyFailure::Unsupported => ("cannot be used", "use another one"),
        }
    }
}

impl ConnectErrorKind {
    /// Returns whether the same attempt may succeed later without a change by this program.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            ConnectErrorKind::Dns
            | ConnectErrorKind::ConnectionRefused
            | ConnectErrorKind::Unreachable
            | ConnectErrorKind::ConnectionLost
            | ConnectErrorKind::Busy
            | ConnectErrorKind::PeerConnection
            | ConnectErrorKind::Proxy(ProxyFailure::Unreachable | ProxyFailure::NoWay)
            | ConnectErrorKind::Timeout => true,
            ConnectErrorKind::HttpStatus(status) => {
                matches!(status, 408 | 425 | 429) || status >= 500
            }
            _ => false,
        }
    }

    /// Returns whether the failure occurred below the protocol, so that no Hypha server rejected
    /// this client. After such a failure, [`Transport::Auto`] falls back from WebSocket to HTTP,
    /// and a client that was connected before retries.
    ///
    /// [`Transport::Auto`]: crate::transport::Transport
    pub(crate) fn is_below_the_protocol(self) -> bool {
        match self {
            ConnectErrorKind::Dns
            | ConnectErrorKind::ConnectionRefused
            | ConnectErrorKind::Unreachable
            | ConnectErrorKind::ConnectionLost
            | ConnectErrorKind::Proxy(_)
            | ConnectErrorKind::Tls(_)
            | ConnectErrorKind::HttpStatus(_)
            | ConnectErrorKind::Redirect
            | ConnectErrorKind::NotHypha => true,
            ConnectErrorKind::InvalidUrl
            | ConnectErrorKind::InvalidOption
            | ConnectErrorKind::UnknownTransport
            | ConnectErrorKind::TokenRejected
            | ConnectErrorKind::WrongWorkspace
            | ConnectErrorKind::ClientIdInUse
            | ConnectErrorKind::Busy
            | ConnectErrorKind::Refused
            | ConnectErrorKind::Protocol
            | ConnectErrorKind::PeerConnection
            | ConnectErrorKind::Timeout => false,
        }
    }

    /// Returns the progress of the failed attempt. Of two errors, the one with more progress is
    /// more informative.
    fn progress(self) -> u8 {
        match self {
            ConnectErrorKind::InvalidUrl
            | ConnectErrorKind::InvalidOption
            | ConnectErrorKind::UnknownTransport => 0,
            ConnectErrorKind::Unreachable
            | ConnectErrorKind::PeerConnection
            | ConnectErrorKind::Timeout => 1,
            ConnectErrorKind::Dns
            | ConnectErrorKind::ConnectionRefused
            | ConnectErrorKind::Proxy(_) => 2,
            ConnectErrorKind::ConnectionLost | ConnectErrorKind::NotHypha => 3,
            ConnectErrorKind::Tls(_) => 4,
            ConnectErrorKind::HttpStatus(_) | ConnectErrorKind::Redirect => 5,
            ConnectErrorKind::TokenRejected
            | ConnectErrorKind::WrongWorkspace
            | ConnectErrorKind::ClientIdInUse
            | ConnectErrorKind::Busy
            | ConnectErrorKind::Refused
            | ConnectErrorKind::Protocol => 6,
        }
    }
}

impl ConnectError {
    /// Creates an error, for implementations of [`Dial`](crate::transport::Dial).
    ///
    /// `detail` completes the message of the kind: the server's message, the target of a redirect,
    /// or the fault in a URL. It may be empty. Credentials and query are removed from the target of
    /// a redirect, because programs log the message.
    pub fn new(kind: ConnectErrorKind, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let detail = match kind {
            ConnectErrorKind::Redirect => redacted_url(&detail),
            _ => detail,
        };
        ConnectError(Box::new(Inner {
            kind,
            url: None,
            detail,
            hint: None,
            source: None,
            other: None,
        }))
    }

    /// Sets the URL of the attempt. Omits credentials and the query, which may contain a token.
    #[must_use]
    pub fn with_url(mut self, url: &str) -> Self {
        self.0.url = Some(redacted_url(url));
        self
    }

    /// Sets the client or service to which the connection could not be opened.
    #[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
    pub(crate) fn with_peer(mut self, peer: &str) -> Self {
        self.0.url = Some(peer.to_owned());
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into().into());
        self
    }

    pub(crate) fn with_cause(mut self, cause: Option<Cause>) -> Self {
        self.0.source = cause;
        self
    }

    /// Replaces the fix at the end of the message.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn with_hint(mut self, hint: Option<String>) -> Self {
        self.0.hint = hint;
        self
    }

    /// Creates the error for a connect timeout. `proxy` is the proxy, without its credentials.
    pub(crate) fn late(limit: Duration, proxy: Option<String>) -> Self {
        let mut late = ConnectError::new(ConnectErrorKind::Timeout, format!("{limit:?}"));
        late.0.hint = proxy.map(|proxy| {
            format!("check whether the proxy {proxy} is right, or list the host in NO_PROXY")
        });
        late
    }

    /// Sets the URL, unless one is set.
    pub(crate) fn at(self, url: Option<&str>) -> Self {
        match url {
            Some(url) if self.0.url.is_none() => self.with_url(url),
            _ => self,
        }
    }

    /// Combines the errors of two transports. Returns the more informative error, which contains
    /// the other error.
    pub(crate) fn after(self, earlier: ConnectError) -> Self {
        let (mut main, other) = match self.kind().progress() > earlier.kind().progress() {
            true => (self, earlier),
            false => (earlier, self),
        };
        main.0.other = Some(other);
        main
    }

    /// Combines a timeout of the whole attempt with the error of a transport that was tried before.
    pub(crate) fn late_after(mut self, earlier: Option<ConnectError>) -> Self {
        match earlier {
            Some(earlier) if earlier.kind() != ConnectErrorKind::Timeout => self.after(earlier),
            earlier => {
                self.0.other = earlier;
                self
            }
        }
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub fn kind(&self) -> ConnectErrorKind {
        self.0.kind
    }

    /// Returns the URL of the attempt, without credentials and query. For
    /// [`Transport::WebSocket`](crate::transport::Transport::WebSocket) this is the `ws://` or
    /// `wss://` URL of the socket.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.0.url.as_deref()
    }

    /// Returns the server's message, the fault in a URL, or the target of a redirect, as the URL
    /// for [`connect`](crate::connect()). May be empty.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Returns the error of the other transport, if both were tried (`Transport::Auto`). `self` is
    /// the error of the attempt with more progress.
    #[must_use]
    pub fn other_attempt(&self) -> Option<&ConnectError> {
        self.0.other.as_ref()
    }

    /// Returns whether the same attempt may succeed later without a change by this program. The
    /// table of [`ConnectErrorKind`] lists the kinds. If two transports were tried and no Hypha
    /// server responded, one retryable error is enough. If a Hypha server rejected the client, only
    /// that error counts.
    ///
    /// A client that was connected before also retries after TLS, HTTP status and redirect errors,
    /// although the table lists them as not retryable. Its URL worked before, and proxies and
    /// hotspots may cause such errors temporarily.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        let kind = self.kind();
        let other = match kind.is_below_the_protocol() {
            true => self.other_attempt(),
            false => None,
        };
        kind.is_retryable() || other.is_some_and(|other| other.kind().is_retryable())
    }

    pub(crate) fn cause(&self) -> Option<Cause> {
        self.0.source.clone()
    }

    /// Creates the error from the message in an `error` frame of the handshake
    /// (`docs/protocol/01-transport-websocket.md#s4`). Servers send no error code, so the kind is
    /// derived from the fixed parts of the message.
    pub(crate) fn from_server(message: String) -> Self {
        let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
        let kind = if says(&["Authentication error", "Token has been revoked"]) {
            ConnectErrorKind::TokenRejected
        } else if says(&["Client already exists"]) {
            ConnectErrorKind::ClientIdInUse
        } else if says(&["Server busy", "Authentication payload timeout"]) {
            ConnectErrorKind::Busy
        } else if says(&[
            "Permission denied for workspace",
            "does not exist or is not accessible",
            "does not match the specified workspace",
            "workspace mismatch",
        ]) {
            ConnectErrorKind::WrongWorkspace
        } else {
            ConnectErrorKind::Refused
        };
        ConnectError::new(kind, message)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { detail, .. } = &*self.0;
        let hint = self.0.hint.as_deref();
        let url = self.url().unwrap_or("the server");
        match self.kind() {
            ConnectErrorKind::InvalidUrl => write!(f, "invalid server URL `{url}`: {detail}")?,
            ConnectErrorKind::UnknownTransport => write!(
                f,
                "unknown transport `{detail}`: it is `websocket`, or with the feature `http` also \
                 `http` or `auto`"
            )?,
            ConnectErrorKind::Dns => write!(
                f,
                "cannot find the host of {url}: check the host name and the network"
            )?,
            ConnectErrorKind::ConnectionRefused => write!(
                f,
                "cannot reach {url}: no program listens there, start the server or check host and \
                 port"
            )?,
            ConnectErrorKind::Unreachable => {
                write!(f, "cannot reach {url}: check the network and firewalls")?;
            }
            ConnectErrorKind::Tls(TlsFailure::UnknownIssuer) => write!(
                f,
                "the certificate of {url} is signed by an authority that this machine does not \
                 trust: install that authority, set the option `ca_certificate`, or accept the \
                 certificate with `danger_accept_invalid_certificates` on a network you trust"
            )?,
            ConnectErrorKind::Tls(TlsFailure::NameMismatch) => write!(
                f,
                "the certificate of {url} is for another host name: connect with a host name that it lists"
            )?,
            ConnectErrorKind::Tls(TlsFailure::Expired) => write!(
                f,
                "the certificate of {url} is not valid now: renew it, or set the clock of this \
                 machine"
            )?,
            ConnectErrorKind::Tls(TlsFailure::NotTls) => write!(
                f,
                "{url} does not speak TLS: use `http://` or `ws://`, or the TLS port of the server"
            )?,
            ConnectErrorKind::Tls(TlsFailure::CertificateRequired) => write!(
                f,
                "{url} requires a certificate of this client: set the option `identity`"
            )?,
            ConnectErrorKind::Tls(TlsFailure::Other) => write!(
                f,
                "no encrypted connection to {url}: check the TLS settings of the server and of \
                 this machine"
            )?,
            ConnectErrorKind::HttpStatus(status) => {
                write!(f, "{url} answered with HTTP status {status}")?;
                if !detail.is_empty() {
                    write!(f, " ({detail})")?;
                }
                let fix = match self.kind().is_retryable() {
                    true => "try again later",
                    false => "check that the URL is that of a Hypha server",
                };
                write!(f, ": {}", hint.unwrap_or(fix))?;
            }
            ConnectErrorKind::Redirect => {
                let fix = hint.unwrap_or("connect to that address");
                let to = match detail.as_str() {
                    "" => "an empty address",
                    to => to,
                };
                write!(f, "{url} redirects to {to}: {fix}")?;
            }
            ConnectErrorKind::InvalidOption => {
                write!(f, "cannot connect to {url} with the option {detail}")?;
            }
            ConnectErrorKind::Proxy(failure) => {
                let (failed, help) = failure.texts();
                write!(f, "cannot reach {url}: the proxy {detail} {failed}: {help}")?;
            }
            ConnectErrorKind::NotHypha => write!(
                f,
                "{url} does not answer like a Hypha server: check host and port, and whether it \
                 requires `https://` or `wss://`"
            )?,
            ConnectErrorKind::ConnectionLost => {
                write!(f, "{url} ended the connection during the handshake")?;
                if !detail.is_empty() {
                    write!(f, " ({detail})")?;
                }
                f.write_str(": try again later")?;
                let is_plain = url.starts_with("http:") || url.starts_with("ws:");
                if detail.is_empty() && is_plain {
                    f.write_str(", or use `https://` or `wss://` if the port requires TLS")?;
                }
            }
            ConnectErrorKind::TokenRejected => {
                write!(f, "{url} rejected the token: {detail}")?;
            }
            ConnectErrorKind::WrongWorkspace => write!(f, "wrong workspace at {url}: {detail}")?,
            ConnectErrorKind::ClientIdInUse => {
                write!(f, "the client id is in use at {url}: {detail}")?;
            }
            ConnectErrorKind::Busy => write!(f, "{url} is not ready: {detail}")?,
            ConnectErrorKind::Refused => write!(f, "{url} refused the connection: {detail}")?,
            ConnectErrorKind::Protocol => {
                write!(
                    f,
                    "unexpected message from {url} during the handshake: {detail}"
                )?;
            }
            ConnectErrorKind::PeerConnection => {
                let peer = self.url().unwrap_or("the peer");
                write!(f, "no peer connection with {peer}: {detail}")?;
            }
            ConnectErrorKind::Timeout => {
                write!(f, "not connected to {url}")?;
                if !detail.is_empty() {
                    write!(f, " within {detail}")?;
                }
                if let Some(hint) = hint {
                    write!(f, ": {hint}")?;
                }
            }
        }
        match self.other_attempt() {
            Some(other) if other.kind() != self.kind() => {
                write!(f, "; the other transport failed too: {other}")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ConnectError");
        shown
            .field("kind", &self.0.kind)
            .field("url", &self.0.url)
            .field("detail", &self.0.detail)
            .field("source", &self.0.source);
        if let Some(other) = &self.0.other {
            shown.field("other_attempt", other);
        }
        shown.finish()
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        source_of(&self.0.source)
    }
}

impl PartialEq for ConnectError {
    fn eq(&self, other: &Self) -> bool {
        let [a, b] = [&self.0, &other.0];
        (a.kind, &a.url, &a.detail, &a.other) == (b.kind, &b.url, &b.detail, &b.other)
    }
}

impl Eq for ConnectError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attempt_with_more_progress_is_the_error() {
        let socket = ConnectError::new(ConnectErrorKind::HttpStatus(404), "").with_url("ws://h/ws");
        let http =
            ConnectError::new(ConnectErrorKind::TokenRejected, "no").with_url("http://h/rpc");
        let both = http.clone().after(socket.clone());
        assert_eq!(both.kind(), ConnectErrorKind::TokenRejected);
        assert_eq!(both.other_attempt(), Some(&socket));
        assert!(both.to_string().contains("ws://h/ws"), "{both}");

        // Both attempts made equal progress. The first one is the error, and the message names the
        // kind only once.
        let refused = ConnectErrorKind::ConnectionRefused;
        let first = ConnectError::new(refused, "").with_url("ws://h/ws");
        let second = ConnectError::new(refused, "").with_url("http://h/rpc");
        let both = second.after(first);
        assert_eq!(both.url(), Some("ws://h/ws"));
        assert!(!both.to_string().contains("other transport"), "{both}");
    }

    #[test]
    fn one_retryable_transport_is_enough() {
        let socket = ConnectError::new(ConnectErrorKind::HttpStatus(404), "");
        let http = ConnectError::new(ConnectErrorKind::HttpStatus(503), "");
        assert!(!socket.is_retryable());
        assert!(http.after(socket).is_retryable());

        // The server rejected the token, so it is reachable, and a retry would fail too.
        let socket = ConnectError::new(ConnectErrorKind::HttpStatus(502), "");
        let http = ConnectError::new(ConnectErrorKind::TokenRejected, "");
        assert!(!http.after(socket).is_retryable());
    }
}
