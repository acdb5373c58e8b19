//! Starts servers, clients and compilers for the tests of schemas.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hypha_rpc_tests::conformance::Language;
use hypha_rpc_tests::peers::{interop_folder, javascript_program, python, python_program};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::Server;

const LIMIT: Duration = Duration::from_secs(120);

fn program(language: Language, options: &[&str]) -> Result<Command> {
    let mut command = match language {
        Language::Python => python_program("schema_peer.py")?,
        _ => javascript_program("schema_peer.mjs")?,
    };
    command.args(options);
    Ok(command)
}

/// Starts a peer. Returns the process and the full ids of its services. The services exist while
/// the process runs.
pub(crate) async fn host(language: Language, server: &Server) -> Result<(Process, Vec<String>)> {
    let command = program(language, &["--server-url", &server.url])?;
    tokio::task::spawn_blocking(move || {
        let process = Process::start("the host", &command)?;
        let ready = process.wait_for_prefix(LIMIT, "READY ")?;
        Ok((process, ready.split(' ').map(str::to_owned).collect()))
    })
    .await?
}

/// Runs a program until it ends. Finds the output line that starts with `prefix`, and returns the
/// rest of that line.
pub(crate) async fn finished(
    language: Language,
    options: &[&str],
    prefix: &'static str,
) -> Result<String> {
    let command = program(language, options)?;
    tokio::task::spawn_blocking(move || {
        let process = Process::start("the peer", &command)?;
        let status = process.wait(LIMIT)?;
        ensure!(status.success(), "{status}\n{}", process.transcript(0));
        let line = process
            .stdout()
            .into_iter()
            .find(|line| line.starts_with(prefix));
        line.context("the expected line was not printed")
    })
    .await?
}

/// Creates an empty folder for the files of one test.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("schemas")
        .join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Returns the messages of the TypeScript compiler for these files. Returns an empty string if
/// there are none.
pub(crate) fn typescript(folder: &Path, files: &[&str]) -> Result<String> {
    let compiler = interop_folder().join("js/node_modules/typescript/bin/tsc");
    let mut command = Command::new("node");
    command.current_dir(folder).arg(compiler);
    command.args([
        "--noEmit", "--strict", "--target", "es2022", "--module", "esnext",
    ]);
    command.args(["--moduleResolution", "bundler", "--lib", "es2022"]);
    command.args(["--allowJs", "--checkJs", "--ignoreConfig"]);
    complaint(command.args(files))
}

/// Returns the messages of mypy for these files. Returns an empty string if there are none.
pub(crate) fn mypy(folder: &Path, files: &[&str]) -> Result<String> {
    let mut command = Command::new(python()?);
    command
        .current_dir(folder)
        .args(["-m", "mypy", "--strict", "--no-error-summary"]);
    command.arg("--cache-dir").arg(folder.join("cache"));
    complaint(command.args(files))
}

fn complaint(command: &mut Command) -> Result<String> {
    let output = command.output().context("the checker cannot be run")?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    ensure!(
        output.status.success() != text.contains("error"),
        "{}: {text}",
        output.status
    );
    Ok(text)
}
