//! The workspace, client id and user of a connection.

use crate::workspace::UserInfo;
use hypha_wire::Map;

/// Identity of a client, as the server assigned it in its `connection_info` (protocol 01 §3).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Identity {
    /// The workspace this client is in.
    pub workspace: String,
    /// The id of this client.
    pub client_id: String,
    /// The id of the workspace manager, whose address is `*/<manager id>`.
    pub manager_id: Option<String>,
    /// The server's public URL, which marks functions as belonging to that server.
    pub public_base_url: Option<String>,
    /// The user this client is connected as.
    pub user: UserInfo,
    /// Transport of the messages, `websocket` or `http_streaming`, as contexts of calls report it.
    pub connection_type: &'static str,
    /// The whole `connection_info`, unknown keys included.
    pub connection_info: Map,
}

impl Identity {
    /// Returns an identity for a link without the handshake of a server.
    pub fn new(workspace: impl Into<String>, client_id: impl Into<String>) -> Self {
        Identity {
            workspace: workspace.into(),
            client_id: client_id.into(),
            connection_type: "websocket",
            ..Identity::default()
        }
    }

    /// Returns the address, `workspace/client`.
    pub fn address(&self) -> String {
        format!("{}/{}", self.workspace, self.client_id)
    }
}
