//! A request that was refused before its method ran.

use super::CallSite;

/// The peer or the server refused the request.
///
/// The method did not run. Retryable if [`RejectKind::is_retryable`] says so.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
#[error("{call}: {message}")]
pub struct Rejection {
    /// The reason, for programs.
    pub kind: RejectKind,
    /// The reason in the words of the side that refused.
    pub message: String,
    /// The call that was refused.
    pub call: CallSite,
}

/// The reasons of a [`Rejection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectKind {
    /// No service has this id. Check the id, and that its host is connected.
    UnknownService,
    /// The service has no such method, or no longer has it.
    UnknownMethod,
    /// Arguments are missing, unknown, too many or of the wrong type; the message names them.
    InvalidArguments,
    /// The caller is not allowed to do this. Use another token, or change the service's visibility.
    PermissionDenied,
    /// The addressed client is not connected. Retryable: it may come back.
    PeerNotConnected,
    /// The function belonged to a call that has ended.
    Expired,
    /// More than one service fits the query. Name the client, or choose a mode of selection.
    Ambiguous,
    /// The peer has too many calls in progress. Retryable after a pause.
    Busy,
}

impl RejectKind {
    /// Returns whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, RejectKind::PeerNotConnected | RejectKind::Busy)
    }

    /// The name under which a Rust peer sends this kind (`_rname`), which others ignore.
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

    /// Reads the fixed texts of the other clients and servers (`docs/protocol/02-messages.md#s7`,
    /// `#s8`). They are the only sign those peers give. A method may raise an exception that begins
    /// alike, so the text has to name the very call that was made.
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
