//! Identity of a client. The server assigns the identity.

use hypha_wire::Map;

use super::UserInfo;

/// Identity of a client, from the server's `connection_info`
/// (`docs/protocol/01-transport-websocket.md#s3`).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Identity {
    /// Workspace of the client.
    pub workspace: String,
    /// Id of the client in its workspace.
    pub client_id: String,
    /// Id of the workspace manager. Its address is `*/<manager id>`.
    pub manager_id: Option<String>,
    /// Public URL of the server. A function with this URL belongs to a client of this server.
    pub public_base_url: Option<String>,
    /// Authenticated user of the client.
    pub user: UserInfo,
    /// Kind of the link: `websocket` or `http_streaming`.
    /// [`Context::connection_type`](crate::Context::connection_type) returns it.
    pub connection_type: &'static str,
    /// All keys of `connection_info`, including unknown keys.
    pub connection_info: Map,
}

impl Identity {
    /// Creates an identity for a link that has no handshake. The identity has no manager, and its
    /// user is anonymous.
    pub fn new(workspace: impl Into<String>, client_id: impl Into<String>) -> Self {
        Identity {
            workspace: workspace.into(),
            client_id: client_id.into(),
            connection_type: "websocket",
            ..Identity::default()
        }
    }

    /// Returns the address `workspace/client`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}/{}", self.workspace, self.client_id)
    }
    /// Returns the address of the manager, `*/<manager id>`, if there is one.
    pub(crate) fn manager_address(&self) -> Option<String> {
        self.manager_id.as_ref().map(|id| format!("*/{id}"))
    }
}
