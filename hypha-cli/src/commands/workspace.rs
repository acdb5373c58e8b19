//! `hypha workspace`: manages the workspaces that the user may enter.

use anyhow::Result;
use clap::{Args, Subcommand};
use hypha_rpc::workspace::{WorkspaceConfig, WorkspaceListing, WorkspaceProperties};

use crate::config::Config;
use crate::connection::ConnectionOptions;
use crate::failure::Failure;
use crate::output;

/// Number of workspaces in one page of the list that the server returns.
const PAGE: usize = 256;

/// List, create, choose and delete workspaces
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha workspace ls
  hypha workspace create microscopes --description 'The microscopes of the lab' --persistent
  hypha workspace use microscopes
  hypha workspace delete microscopes --yes")]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the workspaces that the user may enter
    #[command(
        visible_alias = "list",
        after_long_help = "Example:\n  hypha workspace ls --json"
    )]
    Ls {
        #[command(flatten)]
        connection: ConnectionOptions,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Create a workspace
    #[command(after_long_help = "Example:\n  hypha workspace create microscopes --persistent")]
    Create {
        #[command(flatten)]
        connection: ConnectionOptions,
        /// Name of the workspace: lower-case letters, digits and hyphens
        id: String,
        /// Display name
        #[arg(long)]
        name: Option<String>,
        /// Description, one sentence
        #[arg(long)]
        description: Option<String>,
        /// Ids or e-mail addresses of additional owners
        #[arg(long, value_name = "USER", value_delimiter = ',')]
        owners: Vec<String>,
        /// Keep the workspace when its last client leaves
        #[arg(long)]
        persistent: bool,
        /// Replace an existing workspace with this name
        #[arg(long)]
        overwrite: bool,
        /// Print the record as JSON
        #[arg(long)]
        json: bool,
    },
    /// Choose the workspace for later commands, in the current context
    #[command(after_long_help = "Example:\n  hypha workspace use microscopes")]
    Use {
        /// Name of the workspace
        id: String,
        /// Context to change. Default: the current context
        #[arg(long, value_name = "NAME")]
        context: Option<String>,
    },
    /// Delete a workspace and disconnect its clients
    #[command(after_long_help = "Example:\n  hypha workspace delete microscopes --yes")]
    Delete {
        #[command(flatten)]
        connection: ConnectionOptions,
        /// Name of the workspace
        id: String,
        /// Do not ask for confirmation
        #[arg(long, short)]
        yes: bool,
    },
}

pub(crate) async fn run(options: Options) -> Result<()> {
    match options.action {
        Action::Ls { connection, json } => list(&connection, json).await,
        Action::Create {
            connection,
            id,
            name,
            description,
            owners,
            persistent,
            overwrite,
            json,
        } => {
            let properties = WorkspaceProperties {
                description,
                persistent,
                owners,
                ..WorkspaceProperties::default()
            };
            let config = WorkspaceConfig {
                name: name.or_else(|| Some(id.clone())),
                id: Some(id),
                properties,
            };
            let client = connection.connect().await?;
            let created = client
                .manager()
                .await?
                .create_workspace(config, overwrite)
                .await;
            client.disconnect().await;
            let created = created?;
            if json {
                return output::json(&created);
            }
            output::say(&format!("Created {}", output::line(&created.id)))
        }
        Action::Use { id, context } => choose(id, context).await,
        Action::Delete {
            connection,
            id,
            yes,
        } => {
            if !yes && !output::confirm(&format!("Delete the workspace {id} and its data?"))? {
                return Err(Failure::Interrupted.into());
            }
            let client = connection.connect().await?;
            let deleted = client.manager().await?.delete_workspace(id.clone()).await;
            client.disconnect().await;
            deleted?;
            output::say(&format!("Deleted {id}"))
        }
    }
}

async fn list(connection: &ConnectionOptions, as_json: bool) -> Result<()> {
    let client = connection.connect().await?;
    let manager = client.manager().await?;
    let mut workspaces: Vec<WorkspaceListing> = Vec::new();
    loop {
        let offset = workspaces.len() as i64;
        let page = manager.list_workspaces(None, offset, PAGE as i64).await?;
        let is_last = page.len() < PAGE;
        workspaces.extend(page);
        if is_last {
            break;
        }
    }
    let own = client.workspace();
    client.disconnect().await;
    if as_json {
        return output::json(&workspaces);
    }
    let rows = workspaces.iter().map(|workspace| {
        vec![
            if workspace.id == own { "*" } else { "" }.to_owned(),
            workspace.id.clone(),
            workspace.name.clone(),
            if workspace.persistent { "yes" } else { "no" }.to_owned(),
            workspace.description.clone().unwrap_or_default(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let head = ["", "ID", "NAME", "PERSISTENT", "DESCRIPTION"];
    output::write(&output::table(&head, &rows), None)
}

async fn choose(id: String, context: Option<String>) -> Result<()> {
    let mut config = Config::load()?;
    let name = context.or_else(|| config.current.clone());
    let name = name.ok_or_else(|| {
        let text = "there is no context; `hypha context add NAME --server-url URL` adds one";
        Failure::NotFound(text.into())
    })?;
    config.get(&name)?;
    if let Some(profile) = config.contexts.get_mut(&name) {
        profile.workspace = Some(id.clone());
        // Connect to the workspace first, so that the context does not store a workspace that the
        // user may not enter.
        let mut options = hypha_rpc::connect(&profile.server_url)
            .workspace(&id)
            .silent(true);
        if let Some(token) = &profile.token {
            options = options.token(token);
        }
        options.await?.disconnect().await;
    }
    config.save()?;
    output::say(&format!("Context {name} uses the workspace {id}"))
}
