//! A WebSocket where one can be opened, and HTTP where not.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Dial, Dialing, http, websocket};
use crate::error::report;

/// A WebSocket, or HTTP where none can be opened.
#[derive(Debug)]
pub(crate) struct Fallback {
    socket: websocket::Dialer,
    http: http::Dialer,
    /// Whether the link opened last uses HTTP.
    over_http: AtomicBool,
}

impl Fallback {
    /// Tries `socket` first, each time.
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
            // It is opened by the first frame, and reports both failures then.
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
