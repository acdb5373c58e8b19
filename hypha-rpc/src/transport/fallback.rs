//! A WebSocket where one can be opened, and HTTP where not.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Dial, Dialing, http, websocket};
use crate::error::ConnectError;

/// A WebSocket, or HTTP where none can be opened.
#[derive(Debug)]
pub struct Fallback {
    socket: websocket::Dialer,
    http: http::Dialer,
    /// What the link is that was opened last.
    over_http: AtomicBool,
}

impl Fallback {
    /// Tries `socket` first, each time.
    pub fn new(socket: websocket::Dialer, http: http::Dialer) -> Self {
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
            let over_http = match &opened {
                Err(error @ ConnectError::Unreachable { .. }) => {
                    tracing::warn!("no WebSocket ({error}), trying HTTP");
                    true
                }
                _ => false,
            };
            self.over_http.store(over_http, Ordering::Relaxed);
            if over_http {
                return self.http.dial().await;
            }
            opened
        })
    }

    fn connection_type(&self) -> &'static str {
        match self.over_http.load(Ordering::Relaxed) {
            true => self.http.connection_type(),
            false => self.socket.connection_type(),
        }
    }
}
