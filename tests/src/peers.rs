//! Finds the Python and JavaScript peers, and skips tests whose peers are not installed.
//!
//! `cargo xtask setup` installs the peers of both languages. If they are missing, tests that need
//! them print a message and pass, or fail if `CI` or `HYPHA_TEST_REQUIRE_PEERS` is set.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::executables::executable;
use crate::project_root;

/// Environment variable with the path of a Python interpreter that has the packages of
/// `tests/interop/requirements.lock`.
pub const PYTHON_VARIABLE: &str = "HYPHA_TEST_PYTHON";
/// Environment variable with the path of a Python interpreter that has the packages of
/// `tests/interop/requirements-mcp.lock`.
pub const MCP_PYTHON_VARIABLE: &str = "HYPHA_TEST_MCP_PYTHON";
/// Environment variable with the path of Chromium.
pub const CHROMIUM_VARIABLE: &str = "HYPHA_TEST_CHROMIUM";
/// Environment variable with the path of a file to which each skipped test appends a line.
pub const SKIPPED_VARIABLE: &str = "HYPHA_TEST_SKIPPED";
/// Environment variable that, if set, makes tests fail when their peers are missing.
pub const REQUIRE_VARIABLE: &str = "HYPHA_TEST_REQUIRE_PEERS";

/// Returns the folder of the peers' programs and lock files.
#[must_use]
pub fn interop_folder() -> PathBuf {
    project_root().join("tests").join("interop")
}

/// Returns the Python interpreter for the peers.
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

/// Returns the Python interpreter for MCP clients. It is separate, because the packages of MCP
/// clients conflict with the packages of the Python server.
pub fn mcp_python() -> Result<PathBuf> {
    let installed = || project_root().join("target/interop/mcp-venv/bin/python");
    let python = std::env::var_os(MCP_PYTHON_VARIABLE).map_or_else(installed, PathBuf::from);
    ensure!(
        python.exists(),
        "there is no Python environment for MCP at {}",
        python.display()
    );
    Ok(python)
}

/// Returns Node.js, if the packages of the JavaScript peers are installed.
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

/// Returns Chromium.
pub fn chromium() -> Result<PathBuf> {
    match std::env::var_os(CHROMIUM_VARIABLE) {
        Some(named) => Ok(named.into()),
        None => on_path("chromium"),
    }
}

/// Returns the TURN server of the package `coturn`.
pub fn turn_server() -> Result<PathBuf> {
    on_path("turnserver")
}

/// Returns a program of the system.
fn on_path(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    let found = places.find(|place| place.is_file());
    found.with_context(|| format!("`{program}` is not installed"))
}

/// Returns a command that runs a script of the Python peers.
pub fn python_program(script: &str) -> Result<Command> {
    Ok(program_of(&python()?, script))
}

/// Returns a command that runs a script of the Python MCP clients.
pub fn mcp_program(script: &str) -> Result<Command> {
    Ok(program_of(&mcp_python()?, script))
}

fn program_of(python: &Path, script: &str) -> Command {
    let mut command = Command::new(python);
    // `-u` prints lines without buffering. `-B` writes no bytecode beside the sources.
    command
        .args(["-u", "-B"])
        .arg(interop_folder().join("python").join(script));
    command
}

/// Returns a command that runs a script of the JavaScript peers.
pub fn javascript_program(script: &str) -> Result<Command> {
    let mut command = Command::new(node()?);
    command.arg(interop_folder().join("js").join(script));
    Ok(command)
}

/// Returns a command that checks the conformance service from Pyodide, with the packages of the
/// Python peers.
pub fn pyodide_program() -> Result<Command> {
    let mut packages = Command::new(python()?);
    packages.args([
        "-c",
        "import sysconfig; print(sysconfig.get_path('purelib'))",
    ]);
    let packages = packages.output()?;
    ensure!(
        packages.status.success(),
        "Python has no folder of packages"
    );
    let mut command = javascript_program("pyodide_peer.mjs")?;
    command.arg(String::from_utf8(packages.stdout)?.trim());
    Ok(command)
}

/// Checks that Node.js and the compilation target of WebAssembly are installed.
pub fn browser_target() -> Result<()> {
    node()?;
    let mut rustc = Command::new("rustc");
    rustc.args([
        "--print",
        "target-libdir",
        "--target",
        "wasm32-unknown-unknown",
    ]);
    let printed = rustc.output().context("`rustc` cannot be run")?;
    let folder = String::from_utf8_lossy(&printed.stdout).trim().to_owned();
    ensure!(
        Path::new(&folder).is_dir(),
        "the target of WebAssembly is not installed: `rustup target add wasm32-unknown-unknown`"
    );
    Ok(())
}

/// Builds a WebAssembly module of this workspace. Returns the folder of the module and its
/// JavaScript.
pub fn browser_module(package: &str, profile: &str) -> Result<PathBuf> {
    let mut build = Command::new(executable("browser_module")?);
    let module = build.args([package, profile]).output()?;
    ensure!(
        module.status.success(),
        "{package} cannot be built\n{}",
        String::from_utf8_lossy(&module.stderr)
    );
    Ok(String::from_utf8_lossy(&module.stdout).trim().into())
}

/// Place in which a WebAssembly module runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Node.js.
    Node,
    /// A page of Chromium.
    Page,
    /// A worker of a page of Chromium.
    Worker,
}

/// Returns a command that runs our library as WebAssembly. `action` is `serve` or `check`.
pub fn browser_program(action: &str, place: Place) -> Result<Command> {
    let (place, browser) = match place {
        Place::Node => ("node", PathBuf::new()),
        Place::Page => ("page", chromium()?),
        Place::Worker => ("worker", chromium()?),
    };
    let mut command = javascript_program("browser_module.mjs")?;
    command
        .arg(browser_module("hypha-rpc-browser", "browser")?)
        .arg(place)
        .arg(browser)
        .arg(action);
    Ok(command)
}

/// Returns the peer, or prints that the test is skipped and returns `None`.
///
/// # Panics
///
/// Panics if the peer is missing and peers are required.
pub fn or_skip<T>(found: Result<T>) -> Option<T> {
    found_or_skipped(found, is_set("CI") || is_set(REQUIRE_VARIABLE))
}

/// Like [`or_skip`], for a program of the operating system. The program is required only if `CI` is
/// set, because only then does `cargo xtask setup` install it.
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
            // `cargo xtask test` prints the lines of this file at the end. A write error must not
            // fail the test.
            let file = std::env::var_os(SKIPPED_VARIABLE);
            let file = file.and_then(|file| OpenOptions::new().append(true).open(file).ok());
            if let Some(mut file) = file {
                let _ = file.write_all(line.as_bytes());
            }
            // Write to `stderr` directly, because the test runner captures `eprintln!`. The line
            // break ends a partial line that the runner may have printed.
            let line = format!("\nskipped: {line}");
            let _ = std::io::stderr().write_all(line.as_bytes());
            None
        }
    }
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value != OsString::new() && value != "0")
}
