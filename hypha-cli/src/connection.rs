//! Connection options, shared by every subcommand that connects to a server.

use anyhow::Result;
use clap::Args;
use hypha_rpc::Client;

// No doc comment: clap would show it as the description of the subcommand.
#[derive(Args)]
pub(crate) struct ConnectionOptions {
    /// URL of the server
    #[arg(
        long,
        value_name = "URL",
        env = "HYPHA_SERVER_URL",
        default_value = "http://localhost:9527"
    )]
    server_url: String,
    /// Access token. Without a token, the user is anonymous
    #[arg(long, env = "HYPHA_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Workspace to connect to. Default: the user's own
    #[arg(long, value_name = "NAME", env = "HYPHA_WORKSPACE")]
    workspace: Option<String>,
}

impl ConnectionOptions {
    /// Connects a client that registers no services.
    pub(crate) async fn connect(self) -> Result<Client> {
        let mut connect = hypha_rpc::connect(&self.server_url).silent(true);
        if let Some(token) = self.token {
            connect = connect.token(token);
        }
        if let Some(workspace) = self.workspace {
            connect = connect.workspace(workspace);
        }
        // The error contains the URL without credentials and query.
        Ok(connect.await?)
    }
}
