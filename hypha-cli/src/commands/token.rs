//! `hypha token`: creates, revokes and inspects tokens.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use hypha_rpc::Client;
use hypha_rpc::workspace::{ManagerError, TokenConfig, UserInfo};

use crate::commands::whoami;
use crate::connection::ConnectionOptions;
use crate::failure::Failure;
use crate::{duration, output};

/// Create, revoke and inspect tokens
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha token create --permission read --expires-in 7d
  hypha token inspect < token.txt
  hypha token revoke < token.txt")]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Create a token for a workspace in which the user is admin, and print it
    #[command(after_long_help = "Example:\n  hypha token create --permission read --expires-in 7d")]
    Create {
        #[command(flatten)]
        connection: ConnectionOptions,
        /// Lifetime of the token, such as 12h or 7d
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration::parse)]
        expires_in: Duration,
        /// Permission of the token: read, read_write or admin
        #[arg(long, default_value = "read_write", value_parser = ["read", "read_write", "admin"])]
        permission: String,
        /// Workspace of the token. Default: the workspace of the connection
        #[arg(long = "for", value_name = "WORKSPACE")]
        target: Option<String>,
        /// Id of the only client that may use the token
        #[arg(long, value_name = "ID")]
        client_id: Option<String>,
        /// Additional scopes of the token, separated by commas
        #[arg(long, value_name = "WORD", value_delimiter = ',')]
        scope: Vec<String>,
    },
    /// Revoke a token
    #[command(after_long_help = "Example:\n  hypha token revoke < token.txt")]
    Revoke {
        #[command(flatten)]
        connection: ConnectionOptions,
        #[command(flatten)]
        token: Token,
    },
    /// Show the user, the permissions and the expiry of a token
    #[command(after_long_help = "Example:\n  hypha token inspect --json < token.txt")]
    Inspect {
        #[command(flatten)]
        connection: ConnectionOptions,
        #[command(flatten)]
        token: Token,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct Token {
    /// Token. Default: read from the standard input, where other users cannot see it
    #[arg(value_name = "TOKEN")]
    given: Option<String>,
}

impl Token {
    fn read(self) -> Result<String> {
        let token = match self.given {
            Some(token) => token,
            None => {
                let mut token = String::new();
                let mut input = std::io::stdin().lock();
                input
                    .read_to_string(&mut token)
                    .context("cannot read the standard input")?;
                token
            }
        };
        Ok(token.trim().to_owned())
    }
}

pub(crate) async fn run(options: Options) -> Result<()> {
    match options.action {
        Action::Create {
            connection,
            expires_in,
            permission,
            target,
            client_id,
            scope,
        } => {
            if connection.resolve()?.token.is_none() {
                // The workspace of an anonymous user ends with the connection.
                let text = "cannot create a token for an anonymous user: log in with `hypha \
                            login`, or set --token";
                return Err(Failure::Denied(text.into()).into());
            }
            let config = TokenConfig {
                expires_in: Some(expires_in.as_secs()),
                workspace: target.clone(),
                permission: Some(permission.as_str().into()),
                extra_scopes: Some(scope).filter(|scope| !scope.is_empty()),
                client_id,
                ..TokenConfig::default()
            };
            let client = connection.connect().await?;
            let token = create(&client, target.as_deref(), config).await;
            client.disconnect().await;
            output::say(&token?)
        }
        Action::Revoke { connection, token } => {
            let token = token.read()?;
            let client = connection.connect().await?;
            let revoked = revoke_at(&client, token).await;
            client.disconnect().await;
            revoked?;
            output::say("Revoked")
        }
        Action::Inspect {
            connection,
            token,
            json,
        } => {
            let user = inspect(&connection, token.read()?).await?;
            if json {
                return output::json(&user);
            }
            output::write(&whoami::text(&whoami::about(&user)), None)
        }
    }
}

/// Creates a token for the workspace `target`, or for that of the connection.
async fn create(client: &Client, target: Option<&str>, config: TokenConfig) -> Result<String> {
    let manager = client.manager().await?;
    if let Some(target) = target {
        let of_target = || format!("cannot create a token for the workspace `{target}`");
        // Administrators could create a token for a workspace that does not exist.
        let found = manager.get_workspace_info(Some(target.to_owned())).await;
        found.with_context(of_target)?;
    }
    Ok(manager.generate_token(Some(config)).await?)
}

/// Returns the user of a token.
async fn inspect(connection: &ConnectionOptions, token: String) -> Result<UserInfo> {
    let client = connection.connect().await?;
    let user = client.manager().await?.parse_token(token.clone()).await;
    client.disconnect().await;
    match user {
        // A server parses only tokens for the workspace of the connection. For a token of another
        // workspace, this function opens a second connection that authenticates with that token.
        Err(hypha_rpc::Error::Service(ManagerError::Permission(_))) => {
            let server_url = connection.resolve()?.server_url;
            let client = hypha_rpc::connect(server_url)
                .token(token)
                .silent(true)
                .await?;
            let user = client.user();
            client.disconnect().await;
            Ok(user)
        }
        user => Ok(user?),
    }
}

/// Revokes a token.
pub(crate) async fn revoke_at(client: &Client, token: String) -> Result<()> {
    Ok(client.manager().await?.revoke_token(token).await?)
}
