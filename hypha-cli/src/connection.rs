//! Options of the subcommands that connect to a server.

use anyhow::Result;
use clap::Args;
use hypha_rpc::{Client, ConnectOptions};

use crate::config::{Config, Profile, variable};

/// Default URL of the server, if no option, variable or context contains a URL.
pub(crate) const DEFAULT_URL: &str = "http://localhost:9527";

#[derive(Args, Clone)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionOptions {
    /// URL of the server
    ///
    /// Default: the variable HYPHA_SERVER_URL, otherwise the URL in the context, otherwise
    /// http://localhost:9527.
    #[arg(long, value_name = "URL")]
    pub(crate) server_url: Option<String>,
    /// Access token. Without a token, the user is anonymous
    ///
    /// Default: the variable HYPHA_TOKEN, otherwise the token in the context. A variable keeps the
    /// token out of the list of processes.
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// Workspace to connect to
    ///
    /// Default: the variable HYPHA_WORKSPACE, otherwise the workspace in the context, otherwise the
    /// user's own workspace.
    #[arg(long, value_name = "NAME")]
    pub(crate) workspace: Option<String>,
    /// Context with the server, workspace and token
    ///
    /// Default: the variable HYPHA_CONTEXT, otherwise the context chosen with `hypha context use`.
    /// If this option is set, the variables for server, token and workspace have no effect.
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// The connection settings that result from options, variables and context.
// This type is not `Debug`, because it holds a token.
pub(crate) struct Connection {
    /// Name of the context, or `None` if the connection uses no context.
    pub(crate) context: Option<String>,
    pub(crate) server_url: String,
    pub(crate) token: Option<String>,
    pub(crate) workspace: Option<String>,
}

impl ConnectionOptions {
    /// Combines the options, the variables and the stored contexts.
    pub(crate) fn resolve(&self) -> Result<Connection> {
        self.resolve_with(&Config::load()?)
    }

    /// Combines the options, the variables and the contexts in `config`. The contexts in `config`
    /// need not be stored yet.
    pub(crate) fn resolve_with(&self, config: &Config) -> Result<Connection> {
        resolve(self, config, variable)
    }

    /// Connects a client that registers no services.
    pub(crate) async fn connect(&self) -> Result<Client> {
        // The error already contains the URL, without credentials and query. So the error needs no
        // further context.
        Ok(self.resolve()?.options().silent(true).await?)
    }
}

impl Connection {
    pub(crate) fn options(&self) -> ConnectOptions {
        let mut connect = hypha_rpc::connect(&self.server_url);
        if let Some(token) = &self.token {
            connect = connect.token(token);
        }
        if let Some(workspace) = &self.workspace {
            connect = connect.workspace(workspace);
        }
        connect
    }
}

fn resolve(
    options: &ConnectionOptions,
    config: &Config,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Connection> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let named = given(&options.context);
    let name = named
        .clone()
        .or_else(|| variable("HYPHA_CONTEXT"))
        .or_else(|| config.current.clone());
    let profile = match &name {
        Some(name) => config.get(name)?.clone(),
        None => Profile::default(),
    };
    // Ignore the variables if the user has selected a context, because the variables may belong to
    // another server.
    let variable = |name: &str| variable(name).filter(|_| named.is_none());
    let pick = |option: &Option<String>, name: &str, of_context: Option<String>| {
        given(option).or_else(|| variable(name)).or(of_context)
    };
    let of_context = Some(profile.server_url.clone()).filter(|url| !url.is_empty());
    let server_url = pick(&options.server_url, "HYPHA_SERVER_URL", of_context);
    let server_url = server_url.unwrap_or_else(|| DEFAULT_URL.to_owned());
    // The token of a context is sent only to the server of that context.
    let is_server = is_same(&server_url, &profile.server_url);
    let of_context = |value: &Option<String>| value.clone().filter(|_| is_server);
    Ok(Connection {
        token: pick(&options.token, "HYPHA_TOKEN", of_context(&profile.token)),
        workspace: pick(
            &options.workspace,
            "HYPHA_WORKSPACE",
            of_context(&profile.workspace),
        ),
        context: name.filter(|_| is_server),
        server_url,
    })
}

/// Returns whether two URLs belong to the same server.
pub(crate) fn is_same(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let profile = |url: &str, token: &str| Profile {
            server_url: url.into(),
            workspace: Some(format!("ws-{token}")),
            token: Some(token.into()),
        };
        Config {
            current: Some("lab".into()),
            contexts: [
                ("lab".to_owned(), profile("http://lab", "lab-token")),
                ("home".to_owned(), profile("http://home", "home-token")),
            ]
            .into(),
        }
    }

    /// Returns the context, the URL, the token and the workspace in one string.
    fn of(options: [Option<&str>; 3], variables: &[(&str, &str)]) -> String {
        let [context, server_url, token] = options.map(|text| text.map(str::to_owned));
        let options = ConnectionOptions {
            server_url,
            token,
            workspace: None,
            context,
        };
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let found = resolve(&options, &config(), variable).unwrap();
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        format!(
            "{} {} {} {}",
            text(found.context),
            found.server_url,
            text(found.token),
            text(found.workspace)
        )
    }

    #[test]
    fn options_override_variables_and_variables_override_the_context() {
        let none = [None; 3];
        assert_eq!(of(none, &[]), "lab http://lab lab-token ws-lab-token");
        let token = [("HYPHA_TOKEN", "t")];
        assert_eq!(of(none, &token), "lab http://lab t ws-lab-token");
        assert_eq!(
            of([None, None, Some("o")], &token),
            "lab http://lab o ws-lab-token"
        );
        let context = [("HYPHA_CONTEXT", "home")];
        assert_eq!(
            of(none, &context),
            "home http://home home-token ws-home-token"
        );
        let home = [Some("home"), None, None];
        let url = [("HYPHA_SERVER_URL", "http://other"), ("HYPHA_TOKEN", "t")];
        assert_eq!(of(home, &url), "home http://home home-token ws-home-token");
    }

    #[test]
    fn a_token_is_sent_only_to_its_own_server() {
        let other = [None, Some("http://other"), None];
        assert_eq!(of(other, &[]), "- http://other - -");
        assert_eq!(
            of([None; 3], &[("HYPHA_SERVER_URL", "http://other")]),
            "- http://other - -"
        );
        let same = [None, Some("http://lab/"), None];
        assert_eq!(of(same, &[]), "lab http://lab/ lab-token ws-lab-token");
    }

    #[test]
    fn an_unknown_context_is_an_error() {
        let options = ConnectionOptions {
            server_url: None,
            token: None,
            workspace: None,
            context: Some("none".into()),
        };
        let error = resolve(&options, &config(), |_| None).err().unwrap();
        assert_eq!(
            error.to_string(),
            "there is no context `none` (contexts: home, lab)"
        );
    }
}
