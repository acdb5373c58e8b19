//! Where the Python and JavaScript peers are, and what happens when they are not there.
//!
//! `cargo xtask setup` installs both. Without it the tests that need them are skipped, by name;
//! with `CI` or `HYPHA_TEST_REQUIRE_PEERS` set they fail instead.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::project_root;

/// Names a Python interpreter that has the packages of `tests/interop/requirements.lock`.
pub const PYTHON_VARIABLE: &str = "HYPHA_TEST_PYTHON";
/// Names a Chromium.
pub const CHROMIUM_VARIABLE: &str = "HYPHA_TEST_CHROMIUM";
/// Names a file that gets a line for each test that is skipped.
pub const SKIPPED_VARIABLE: &str = "HYPHA_TEST_SKIPPED";
/// When set, a missing peer is a failure.
pub const REQUIRE_VARIABLE: &str = "HYPHA_TEST_REQUIRE_PEERS";

/// The folder of the peers' programs and lock files.
#[must_use]
pub fn interop_folder() -> PathBuf {
    project_root().join("tests").join("interop")
}

/// The Python interpreter of the tests.
pub fn python() -> Result<PathBuf> {
    let installed = || project_root().join("target/interop/venv/bin/python");
    let python = std::env::var_os(PYTHON_VARIABLE).map_or_else(installed, PathBuf::from);
    ensure!(
        python.exists(),
        "there is no Python environment at {}",
        python.display()
    );
    Ok(python)
}

/// Node, once the packages of the JavaScript peers are installed.
pub fn node() -> Result<PathBuf> {
    let modules = interop_folder().join("js").join("node_modules");
    ensure!(
        modules.is_dir(),
        "the JavaScript packages are not installed"
    );
    let node = PathBuf::from("node");
    Command::new(&node)
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .context("`node` cannot be run")?;
    Ok(node)
}

/// The browser.
pub fn chromium() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(CHROMIUM_VARIABLE) {
        return Ok(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join("chromium"));
    let found = places.find(|place| place.is_file());
    found.context("`chromium` is not installed")
}

/// A program of the Python peers.
pub fn python_program(script: &str) -> Result<Command> {
    let mut command = Command::new(python()?);
    // `-u`: lines must come at once. `-B`: the sources stay as they were checked out.
    command
        .args(["-u", "-B"])
        .arg(interop_folder().join("python").join(script));
    Ok(command)
}

/// A program of the JavaScript peers.
pub fn javascript_program(script: &str) -> Result<Command> {
    let mut command = Command::new(node()?);
    command.arg(interop_folder().join("js").join(script));
    Ok(command)
}

/// Returns the found peer, or `None` after a message that this test is skipped. Panics where peers
/// are required.
pub fn or_skip<T>(found: Result<T>) -> Option<T> {
    found_or_skipped(found, is_set("CI") || is_set(REQUIRE_VARIABLE))
}

/// The same for a program of the system, which `cargo xtask setup` installs only where `CI` is set:
/// it is required there and nowhere else.
pub fn program_or_skip<T>(found: Result<T>) -> Option<T> {
    found_or_skipped(found, is_set("CI"))
}

fn found_or_skipped<T>(found: Result<T>, required: bool) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(error) => {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            assert!(
                !required,
                "{test} needs a peer: {error:#}; run `cargo xtask setup`"
            );
            let line = format!("{test}: {error:#}; run `cargo xtask setup`\n");
            // `cargo xtask test` shows them together at the end.
            let file = std::env::var_os(SKIPPED_VARIABLE);
            let file = file.and_then(|file| OpenOptions::new().append(true).open(file).ok());
            if let Some(mut file) = file {
                let _ = file.write_all(line.as_bytes());
            }
            // Past the capture of the test runner, which would hide it; that may stand in the
            // middle of a line.
            let line = format!("\nskipped: {line}");
            let _ = std::io::stderr().write_all(line.as_bytes());
            None
        }
    }
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value != OsString::new() && value != "0")
}
