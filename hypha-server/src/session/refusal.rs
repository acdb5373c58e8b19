//! Types for refusals of clients, and the WebSocket close codes of these refusals. The module
//! `http` converts refusals to HTTP statuses.

use std::fmt;

use crate::peer::CloseOrder;
use crate::registry::RegistryError;

/// Close codes (RFC 6455, section 7.4.1) that the server uses.
pub(crate) mod code {
    /// The server stops, or the server has closed an idle or replaced connection.
    pub(crate) const GOING_AWAY: u16 = 1001;
    /// The client violates the WebSocket protocol.
    pub(crate) const PROTOCOL: u16 = 1002;
    /// The first frame cannot be decoded.
    pub(crate) const UNSUPPORTED: u16 = 1003;
    /// The server refuses the client, or the client does not read.
    pub(crate) const POLICY: u16 = 1008;
    /// A frame or message is larger than the limit.
    pub(crate) const TOO_LARGE: u16 = 1009;
    /// Memory or slots are exhausted. The client may try again later.
    pub(crate) const TRY_AGAIN: u16 = 1013;
}

/// The kind of a refusal. The kind determines the close code and the HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// The first frame cannot be decoded.
    Undecodable,
    /// The token is invalid or expired.
    Credentials,
    /// The token was revoked.
    Revoked,
    /// The credentials are valid but do not permit the request.
    Denied,
    /// Another client has the address, and that client responds to pings.
    Taken,
    /// A limit on the number of connections is reached, or a client over HTTP exceeds its rate
    /// limit.
    TooMany,
    /// The server has no free slot or memory. A later attempt may succeed.
    Busy,
    /// The server could not check the request, for example because Redis does not respond.
    Failed,
}

/// The refusal of a client. The client receives `message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: RefusalKind,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind, message: impl fmt::Display) -> Refusal {
        Refusal {
            kind,
            message: message.to_string(),
        }
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        Refusal::new(RefusalKind::Failed, error)
    }
}

impl From<Refusal> for CloseOrder {
    /// Returns the close code and the reason that the Python server uses, because clients compare
    /// both.
    fn from(refusal: Refusal) -> Self {
        let Refusal { kind, message } = refusal;
        match kind {
            RefusalKind::Busy => CloseOrder::new(code::TRY_AGAIN, message),
            RefusalKind::Undecodable => {
                CloseOrder::new(code::UNSUPPORTED, message).with_error_frame()
            }
            RefusalKind::Credentials | RefusalKind::TooMany => {
                CloseOrder::new(code::POLICY, message).with_error_frame()
            }
            RefusalKind::Revoked
            | RefusalKind::Denied
            | RefusalKind::Taken
            | RefusalKind::Failed => {
                let message = format!("Failed to establish connection: {message}");
                CloseOrder::new(code::GOING_AWAY, message).with_error_frame()
            }
        }
    }
}
