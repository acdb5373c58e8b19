//! The identity of a client, as the server grants it.

use hypha_wire::Map;

use super::UserInfo;

/// Who this client is: what the server said in its `connection_info` (protocol 01 §3).
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
    /// What carries the messages: `websocket`, `http_streaming`; contexts of calls say so.
    pub connection_type: &'static str,
    /// Everything the server said, unknown keys included.
    pub connection_info: Map,
}

impl Identity {
    /// An identity on a link without a server's handshake.
    pub fn new(workspace: impl Into<String>, client_id: impl Into<String>) -> Self {
        Identity {
            workspace: workspace.into(),
            client_id: client_id.into(),
            connection_type: "websocket",
            ..Identity::default()
        }
    }

    /// `workspace/client`.
    pub fn address(&self) -> String {
        format!("{}/{}", self.workspace, self.client_id)
    }
    /// `*/<manager id>`, if there is a manager.
    pub(crate) fn manager_address(&self) -> Option<String> {
        self.manager_id.as_ref().map(|id| format!("*/{id}"))
    }
}
