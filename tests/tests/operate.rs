//! Tests that the options, variables, metrics and paths in the operator's handbook exist, and that
//! its list of settings is complete.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::peers::{or_skip, python_program};
use hypha_rpc_tests::project_root;
use hypha_rpc_tests::servers::{Kind, Server, http_get};

const HANDBOOK: &str = include_str!("../../docs/operate/README.md");
const MIGRATING: &str = include_str!("../../docs/operate/migrating.md");
const DASHBOARD: &str = include_str!("../../docs/operate/dashboard.json");
/// Set to write the list of settings anew.
const BLESS: &str = "HYPHA_TEST_BLESS";

/// Options of the Python server that the handbook explains, and options of other programs. The help
/// of the server omits them.
const NOT_IN_HELP: [&str; 4] = [
    "--startup-functions",
    "--from-env",
    "--interactive",
    "--env-file",
];

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

/// Options and variables of the Python server that have no effect, and for which the program logs
/// no warning, because users do not miss the effect.
const QUIET: [&str; 7] = [
    "--from-env",
    "--in-docker",
    "--disable-ssl",
    "--enable-server",
    "--enable-mcp",
    "--enable-a2a",
    "HYPHA_DISABLE_INPROCESS_BROWSER_WORKER",
];
/// Variables that the program reads in addition to the variables of its options.
const READ: [&str; 2] = ["JWT_SECRET", "HYPHA_LOGLEVEL"];

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
                let name = name.trim_end_matches([']', '=']);
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

/// The settings that the installed Python server reads.
#[derive(serde::Deserialize)]
struct PythonSettings {
    options: Vec<PythonOption>,
    variables: Vec<String>,
}

#[derive(serde::Deserialize)]
struct PythonOption {
    name: String,
    flag: bool,
    number: bool,
}

impl PythonOption {
    /// Returns the option with a value that the Python server accepts.
    fn arguments(&self) -> Vec<&str> {
        let value = match self.name.as_str() {
            _ if self.flag => return vec![&self.name],
            _ if self.number => "1",
            "--host" => "127.0.0.1",
            "--allow-origins" => "*",
            "--base-path" => "/hypha",
            "--public-base-url" => "https://hypha.example.org",
            "--redis-uri" => "redis://127.0.0.1",
            "--server-id" => "one",
            "--static-mounts" => "/pages:.",
            _ => "a value of at least 32 characters",
        };
        vec![&self.name, value]
    }
}

/// Returns the settings that the Python server reads, or `None` if it is not installed.
fn python_settings() -> Result<Option<PythonSettings>> {
    let Some(mut program) = or_skip(python_program("server_settings.py")) else {
        return Ok(None);
    };
    let output = program.output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(Some(serde_json::from_slice(&output.stdout)?))
}

#[test]
fn every_setting_of_the_python_server_is_accepted_or_reported() -> Result<()> {
    let Some(python) = python_settings()? else {
        return Ok(());
    };
    ensure!(python.options.len() > 50 && python.variables.len() > 80);
    let help = help()?;
    let log = |command: &mut Command| -> Result<String> {
        let output = command.arg("--print-config").output()?;
        let log = String::from_utf8(output.stderr)?;
        ensure!(output.status.success(), "{command:?}: {log}");
        Ok(log)
    };
    let mut lacking = Vec::new();
    for option in &python.options {
        let mut command = Command::new(executable("hypha-server")?);
        let log = log(command.args(option.arguments()));
        let known = help.contains(&format!("{} ", option.name))
            || help.contains(&format!("{}\n", option.name))
            || QUIET.contains(&option.name.as_str());
        let reported = |log: &String| log.contains(&format!("{} has no effect", option.name));
        match log {
            Ok(log) if known || reported(&log) => {}
            Ok(_) => lacking.push(format!("{} is ignored without a warning", option.name)),
            Err(error) => lacking.push(format!("{}: {error:#}", option.name)),
        }
    }
    let of_options = python.options.iter().map(|option| {
        let name = option.name.trim_start_matches('-').replace('-', "_");
        format!("HYPHA_{}", name.to_uppercase())
    });
    let quiet_options: BTreeSet<_> = QUIET
        .iter()
        .filter_map(|name| name.strip_prefix("--"))
        .map(|name| format!("HYPHA_{}", name.replace('-', "_").to_uppercase()))
        .collect();
    let others: BTreeSet<_> = python
        .variables
        .iter()
        .cloned()
        .chain(of_options)
        .filter(|name| !help.contains(&format!("[env: {name}")))
        .filter(|name| !READ.contains(&name.as_str()) && !QUIET.contains(&name.as_str()))
        .filter(|name| !quiet_options.contains(name))
        .collect();
    let mut command = Command::new(executable("hypha-server")?);
    let log = log(command.envs(others.iter().map(|name| (name, "true"))))?;
    for name in &others {
        if !log.contains(&format!("{name} has no effect")) {
            lacking.push(format!("{name} is ignored without a warning"));
        }
    }
    ensure!(lacking.is_empty(), "{lacking:#?}");
    Ok(())
}

fn check() -> Result<()> {
    let help = help()?;
    let mut options = words(HANDBOOK, "--");
    options.extend(words(MIGRATING, "--"));
    ensure!(
        options.contains("--redis-uri"),
        "no options found: {options:?}"
    );
    for option in options {
        let known = help.contains(option) || NOT_IN_HELP.contains(&option);
        ensure!(known, "hypha-server has no option {option}");
    }
    let mut variables = words(HANDBOOK, "HYPHA_");
    variables.extend(words(MIGRATING, "HYPHA_"));
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
    named.extend(words(MIGRATING, "hypha_server_"));
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

/// Returns the names of the metrics that `/metrics` shows.
fn metrics_of(server: &Server) -> Result<BTreeSet<String>> {
    let (status, text) = http_get(&server.url, "/metrics")?;
    ensure!(status == 200, "{status}: {text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.split([' ', '{']).next());
    Ok(names.map(str::to_owned).collect())
}

#[test]
fn the_metrics_of_the_python_server_are_listed_and_kept() -> Result<()> {
    let (_, list) = MIGRATING.split_once("```text\n").context("no list")?;
    let (list, _) = list.split_once("```").context("no end")?;
    let listed: BTreeSet<String> = list.lines().map(str::to_owned).collect();
    if let Some(server) = Server::shared(Kind::Ours) {
        let mut missing = listed.clone();
        let found = metrics_of(&server)?;
        missing.retain(|name| !found.contains(name));
        if !cfg!(target_os = "linux") {
            missing.retain(|name| !name.starts_with("process_"));
        }
        ensure!(missing.is_empty(), "/metrics has no {missing:?}");
    }
    if let Some(server) = Server::shared(Kind::Python) {
        let mut original = metrics_of(&server)?;
        // `event_bus_total` has labels, so it appears only after the first event.
        original.insert("event_bus_total".to_owned());
        original.retain(|name| !name.starts_with("python_") && !name.ends_with("_created"));
        ensure!(original == listed, "the Python server has {original:?}");
    }
    Ok(())
}

#[test]
fn the_handbook_is_correct() {
    if let Err(error) = check() {
        panic!("{error:#}");
    }
}
