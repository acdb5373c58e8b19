//! Error of a request that was rejected before the method ran.

use super::CallSite;

/// The peer or the server rejected the request before the called method ran.
///
/// The error is retryable if [`RejectKind::is_retryable`] returns true.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
#[error("{call}: {}", .call.without_method(.message))]
pub struct Rejection {
    /// Reason as an enum.
    pub kind: RejectKind,
    /// Reason as a message. The peer or the server that rejected the request sent the message.
    pub message: String,
    /// Call that was rejected.
    pub call: CallSite,
}

/// Reason of a [`Rejection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectKind {
    /// No service has this id. Check the id, and check whether the provider of the service is
    /// connected.
    UnknownService,
    /// The service does not have this method, or has removed the method.
    UnknownMethod,
    /// The arguments of the call are wrong: an argument is missing, unknown or of a wrong type, or
    /// there are too many arguments. The message names the wrong arguments.
    InvalidArguments,
    /// The caller has no permission for the request. Use another token, or change the visibility of
    /// the service.
    PermissionDenied,
    /// The addressed client is not connected. The error is retryable, because the client may
    /// reconnect.
    PeerNotConnected,
    /// The function was released, or the call in which the function was an argument has ended. Get
    /// a new function.
    Expired,
    /// More than one service matches the query. Specify the client in the id, or set a selection
    /// mode.
    Ambiguous,
    /// The peer has too many calls in progress, or the peer is disconnecting. The error is
    /// retryable after a pause.
    Busy,
}

impl RejectKind {
    /// Returns whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, RejectKind::PeerNotConnected | RejectKind::Busy)
    }

    /// Returns the name of this kind that Rust peers send in `_rname`. Peers in other languages
    /// ignore the name.
    pub(crate) fn wire_name(self) -> &'static str {
        match self {
            RejectKind::UnknownService => "hypha.UnknownService",
            RejectKind::UnknownMethod => "hypha.UnknownMethod",
            RejectKind::InvalidArguments => "hypha.InvalidArguments",
            RejectKind::PermissionDenied => "hypha.PermissionDenied",
            RejectKind::PeerNotConnected => "hypha.PeerNotConnected",
            RejectKind::Expired => "hypha.Expired",
            RejectKind::Ambiguous => "hypha.Ambiguous",
            RejectKind::Busy => "hypha.Busy",
        }
    }

    pub(super) fn from_wire_name(name: &str) -> Option<Self> {
        [
            RejectKind::UnknownService,
            RejectKind::UnknownMethod,
            RejectKind::InvalidArguments,
            RejectKind::PermissionDenied,
            RejectKind::PeerNotConnected,
            RejectKind::Expired,
            RejectKind::Ambiguous,
            RejectKind::Busy,
        ]
        .into_iter()
        .find(|kind| kind.wire_name() == name)
    }

    /// Determines the kind from the message. Python and JavaScript peers send no name, but their
    /// messages are fixed (`docs/protocol/02-messages.md#s7`, `#s8`). Most of these messages must
    /// also contain the name of the called method. Otherwise, an exception in the method would
    /// count as a rejection if its message began with the same words.
    pub(super) fn from_text(message: &str, call: &CallSite) -> Option<Self> {
        let of_call = message.contains(&format!(":services.{}", call.method));
        let built_in = call.method.starts_with("built-in.");
        let forms: [(&str, bool, RejectKind); 10] = [
            ("Method not found: ", of_call, RejectKind::UnknownMethod),
            (
                "Method expired or not found: ",
                of_call,
                RejectKind::UnknownMethod,
            ),
            ("Invalid method: ", of_call, RejectKind::UnknownMethod),
            (
                "Permission denied for invoking protected method ",
                of_call,
                RejectKind::PermissionDenied,
            ),
            (
                "Permission denied for getting protected service: ",
                built_in,
                RejectKind::PermissionDenied,
            ),
            ("Service not found: ", built_in, RejectKind::UnknownService),
            (
                "Access denied for method call (",
                true,
                RejectKind::PermissionDenied,
            ),
            ("Session not found: ", true, RejectKind::Expired),
            ("Parent session was closed: ", true, RejectKind::Expired),
            (
                "Target peer ",
                message.ends_with("is not connected") && message.contains(&call.peer),
                RejectKind::PeerNotConnected,
            ),
        ];
        let text = message.trim_start_matches(['\'', '"']);
        let found = forms
            .into_iter()
            .find(|(begin, fits, _)| *fits && text.starts_with(begin));
        found.map(|(_, _, kind)| kind)
    }
}
