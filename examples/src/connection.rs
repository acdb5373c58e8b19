//! Connection of the conformance programs, and its options on the command line.

use clap::Args;
use hypha_rpc::crypto::KeyPair;
use hypha_rpc::prelude::*;
use hypha_rpc::transport::Transport;

/// Options of a connection.
#[derive(Args, Clone, Debug)]
pub struct ConnectionOptions {
    /// URL of the Hypha server.
    #[arg(long)]
    pub server_url: String,
    /// Workspace to connect to. Default: the user's own workspace.
    #[arg(long)]
    pub workspace: Option<String>,
    /// Access token for the workspace.
    #[arg(long)]
    pub token: Option<String>,
    /// Id of this client. Default: a random id.
    #[arg(long)]
    pub client_id: Option<String>,
    /// Transport: `websocket`, `http` or `auto`.
    #[arg(long, default_value = "websocket")]
    pub transport: Transport,
}

impl ConnectionOptions {
    /// Connects, with these keys for encryption.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](hypha_rpc::connect()).
    pub async fn connect(&self, keys: Option<KeyPair>) -> Result<Client, Error> {
        let mut connect = hypha_rpc::connect(&self.server_url).transport(self.transport);
        if let Some(workspace) = &self.workspace {
            connect = connect.workspace(workspace);
        }
        if let Some(token) = &self.token {
            connect = connect.token(token);
        }
        if let Some(client_id) = &self.client_id {
            connect = connect.client_id(client_id);
        }
        if let Some(keys) = keys {
            connect = connect.encryption(keys);
        }
        connect.await
    }
}
