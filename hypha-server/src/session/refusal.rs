//! Why somebody does not get in, and how each transport says so.

use std::fmt;

use super::CloseOrder;
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

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The request cannot be understood.
    Undecodable,
    /// The credentials are not accepted.
    Credentials,
    /// They were, once.
    Revoked,
    /// They are, but not for this.
    Denied,
    /// What was asked for is not there.
    Missing,
    /// Somebody else has it.
    Taken,
    /// One more than is allowed.
    TooMany,
    /// Not now.
    Busy,
    /// The server cannot do it.
    Failed,
}

/// A client that is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) why: Why,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(why: Why, message: impl fmt::Display) -> Refusal {
        Refusal {
            why,
            message: message.to_string(),
        }
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        Refusal::new(Why::Failed, error)
    }
}

impl From<Refusal> for CloseOrder {
    /// The codes and texts of the original's WebSocket, on which clients match.
    fn from(refusal: Refusal) -> Self {
        let Refusal { why, message } = refusal;
        match why {
            Why::Busy => CloseOrder::new(code::TRY_AGAIN, message),
            Why::Undecodable => CloseOrder::new(code::UNSUPPORTED, message).with_error_frame(),
            Why::Credentials | Why::TooMany => {
                CloseOrder::new(code::POLICY, message).with_error_frame()
            }
            Why::Revoked | Why::Denied | Why::Missing | Why::Taken | Why::Failed => {
                let message = format!("Failed to establish connection: {message}");
                CloseOrder::new(code::GOING_AWAY, message).with_error_frame()
            }
        }
    }
}
