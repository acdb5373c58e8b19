//! Type for the target of a call.

use hypha_wire::MethodRef;

use crate::error::CallSite;

/// Function or method of a peer.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) function: MethodRef,
    /// Absolute address of the owner.
    pub(crate) address: String,
    /// `service.method`, for error messages.
    pub(crate) label: String,
    /// Session in which the owner exported the function. `None` for the methods of services.
    pub(crate) parent: Option<String>,
}

impl Target {
    /// Returns the name of the method and the address of the peer, for errors.
    pub(crate) fn site(&self) -> CallSite {
        CallSite {
            method: self.label.clone(),
            peer: self.address.clone(),
        }
    }
}
