//! `hypha context`: manages the stored servers and tokens.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::config::{Config, Profile};
use crate::failure::Failure;
use crate::output;

/// Manage contexts: server, workspace and token under one name
///
/// Contexts are stored in hypha/config.json in the user's configuration folder, or in the file at
/// the path in the variable HYPHA_CONFIG. Only the user can read the file.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha context add lab --server-url https://hypha.example.org --workspace microscopes
  hypha context use lab
  hypha context ls
  hypha context rm lab")]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the contexts; an asterisk marks the current context
    #[command(
        visible_alias = "list",
        after_long_help = "Example:\n  hypha context ls --json"
    )]
    Ls {
        /// Print as JSON, without tokens
        #[arg(long)]
        json: bool,
    },
    /// Choose the context for later commands
    #[command(after_long_help = "Example:\n  hypha context use lab")]
    Use {
        /// Name of the context
        name: String,
    },
    /// Add or replace a context
    ///
    /// `hypha login` stores a token in the context. The first context becomes the current context.
    #[command(
        after_long_help = "Example:\n  hypha context add lab --server-url https://hypha.example.org"
    )]
    Add {
        /// Name of the context
        name: String,
        /// URL of the server
        #[arg(long, value_name = "URL")]
        server_url: String,
        /// Workspace to connect to. Default: the user's own workspace
        #[arg(long, value_name = "NAME")]
        workspace: Option<String>,
        /// Access token. Other users may see it in the list of processes; `hypha login
        /// --with-token` reads it from the standard input instead
        #[arg(long)]
        token: Option<String>,
    },
    /// Remove a context and its token
    #[command(
        visible_alias = "remove",
        after_long_help = "Example:\n  hypha context rm lab"
    )]
    Rm {
        /// Name of the context
        name: String,
    },
}

pub(crate) fn run(options: Options) -> Result<()> {
    let mut config = Config::load()?;
    match options.action {
        Action::Ls { json } => return list(&config, json),
        Action::Use { name } => {
            config.get(&name)?;
            config.current = Some(name);
        }
        Action::Add {
            name,
            server_url,
            workspace,
            token,
        } => {
            if name.trim().is_empty() {
                return Err(Failure::Usage("a context needs a name".into()).into());
            }
            let profile = Profile {
                server_url,
                workspace,
                token,
            };
            config.contexts.insert(name.clone(), profile);
            config.current.get_or_insert(name);
        }
        Action::Rm { name } => {
            if config.contexts.remove(&name).is_none() {
                return Err(config.unknown(&name).into());
            }
            config.current.take_if(|current| *current == name);
        }
    }
    config.save()
}

fn list(config: &Config, as_json: bool) -> Result<()> {
    let is_current = |name: &str| config.current.as_deref() == Some(name);
    if as_json {
        let contexts = config.contexts.iter().map(|(name, profile)| {
            json!({
                "name": name,
                "current": is_current(name),
                "server_url": profile.server_url,
                "workspace": profile.workspace,
                "token": profile.token.is_some(),
            })
        });
        return output::json(&contexts.collect::<Vec<_>>());
    }
    let rows = config.contexts.iter().map(|(name, profile)| {
        vec![
            if is_current(name) { "*" } else { "" }.to_owned(),
            name.clone(),
            profile.server_url.clone(),
            profile.workspace.clone().unwrap_or_default(),
            if profile.token.is_some() { "yes" } else { "no" }.to_owned(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let head = ["", "NAME", "SERVER", "WORKSPACE", "TOKEN"];
    output::write(&output::table(&head, &rows), None)
}
