//! [`Transport::Auto`](super::Transport::Auto): a WebSocket, or HTTP if no WebSocket can be opened.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Dial, Dialing, http, websocket};
use crate::error::report;

/// Opens a WebSocket, or an HTTP link if the WebSocket fails below the protocol. If a Hypha server
/// refuses, that is final, because HTTP would reach the same server.
#[derive(Debug)]
pub(crate) struct Fallback {
    socket: websocket::Dialer,
    http: http::Dialer,
    /// Whether the latest link uses HTTP. Relaxed is enough: the task that sets it also reads it,
    /// later.
    over_http: AtomicBool,
}

impl Fallback {
    /// Creates a dialer that tries `socket` first for each new link, because the proxy that blocked
    /// WebSockets may be gone.
    pub(crate) fn new(socket: websocket::Dialer, http: http::Dialer) -> Self {
        Fallback {
            socket,
            http,
            over_http: false.into(),
        }
    }
}

impl Dial for Fallback {
    fn dial(&self) -> Dialing<'_> {
        Box::pin(async {
            let opened = self.socket.dial().await;
            let error = match opened {
                Err(error) if error.kind().is_below_the_protocol() => error,
                opened => {
                    self.over_http.store(false, Ordering::Relaxed);
                    return opened;
                }
            };
            tracing::warn!("no WebSocket ({}), trying HTTP", report(&error));
            self.over_http.store(true, Ordering::Relaxed);
            // The first frame opens the HTTP link. If that fails, the link reports both failures.
            Ok(self.http.link_after(Some(error)))
        })
    }

    fn connection_type(&self) -> &'static str {
        match self.over_http.load(Ordering::Relaxed) {
            true => self.http.connection_type(),
            false => self.socket.connection_type(),
        }
    }

    fn url(&self) -> Option<&str> {
        match self.over_http.load(Ordering::Relaxed) {
            true => self.http.url(),
            false => self.socket.url(),
        }
    }
}
