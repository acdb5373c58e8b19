//! Tests that the options, variables, metrics and paths in the operator's handbook exist, and that
//! its list of settings is complete.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::project_root;
use hypha_rpc_tests::servers::{Kind, Server, http_get};

const HANDBOOK: &str = include_str!("../../docs/operate/README.md");
const DASHBOARD: &str = include_str!("../../docs/operate/dashboard.json");
/// Set to write the list of settings anew.
const BLESS: &str = "HYPHA_TEST_BLESS";

/// Options of the Python server that the handbook explains. The help omits them, because they have
/// no effect.
const WITHOUT_EFFECT: [&str; 1] = ["--startup-functions"];

/// Returns the words of a text that begin with `prefix`.
fn words(text: &'static str, prefix: &str) -> BTreeSet<&'static str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.split(|c| !is_part(c))
        .filter(|word| {
            let rest = word.strip_prefix(prefix).unwrap_or_default();
            rest.starts_with(|c: char| c.is_ascii_alphabetic())
        })
        .collect()
}

fn help() -> Result<String> {
    let help = Command::new(executable("hypha-server")?)
        .arg("--help")
        .output()
        .context("cannot run hypha-server")?;
    Ok(String::from_utf8(help.stdout)?)
}

/// Returns the page with all settings, made from the help.
fn configuration(help: &str) -> String {
    let (_, options) = help.split_once("\nOptions:\n").unwrap_or_default();
    let options = options.split("\nExample").next().unwrap_or_default();
    let mut page = String::from(
        "# Settings of `hypha-server`\n\nThe options of `hypha-server --help`, in its words. An \
         option takes precedence over its variable.\nAn empty variable counts as not set.\n",
    );
    let head = |title: &str| {
        format!("\n## {title}\n\n| option | variable | description |\n| --- | --- | --- |\n")
    };
    page += &head("Server");
    let (mut option, mut variable) = (String::new(), String::new());
    let mut description: Vec<&str> = Vec::new();
    // The last line ends the last option.
    for line in options.lines().chain(["End:"]) {
        let text = line.trim();
        let heading = line.strip_suffix(':').filter(|it| !it.starts_with(' '));
        let begins = line.starts_with("      --") || line.starts_with("  -");
        if heading.is_some() || begins {
            if !option.is_empty() {
                let description = description.join(" ").replace('|', "\\|");
                let description = description.replace('<', "\\<");
                page += &format!("| `{option}` | {variable} | {description} |\n");
            }
            (option, variable) = (String::new(), String::new());
            description.clear();
        }
        match (heading, text.strip_prefix("[env: ")) {
            (Some("End"), _) => {}
            (Some(title), _) => page += &head(title),
            (None, Some(name)) => {
                let name = name.trim_end_matches(|c| c == ']' || c == '=');
                variable = format!("`{name}`");
            }
            (None, None) if begins => text.clone_into(&mut option),
            (None, None) if !text.is_empty() => description.push(text),
            (None, None) => {}
        }
    }
    page
}

#[test]
fn the_commands_of_the_handbook_are_accepted() -> Result<()> {
    let blocks = HANDBOOK.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    let commands = lines.filter_map(|line| line.strip_prefix("hypha-server"));
    let mut count = 0;
    for command in commands {
        let output = Command::new(executable("hypha-server")?)
            .args(command.split_whitespace())
            .arg("--print-config")
            .output()?;
        ensure!(output.status.success(), "hypha-server{command}: {output:?}");
        count += 1;
    }
    ensure!(count >= 3, "{count} commands");
    Ok(())
}

#[test]
fn the_health_check_of_the_image_works() -> Result<()> {
    let path = project_root().join("hypha-server/deploy/Dockerfile");
    let image = std::fs::read_to_string(path)?;
    let (_, check) = image.split_once("HEALTHCHECK ").context("no check")?;
    let command = check.lines().nth(1).context("no command")?;
    let command: Vec<String> = serde_json::from_str(command.trim())?;
    let Some(server) = Server::shared(Kind::Ours) else {
        return Ok(());
    };
    let port = server.url.rsplit(':').next().context("no port")?;
    let port = port.trim_end_matches('/').to_owned();
    let run = |port: &str, base: &str| -> Result<bool> {
        let (program, arguments) = command.split_first().context("no program")?;
        let mut check = Command::new(program);
        let check = check.args(arguments).env("HYPHA_PORT", port);
        let check = check.env("HYPHA_BASE_PATH", base).output()?;
        Ok(check.status.success())
    };
    ensure!(run(&port, "")?, "a healthy server is not healthy");
    ensure!(!run(&port, "/nowhere")?, "another path is healthy");
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let free = listener.local_addr()?.port().to_string();
    drop(listener);
    ensure!(!run(&free, "")?, "no server is healthy");
    Ok(())
}

#[test]
fn the_list_of_settings_is_complete() -> Result<()> {
    let path = project_root().join("docs/operate/configuration.md");
    let page = configuration(&help()?);
    ensure!(page.matches("\n| `--").count() > 90, "{page}");
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, &page)?;
    }
    let written = std::fs::read_to_string(&path)?;
    ensure!(
        written == page,
        "docs/operate/configuration.md is outdated; set {BLESS} to write it"
    );
    Ok(())
}

fn check() -> Result<()> {
    let help = help()?;
    let options = words(HANDBOOK, "--");
    ensure!(
        options.contains("--redis-uri"),
        "no options found: {options:?}"
    );
    for option in options {
        let known = help.contains(option) || WITHOUT_EFFECT.contains(&option);
        ensure!(known, "hypha-server has no option {option}");
    }
    let variables = words(HANDBOOK, "HYPHA_");
    ensure!(variables.len() > 8, "no variables found: {variables:?}");
    for variable in variables {
        let named = help.contains(&format!("[env: {variable}"));
        ensure!(named, "hypha-server does not read {variable}");
    }
    let Some(server) = Server::shared(Kind::Ours) else {
        return Ok(());
    };
    let (_, metrics) = http_get(&server.url, "/metrics")?;
    let mut named = words(HANDBOOK, "hypha_server_");
    let drawn = words(DASHBOARD, "hypha_server_");
    ensure!(drawn.len() > 10, "no metrics found: {drawn:?}");
    named.extend(drawn);
    ensure!(named.len() > 5, "no metrics found: {named:?}");
    for metric in named {
        let found = metrics.lines().any(|line| {
            let name = line.split([' ', '{']).next();
            name == Some(metric)
        });
        ensure!(found, "/metrics has no {metric}");
    }
    for path in ["/health", "/health/liveness", "/health/readiness"] {
        ensure!(HANDBOOK.contains(path), "the handbook does not name {path}");
        ensure!(http_get(&server.url, path)?.0 == 200, "{path} fails");
    }
    Ok(())
}

#[test]
fn the_handbook_is_correct() {
    if let Err(error) = check() {
        panic!("{error:#}");
    }
}
