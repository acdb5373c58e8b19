//! Reasons why a call has no result. `call/mod.rs` converts each reason to an
//! [`Error`](crate::Error). For the conversion, `call/mod.rs` adds the error type of the contract
//! and the call site, which the engine does not know.

use std::fmt;
use std::time::Duration;

use crate::error::{Cause, LinkError, report};
use hypha_wire::{EncodeError, Message, Value, WireError};

/// Reason why a call has no result. If `sent` is true, the request was sent, and the method may
/// have run.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The peer rejected the call, or the method failed. Contains the message of the peer.
    Rejected(Box<Message>),
    /// The idle timeout elapsed.
    Silent { limit: Duration, sent: bool },
    /// The total timeout elapsed.
    Late { limit: Duration, sent: bool },
    /// The peer, the link or the connection was lost.
    Lost { loss: Loss, sent: bool },
    /// An argument cannot be encoded.
    Encode(EncodeError),
    /// The message does not fit into a frame, and the peer cannot receive chunks.
    NoChunks,
    /// The response violates the protocol.
    Unreadable {
        message: String,
        cause: Option<Cause>,
    },
}

/// Part of the connection to the callee that was lost. Contains the reason.
#[derive(Clone, Debug)]
pub(crate) enum Loss {
    /// The peer of the call disconnected.
    Peer(LinkError),
    /// The link to the server was lost. The client opens another link.
    Link(LinkError),
    /// The connection is permanently closed.
    Connection(LinkError),
}

impl Loss {
    pub(crate) fn reason(&self) -> &LinkError {
        match self {
            Loss::Peer(reason) | Loss::Link(reason) | Loss::Connection(reason) => reason,
        }
    }

    /// Returns the failure of a call when the part was lost before the request was sent.
    pub(super) fn before_sending(self) -> Failure {
        Failure::Lost {
            loss: self,
            sent: false,
        }
    }
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Self {
        Failure::Encode(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Rejected(message) => f.write_str(&rejection(message).message),
            Failure::Silent { limit, .. } => write!(f, "no heartbeat or response within {limit:?}"),
            Failure::Late { limit, .. } => write!(f, "no response within {limit:?}"),
            Failure::Lost { loss, .. } => f.write_str(&report(loss.reason())),
            Failure::Encode(e) => e.fmt(f),
            Failure::NoChunks => f.write_str(NO_CHUNKS),
            Failure::Unreadable { message, cause } => match cause {
                Some(cause) => write!(f, "{message}: {cause}"),
                None => f.write_str(message),
            },
        }
    }
}

/// Message of [`Failure::NoChunks`]. The Python client uses the same message, and some programs
/// check for this message.
pub(crate) const NO_CHUNKS: &str =
    "Remote client does not support message caching for long message.";

/// Returns the error in a `reject` message.
pub(crate) fn rejection(message: &Message) -> WireError {
    let value = message
        .extra()
        .and_then(|extra| extra.args.get(0).unwrap_or(Ok(Value::Null)));
    match value {
        Ok(value) => WireError::from_value(value),
        Err(e) => WireError::new(format!("the error cannot be decoded: {e}")),
    }
}
