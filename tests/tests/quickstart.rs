//! Tests the quickstart of the README, first with its own server and then on both running servers.
//! Also tests the Python lines that the quickstart prints.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::peers::{or_skip, python};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::project_root;
use hypha_rpc_tests::servers::{Kind, Server};

const LIMIT: Duration = Duration::from_secs(60);

fn start(options: &[&str]) -> Result<Process> {
    Process::start(
        "quickstart",
        Command::new(executable("quickstart")?).args(options),
    )
}

/// Returns the code without indentation, to compare code at different nesting depths.
fn unindented(text: &str) -> String {
    text.lines()
        .map(|line| line.trim().to_owned() + "\n")
        .collect()
}

/// Checks that each code block of the README is a part of an example, because the code blocks do
/// not compile alone.
#[test]
fn the_readme_contains_the_example() -> Result<()> {
    let read = |path| std::fs::read_to_string(project_root().join(path));
    let example = unindented(&read("examples/quickstart.rs")?);
    let readme = unindented(&read("README.md")?);
    let blocks: Vec<&str> = readme
        .split("```rust\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    ensure!(blocks.len() == 3, "{} blocks in Rust", blocks.len());
    for block in blocks {
        ensure!(
            example.contains(block),
            "examples/quickstart.rs has no part like this of the README:\n{block}"
        );
    }
    Ok(())
}

#[test]
fn with_its_own_server() -> Result<()> {
    let quickstart = start(&[])?;
    let status = quickstart.wait(LIMIT)?;
    let printed = quickstart.stdout().join("\n");
    ensure!(status.success(), "{status}\n{}", quickstart.transcript(0));
    for part in [
        "add(1, 2)       = 3",
        "division by zero",
        "Hello Ada",
        "\"default\": 1.0",
    ] {
        ensure!(printed.contains(part), "`{part}` is not in\n{printed}");
    }
    Ok(())
}

/// Runs the quickstart on a running server, and calls its service from Python.
fn with(server: Kind) -> Result<()> {
    let Some(python) = or_skip(python()) else {
        return Ok(());
    };
    let Some(server) = Server::shared(server) else {
        return Ok(());
    };
    let quickstart = start(&["--server-url", &server.url, "--serve"])?;
    quickstart.wait_for_prefix(LIMIT, "serving until")?;
    let printed = quickstart.stdout();
    let at = printed
        .iter()
        .position(|line| line == "from Python:")
        .context("no Python")?;
    let script = printed[at + 1..at + 4].join("\n");
    let mut command = Command::new(python);
    let caller = Process::start("the lines of Python", command.args(["-u", "-c", &script]))?;
    let quotient = caller.wait_for_line(LIMIT, |line| line.trim().parse::<f64>().ok())?;
    ensure!(quotient == 0.25, "Python got {quotient}");
    quickstart.terminate()?;
    let status = quickstart.wait(LIMIT)?;
    ensure!(status.success(), "{status}\n{}", quickstart.transcript(0));
    Ok(())
}

#[test]
fn with_the_python_server() -> Result<()> {
    with(Kind::Python)
}

#[test]
fn with_our_server() -> Result<()> {
    with(Kind::Ours)
}
