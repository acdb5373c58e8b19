//! The authenticated caller of a link without a server.
//!
//! A server writes the sender into each message, so that callers cannot forge it. A link between
//! two peers has no server: the peer writes its own messages. All calls on such a link have the
//! same caller, the client that opened the link with a call through the server.

use super::UserInfo;

/// Client at the other end of a link, as authenticated by the server when the link was opened.
///
/// Contexts and permissions of calls come from it, and never from the messages of the link.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(all(feature = "webrtc", not(target_family = "wasm"))),
    allow(dead_code, reason = "only data channels have no server")
)]
pub(crate) struct LinkPeer {
    /// Address of the client at the server, `workspace/client`.
    pub(crate) address: String,
    pub(crate) workspace: String,
    pub(crate) user: UserInfo,
}
