//! Requests that were rejected before their method ran.

use super::CallSite;

/// The peer or the server rejected the request before its method ran.
///
/// Retryable if [`RejectKind::is_retryable`] is true.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
#[error("{call}: {message}")]
pub struct Rejection {
    /// Reason as an enum.
    pub kind: RejectKind,
    /// Reason as a message of the peer or server that rejected the request.
    pub message: String,
    /// Call that was rejected.
    pub call: CallSite,
}

/// Reason of a [`Rejection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectKind {
    /// No service has this id. Check the id, and whether the provider of the service is connected.
    UnknownService,
    /// The service has no such method, or no longer has it.
    UnknownMethod,
    /// Arguments are missing, unknown, too many or of a wrong type. The message names them.
    InvalidArguments,
    /// The caller has no permission for the request. Use another token, or change the visibility of
    /// the service.
    PermissionDenied,
    /// The addressed client is not connected. Retryable: it may reconnect.
    PeerNotConnected,
    /// The function was released, or the call that it belonged to has ended. Get a new function.
    Expired,
    /// More than one service matches the query. Specify the client in the id, or set a selection
    /// mode.
    Ambiguous,
    /// The peer has too many calls in progress, or is disconnecting. Retryable after a pause.
    Busy,
}

impl RejectKind {
    /// Returns whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, RejectKind::PeerNotConnected | RejectKind::Busy)
    }

    /// Returns the name that Rust peers send for this kind (`_rname`). Other peers ignore it.
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

    /// Derives the kind from the fixed messages of Python and JavaScript peers
    /// (`docs/protocol/02-messages.md#s7`, `#s8`), which send no name. Most messages must also name
    /// the called method. Otherwise an exception of the method, whose message may begin with the
    /// same words, would count as a rejection.
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
