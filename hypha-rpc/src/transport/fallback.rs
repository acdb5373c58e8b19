//! [`Transport::Auto`](super::Transport::Auto): a WebSocket, or HTTP if no WebSocket can be opened.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::{Dial, Dialing, http, websocket};
use crate::error::{ConnectError, ConnectErrorKind, report};

/// Opens a WebSocket, or an HTTP link if the WebSocket fails below the protocol. If a Hypha server
/// refuses the client, HTTP is not tried, because HTTP would reach the same server.
#[derive(Debug)]
pub(crate) struct Fallback {
    socket: websocket::Dialer,
    http: http::Dialer,
    /// Timeout of the attempt to open a WebSocket.
    limit: Duration,
    /// Whether the latest link uses HTTP. `Relaxed` is enough, because one task both writes and
    /// reads it.
    over_http: AtomicBool,
    /// Error of the latest attempt to open a WebSocket.
    earlier: Mutex<Option<ConnectError>>,
}

impl Fallback {
    /// Creates a dialer. For each link, the dialer tries `socket` first, because a proxy that
    /// blocked WebSockets may have been removed. `limit` is the timeout of the whole attempt to
    /// connect. The WebSocket gets half of this time, so that time is left for HTTP if a proxy
    /// never responds to the WebSocket.
    pub(crate) fn new(socket: websocket::Dialer, http: http::Dialer, limit: Duration) -> Self {
        Fallback {
            socket,
            http,
            limit: limit / 2,
            over_http: false.into(),
            earlier: Mutex::default(),
        }
    }
}

impl Dial for Fallback {
    fn dial(&self) -> Dialing<'_> {
        Box::pin(async {
            let opened = crate::runtime::timeout(self.limit, self.socket.dial()).await;
            let opened = opened.unwrap_or_else(|_| {
                Err(ConnectError::late(self.limit, self.socket.proxy()).at(self.socket.url()))
            });
            let is_late = |error: &ConnectError| error.kind() == ConnectErrorKind::Timeout;
            let error = match opened {
                Err(error) if error.kind().is_below_the_protocol() || is_late(&error) => error,
                opened => {
                    *self.earlier.lock() = None;
                    self.over_http.store(false, Ordering::Relaxed);
                    return opened;
                }
            };
            tracing::warn!("no WebSocket ({}), trying HTTP", report(&error));
            self.over_http.store(true, Ordering::Relaxed);
            *self.earlier.lock() = Some(error.clone());
            // The first frame opens the HTTP link. If opening fails, the link reports both errors.
            Ok(self.http.link_after(Some(error)))
        })
    }

    fn connection_type(&self) -> &'static str {
        match self.over_http.load(Ordering::Relaxed) {
            true => self.http.connection_type(),
            false => self.socket.connection_type(),
        }
    }

    fn proxy(&self) -> Option<String> {
        // Both transports use the same proxy.
        self.http.proxy()
    }

    fn earlier_failure(&self) -> Option<ConnectError> {
        self.earlier.lock().clone()
    }

    fn url(&self) -> Option<&str> {
        match self.over_http.load(Ordering::Relaxed) {
            true => self.http.url(),
            false => self.socket.url(),
        }
    }
}
