//! Compares both servers. The Python and JavaScript clients run the same steps against each server,
//! over both transports and on a cluster of two servers. Every outcome must be equal, except for
//! the deviations that `interop/deviations.json` lists. If a listed deviation no longer occurs, the
//! test fails, unless the deviation is marked `sometimes`.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use hypha_rpc_tests::conformance::Language;
use hypha_rpc_tests::peers::{self, interop_folder, or_skip, program_or_skip};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{JWT_SECRET, Kind, ROOT_TOKEN, Redis, Server, Setup};

const LIMIT: Duration = Duration::from_secs(480);

/// Transport and servers of a run. A listed deviation may apply to one run only.
#[derive(Clone, Copy, Debug)]
enum Run {
    Websocket,
    Http,
    /// Two servers that share a Redis. Every second client connects to the second server.
    Redis,
}

/// Outcomes of a run on one kind of server. Contains the file with the outcomes, and the URLs of
/// the servers.
struct Outcomes {
    file: PathBuf,
    urls: String,
}

/// Enables the gateways. The Python server starts them only on request.
fn with_gateways(setup: Setup) -> Setup {
    Setup {
        gateways: true,
        ..setup
    }
}

/// Runs the steps of both clients on servers of one kind. Other tests do not use these servers,
/// because some steps list everything on a server.
fn outcomes(run: Run, kind: Kind) -> Result<Outcomes> {
    let redis = matches!(run, Run::Redis).then(Redis::start).transpose()?;
    let servers = match &redis {
        Some(redis) => ["first", "second"]
            .iter()
            .map(|id| Server::start_as(kind, &with_gateways(Setup::in_cluster(redis, id))))
            .collect::<Result<Vec<_>>>()?,
        None => vec![Server::start_as(kind, &with_gateways(Setup::default()))?],
    };
    let transport = if matches!(run, Run::Http) {
        "http"
    } else {
        "websocket"
    };
    let mut lines = Vec::new();
    for mut command in [
        peers::python_program("outcomes.py")?,
        peers::javascript_program("outcomes.mjs")?,
    ] {
        command.args(["--server-url", &servers[0].url, "--transport", transport]);
        command.args(["--secret", JWT_SECRET, "--root-token", ROOT_TOKEN]);
        if let Some(second) = servers.get(1) {
            command.args(["--second-url", &second.url]);
        }
        let steps = Process::start(format!("the script of steps ({run:?}) at {kind}"), &command)?;
        let status = steps.wait(LIMIT)?;
        let printed = steps.stdout();
        ensure!(
            status.success() && printed.last().is_some_and(|line| line == "DONE"),
            "the script of steps ({run:?}) ends early at {kind} ({status})\n{}",
            steps.transcript(0)
        );
        lines.extend(printed);
    }
    let name = format!("outcomes-{}-{run:?}-{kind:?}.jsonl", std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, lines.join("\n"))?;
    let urls: Vec<&str> = servers.iter().map(|server| server.url.as_str()).collect();
    Ok(Outcomes {
        file,
        urls: urls.join(" "),
    })
}

fn compare(runs: &[Run]) -> Result<()> {
    let started: Vec<_> = runs
        .iter()
        .map(|&run| {
            let at = |kind| thread::spawn(move || outcomes(run, kind));
            (run, at(Kind::Python), at(Kind::Ours))
        })
        .collect();
    let mut command: Command = peers::python_program("compare_outcomes.py")?;
    command
        .arg("--deviations")
        .arg(interop_folder().join("deviations.json"));
    let mut files = Vec::new();
    for (run, original, ours) in started {
        command.args(["--run", &format!("{run:?}").to_lowercase()]);
        for side in [original, ours] {
            let outcomes = side.join().map_err(|_| anyhow!("a run panics"))??;
            command.arg(&outcomes.file).arg(outcomes.urls);
            files.push(outcomes.file);
        }
    }
    let compared = command.output().context("cannot compare")?;
    let text = String::from_utf8_lossy(&compared.stdout);
    let failed = String::from_utf8_lossy(&compared.stderr);
    ensure!(
        compared.status.success(),
        "the servers differ; their answers are in {files:?}\n{text}{failed}"
    );
    for file in files {
        std::fs::remove_file(file)?;
    }
    Ok(())
}

#[test]
fn both_servers_have_the_same_outcomes() {
    for language in [Language::Python, Language::JavaScript] {
        if or_skip(language.installed()).is_none() {
            return;
        }
    }
    let mut runs = vec![Run::Websocket, Run::Http];
    if program_or_skip(Redis::installed()).is_some() {
        runs.push(Run::Redis);
    }
    if let Err(error) = compare(&runs) {
        panic!("{error:#}");
    }
}
