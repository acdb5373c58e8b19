//! Both servers give the same results: the Python and the JavaScript client do the same
//! things at each, and what came of every step is compared. Where the servers differ on purpose,
//! the difference and its reason are in `interop/deviations.json`; one that is not there any more
//! fails this test as well.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hypha_rpc_tests::conformance::Language;
use hypha_rpc_tests::peers::{self, interop_folder, or_skip};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{JWT_SECRET, Kind, ROOT_TOKEN, Server};

const LIMIT: Duration = Duration::from_secs(180);

/// The output of both clients at a server of this kind, in a file, and the address of the server.
fn outcomes(kind: Kind) -> Result<(PathBuf, String)> {
    // A server of its own: some steps list all that there is.
    let server = Server::start(kind)?;
    let mut lines = Vec::new();
    for mut command in [
        peers::python_program("outcomes.py")?,
        peers::javascript_program("outcomes.mjs")?,
    ] {
        command.args(["--server-url", &server.url, "--secret", JWT_SECRET]);
        command.args(["--root-token", ROOT_TOKEN]);
        let run = Process::start(format!("the script of steps at {kind}"), &command)?;
        let status = run.wait(LIMIT)?;
        let printed = run.stdout();
        ensure!(
            status.success() && printed.last().is_some_and(|line| line == "DONE"),
            "the script of steps ends early at {kind} ({status})\n{}",
            run.transcript(0)
        );
        lines.extend(printed);
    }
    let name = format!("outcomes-{}-{kind:?}.jsonl", std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, lines.join("\n"))?;
    Ok((file, server.url.clone()))
}

fn compare() -> Result<()> {
    let python = thread::spawn(|| outcomes(Kind::Python));
    let ours = outcomes(Kind::Ours);
    let original = python.join().map_err(|_| anyhow::anyhow!("a panic"))??;
    let ours = ours?;
    let mut command: Command = peers::python_program("compare_outcomes.py")?;
    let deviations = interop_folder().join("deviations.json");
    command.arg("--deviations").arg(deviations);
    command.arg("--original").arg(&original.0).arg(&original.1);
    command.arg("--ours").arg(&ours.0).arg(&ours.1);
    let compared = command.output().context("cannot compare")?;
    let text = String::from_utf8_lossy(&compared.stdout);
    let failed = String::from_utf8_lossy(&compared.stderr);
    ensure!(
        compared.status.success(),
        "the servers differ; what they answered is in {} and {}\n{text}{failed}",
        original.0.display(),
        ours.0.display()
    );
    for (file, _) in [original, ours] {
        std::fs::remove_file(file)?;
    }
    Ok(())
}

#[test]
fn users_cannot_tell_the_servers_from_each_other() {
    for language in [Language::Python, Language::JavaScript] {
        if or_skip(language.installed()).is_none() {
            return;
        }
    }
    if let Err(error) = compare() {
        panic!("{error:#}");
    }
}
