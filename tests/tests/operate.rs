//! Tests that the options, variables, metrics and paths in the operator's handbook exist.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::servers::{Kind, Server, http_get};

const HANDBOOK: &str = include_str!("../../docs/operate/README.md");

/// Options of the Python server that the handbook explains. The help omits them, because they have
/// no effect.
const WITHOUT_EFFECT: [&str; 1] = ["--startup-functions"];

/// Returns the words of the handbook that begin with `prefix`.
fn words(prefix: &str) -> BTreeSet<&'static str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    HANDBOOK
        .split(|c| !is_part(c))
        .filter(|word| {
            let rest = word.strip_prefix(prefix).unwrap_or_default();
            rest.starts_with(|c: char| c.is_ascii_alphabetic())
        })
        .collect()
}

fn check() -> Result<()> {
    let help = Command::new(executable("hypha-server")?)
        .arg("--help")
        .output()
        .context("cannot run hypha-server")?;
    let help = String::from_utf8(help.stdout)?;
    let options = words("--");
    ensure!(
        options.contains("--redis-uri"),
        "no options found: {options:?}"
    );
    for option in options {
        let known = help.contains(option) || WITHOUT_EFFECT.contains(&option);
        ensure!(known, "hypha-server has no option {option}");
    }
    let variables = words("HYPHA_");
    ensure!(variables.len() > 8, "no variables found: {variables:?}");
    for variable in variables {
        let named = help.contains(&format!("[env: {variable}"));
        ensure!(named, "hypha-server does not read {variable}");
    }
    let Some(server) = Server::shared(Kind::Ours) else {
        return Ok(());
    };
    let (_, metrics) = http_get(&server.url, "/metrics")?;
    let named = words("hypha_server_");
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
