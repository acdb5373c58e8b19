//! The target of a call.

use hypha_wire::MethodRef;

use crate::error::CallSite;

/// A function of a peer.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) function: MethodRef,
    /// The absolute address of the owner.
    pub(crate) address: String,
    /// `service.method`, for messages.
    pub(crate) label: String,
    /// Session of the owner in which the function was handed out. `None` for methods of services.
    pub(crate) parent: Option<String>,
}

impl Target {
    /// Returns the method and the peer, for errors.
    pub(crate) fn site(&self) -> CallSite {
        CallSite {
            method: self.label.clone(),
            peer: self.address.clone(),
        }
    }
}
