//! Tests the example `survivor`. The test kills and restarts the server to which the example
//! connects.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{Kind, Server, Setup};

const LIMIT: Duration = Duration::from_secs(60);

/// Returns the number that follows `name` in the line.
fn number(line: &str, name: &str) -> Option<u64> {
    let rest = line.split(&format!("{name} ")).nth(1)?;
    rest.split(' ').next()?.parse().ok()
}

#[test]
fn it_reconnects_to_a_restarted_server() -> Result<()> {
    let setup = Setup::restartable()?;
    let server = Server::start_as(Kind::Ours, &setup)?;
    let mut command = Command::new(executable("survivor")?);
    command.args(["--server-url", &server.url, "--every", "50"]);
    let survivor = Process::start("the survivor", &command)?;
    let calls = |most: u64| {
        move |line: &str| {
            let calls = number(line, "calls")?;
            (line.starts_with("connected") && calls > most).then_some(calls)
        }
    };
    let made = survivor.wait_for_line(LIMIT, calls(5))?;
    drop(server);
    for attempt in ["attempt 1 in", "attempt 2 in"] {
        survivor
            .wait_for_line(LIMIT, |line| line.starts_with(attempt).then_some(()))
            .context("no attempts were printed")?;
    }
    let server = Server::start_as(Kind::Ours, &setup)?;
    survivor.wait_for_line(LIMIT, calls(made + 20))?;
    let lines = survivor.stdout();
    let last = lines.last().context("no line")?;
    ensure!(number(last, "errors") == Some(0), "{last}");
    ensure!(number(last, "reconnects") == Some(1), "{last}");
    ensure!(last.contains(" ms"), "{last}");
    survivor.terminate()?;
    drop(server);
    Ok(())
}
