//! `hypha login` and `hypha logout`: obtain, store and remove tokens.

use std::io::{IsTerminal as _, Read as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::config::{self, Config, Profile};
use crate::connection::{Connection, ConnectionOptions, DEFAULT_URL, is_same};
use crate::failure::Failure;
use crate::{duration, output};

/// Log in with a browser and store the token
///
/// Prints the URL of the login page and opens the page in a browser, if there is one. The token is
/// stored in the configuration file, which only the user can read. Later commands use the token.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha login --server-url https://hypha.example.org
  hypha login --context lab --no-browser
  hypha login --with-token < token.txt")]
pub(crate) struct Options {
    #[command(flatten)]
    connection: ConnectionOptions,
    /// Lifetime of the token, such as 12h or 7d; applies only with --workspace
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    expires_in: Option<Duration>,
    /// Time to wait for the login
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration::parse)]
    timeout: Duration,
    /// Only print the URL, do not open a browser
    #[arg(long)]
    no_browser: bool,
    /// Read the token from the standard input
    #[arg(long)]
    with_token: bool,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let (name, connection) = target(&options.connection)?;
    let token = if options.with_token {
        let mut token = String::new();
        let mut input = std::io::stdin().lock();
        input
            .read_to_string(&mut token)
            .context("cannot read the standard input")?;
        token.trim().to_owned()
    } else {
        by_browser(&connection, &options).await?
    };
    if token.is_empty() {
        return Err(Failure::Usage("the token is empty".into()).into());
    }
    let connection = Connection {
        token: Some(token.clone()),
        ..connection
    };
    // This connection checks the token before the context stores it.
    let client = connection.options().silent(true).await?;
    let (user, workspace) = (client.user(), client.workspace());
    client.disconnect().await;
    let mut config = Config::load()?;
    let profile = Profile {
        server_url: connection.server_url.clone(),
        workspace: connection.workspace,
        token: Some(token),
    };
    config.contexts.insert(name.clone(), profile);
    config.current = Some(name.clone());
    config.save()?;
    let user = output::line(user.email.as_deref().unwrap_or(&user.id));
    output::say(&format!(
        "Logged in as {user} in {workspace} (context {name})"
    ))
}

/// Returns the name of the context that will store the token, and the connection settings. A new
/// context is named after the option `--context`, or after the host.
fn target(options: &ConnectionOptions) -> Result<(String, Connection)> {
    let mut config = Config::load()?;
    if let Some(name) = &options.context {
        // A new context stores the server that a command without a context would use.
        let url = options
            .server_url
            .clone()
            .or_else(|| config::variable("HYPHA_SERVER_URL"));
        let server_url = url.unwrap_or_else(|| DEFAULT_URL.to_owned());
        config
            .contexts
            .entry(name.clone())
            .or_insert_with(|| Profile {
                server_url,
                ..Profile::default()
            });
    }
    let connection = options.resolve_with(&config)?;
    let url = &connection.server_url;
    let of_server = |(_, profile): &(&String, &Profile)| is_same(&profile.server_url, url);
    let name = options
        .context
        .clone()
        .or_else(|| connection.context.clone());
    let name = name.or_else(|| {
        config
            .contexts
            .iter()
            .find(of_server)
            .map(|(name, _)| name.clone())
    });
    let name = name.unwrap_or_else(|| match host(url) {
        "" => config::DEFAULT_NAME.to_owned(),
        host => host.to_owned(),
    });
    Ok((name, connection))
}

/// Returns the host of a URL, with the port.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

async fn by_browser(connection: &Connection, options: &Options) -> Result<String> {
    let mut login = hypha_rpc::login(&connection.server_url).timeout(options.timeout);
    if let Some(workspace) = &connection.workspace {
        login = login.workspace(workspace);
    }
    if let Some(life) = options.expires_in {
        login = login.expires_in(life);
    }
    let opens = !options.no_browser && std::io::stderr().is_terminal();
    let login = login.on_url(move |page| async move {
        output::note(&format!("Log in at {}", output::clean(&page.login_url)));
        if opens {
            open(&page.login_url);
        }
    });
    Ok(login.await?)
}

/// Opens a URL in the user's browser, if there is one.
fn open(url: &str) {
    // Open only web pages, because the server chooses the URL, and another scheme could start a
    // program.
    if !(url.starts_with("https://") || url.starts_with("http://")) {
        return;
    }
    let (program, arguments): (&str, &[&str]) = if cfg!(target_os = "macos") {
        ("open", &[])
    } else if cfg!(windows) {
        ("rundll32", &["url.dll,FileProtocolHandler"])
    } else {
        ("xdg-open", &[])
    };
    let mut command = Command::new(program);
    command.args(arguments).arg(url);
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // If the program does not exist, the user can still open the printed URL.
    drop(command.spawn());
}

/// Remove the token of a context
///
/// Prints the page that ends the session with the identity provider, if the server has one.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha logout
  hypha logout --context lab --revoke")]
pub(crate) struct LogoutOptions {
    /// Context whose token is removed. Default: the current context
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Revoke the token at the server, so that copies of it are useless
    #[arg(long)]
    revoke: bool,
    /// Do not ask the server for the logout page
    #[arg(long)]
    local: bool,
}

pub(crate) async fn logout(options: LogoutOptions) -> Result<()> {
    let mut config = Config::load()?;
    let name = options.context.or_else(|| config.current.clone());
    let name = name.ok_or_else(|| Failure::NotFound("there is no context to log out of".into()))?;
    let profile = config.get(&name)?.clone();
    let Some(token) = profile.token.clone() else {
        return output::say(&format!("Context {name} has no token"));
    };
    if options.revoke {
        let connection = Connection {
            context: None,
            server_url: profile.server_url.clone(),
            token: Some(token.clone()),
            workspace: profile.workspace.clone(),
        };
        let client = connection.options().silent(true).await?;
        let revoked = super::token::revoke_at(&client, token).await;
        let has_expiry = client.user().expires_at.is_some();
        client.disconnect().await;
        if revoked.is_err() && !has_expiry {
            let text = "this token has no expiry, so it cannot be revoked, and was not removed. A \
                        root token ends when the server gets another one (--root-token). `hypha \
                        logout` without --revoke removes it from the context";
            return Err(Failure::Denied(text.into()).into());
        }
        revoked.context("the token was not removed, because it cannot be revoked")?;
    }
    if let Some(profile) = config.contexts.get_mut(&name) {
        profile.token = None;
    }
    config.save()?;
    output::say(&format!(
        "Logged out of {} (context {name})",
        profile.server_url
    ))?;
    if !options.local {
        // The token is removed even if the server cannot be reached.
        match hypha_rpc::logout(&profile.server_url)
            .on_url(|_| async {})
            .await
        {
            Ok(url) => output::note(&format!("End the session at {}", output::clean(&url))),
            Err(error) => output::note(&format!("The server has no logout page: {error}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_has_the_name_of_the_host() {
        assert_eq!(host("https://hypha.example.org/base"), "hypha.example.org");
        assert_eq!(host("http://user:pass@localhost:9527"), "localhost:9527");
        assert_eq!(host("localhost:9527"), "localhost:9527");
    }
}
