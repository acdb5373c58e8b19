//! Refusals of clients, and their form on a WebSocket.

use std::fmt;

use crate::peer::CloseOrder;
use crate::registry::RegistryError;

/// Close codes of the protocol.
pub(crate) mod code {
    pub(crate) const GOING_AWAY: u16 = 1001;
    pub(crate) const PROTOCOL: u16 = 1002;
    pub(crate) const UNSUPPORTED: u16 = 1003;
    pub(crate) const POLICY: u16 = 1008;
    pub(crate) const TOO_LARGE: u16 = 1009;
    pub(crate) const TRY_AGAIN: u16 = 1013;
}

/// The kind of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// The request cannot be understood.
    Undecodable,
    /// The credentials are not accepted.
    Credentials,
    /// The token was revoked.
    Revoked,
    /// The credentials do not permit the request.
    Denied,
    /// The address is in use.
    Taken,
    /// A limit on the number of connections is reached.
    TooMany,
    /// The server is busy; a later attempt may succeed.
    Busy,
    /// The server failed.
    Failed,
}

/// The refusal of a client, with the text that it is told.
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
    /// Returns the code and text of the original server, on which clients match.
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
