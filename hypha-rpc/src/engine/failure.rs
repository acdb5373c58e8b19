//! Why a call has no result, before it is an error of the caller's type.

use std::fmt;
use std::time::Duration;

use crate::error::{Cause, LinkError, report};
use hypha_wire::{EncodeError, Message, Value, WireError};

/// Why there is no result.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Rejected(Box<Message>),
    Silent {
        limit: Duration,
        sent: bool,
    },
    Late {
        limit: Duration,
        sent: bool,
    },
    Lost {
        loss: Loss,
        sent: bool,
    },
    Encode(EncodeError),
    /// The peer cannot take a message of that size.
    NoChunks,
    /// The response violates the protocol.
    Unreadable {
        message: String,
        cause: Option<Cause>,
    },
}

/// The part of the way to the callee that is lost, with the reason.
#[derive(Clone, Debug)]
pub(crate) enum Loss {
    /// The peer of a call.
    Peer(LinkError),
    /// The link to the server; it is made again.
    Link(LinkError),
    /// The whole connection.
    Connection(LinkError),
}

impl Loss {
    pub(crate) fn reason(&self) -> &LinkError {
        match self {
            Loss::Peer(reason) | Loss::Link(reason) | Loss::Connection(reason) => reason,
        }
    }

    /// The failure of a call that was not sent.
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
            Failure::Silent { limit, .. } => write!(f, "no heartbeat or answer within {limit:?}"),
            Failure::Late { limit, .. } => write!(f, "no answer within {limit:?}"),
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

/// Other clients know this text.
pub(crate) const NO_CHUNKS: &str =
    "Remote client does not support message caching for long message.";

/// Returns the error that was given to `reject`.
pub(crate) fn rejection(message: &Message) -> WireError {
    let value = message
        .extra()
        .and_then(|extra| extra.args.get(0).unwrap_or(Ok(Value::Null)));
    match value {
        Ok(value) => WireError::from_value(value),
        Err(e) => WireError::new(format!("an error that cannot be read: {e}")),
    }
}
