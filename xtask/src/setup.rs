//! Implements the command `cargo xtask setup`. Installs the Python and JavaScript peers of the
//! tests according to their lock files. Also installs a browser, Redis and a TURN server.
//!
//! Beside each installation, a stamp file contains a copy of the lock file. A second run does
//! nothing. After a change of the lock file, the next run installs everything again.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{output, perform, root};

/// Installs all dependencies that are missing or out of date.
pub(crate) fn run() -> Result<()> {
    python()?;
    mcp_clients()?;
    javascript()?;
    browser_target()?;
    programs(&PROGRAMS)
}

/// System program that tests start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) executable: &'static str,
    /// Debian package.
    package: &'static str,
}

pub(crate) const CHROMIUM: Program = Program {
    executable: "chromium",
    package: "chromium",
};
pub(crate) const REDIS: Program = Program {
    executable: "redis-server",
    package: "redis-server",
};
pub(crate) const TURN_SERVER: Program = Program {
    executable: "turnserver",
    package: "coturn",
};

const PROGRAMS: [Program; 3] = [CHROMIUM, REDIS, TURN_SERVER];

/// Installs system programs if `CI` is set. Otherwise prints the missing programs, because a
/// command must not install anything on a developer's machine without a request. Tests that need a
/// missing program are then skipped.
pub(crate) fn programs(wanted: &[Program]) -> Result<()> {
    let (found, missing): (Vec<Program>, Vec<Program>) = wanted.iter().partition(|program| {
        let mut version = Command::new(program.executable);
        version.arg("--version").output().is_ok()
    });
    for Program { executable, .. } in found {
        println!("`{executable}` is installed");
    }
    if std::env::var_os("CI").is_none() {
        for Program { executable, .. } in missing {
            println!("`{executable}` is not installed: the tests that need it are skipped");
        }
    } else if !missing.is_empty() {
        let missing: Vec<_> = missing.iter().map(|program| program.package).collect();
        println!("installing {}", missing.join(", "));
        perform(Command::new("apt-get").args(["update", "--quiet"]))?;
        let install = ["install", "--yes", "--quiet", "--no-install-recommends"];
        perform(
            Command::new("apt-get")
                .args(install)
                .args(missing)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
        .context("programs of the system cannot be installed")?;
    }
    Ok(())
}

/// Installs the compilation target for WebAssembly if `CI` is set. Otherwise prints the command
/// that installs the target.
pub(crate) fn browser_target() -> Result<()> {
    if std::env::var_os("CI").is_none() {
        println!("`rustup target add {BROWSER}` is necessary for the tests of WebAssembly");
        return Ok(());
    }
    output(Command::new("rustup").args(["target", "add", BROWSER]))
        .map(drop)
        .context("the target of WebAssembly cannot be installed")
}

/// The compilation target for WebAssembly, which tests run in browsers and in Node.
const BROWSER: &str = "wasm32-unknown-unknown";

/// Installs the Python peers if they are missing or out of date.
pub(crate) fn python() -> Result<()> {
    install_python("venv", "requirements.lock").context("the Python peers cannot be installed")
}

/// Installs the MCP clients in Python if they are missing or out of date.
pub(crate) fn mcp_clients() -> Result<()> {
    install_python("mcp-venv", "requirements-mcp.lock")
        .context("the MCP clients cannot be installed")
}

/// Installs the JavaScript peers if they are missing or out of date.
pub(crate) fn javascript() -> Result<()> {
    install_javascript().context("the JavaScript peers cannot be installed")
}

/// Installs a Python environment from its lock file.
fn install_python(environment: &str, lock: &str) -> Result<()> {
    let environment = root().join("target/interop").join(environment);
    let lock = root().join("tests/interop").join(lock);
    let version = output(Command::new("python3").arg("--version"))
        .context("Python 3.11 or newer is needed, as `python3`")?;
    let minor = version
        .trim()
        .strip_prefix("Python 3.")
        .and_then(|rest| rest.split('.').next());
    let minor: u32 = minor
        .and_then(|minor| minor.parse().ok())
        .unwrap_or_default();
    ensure!(
        minor >= 11,
        "Python 3.11 or newer is needed, `python3` is {}",
        version.trim()
    );

    let wanted = version + &fs::read_to_string(&lock)?;
    let stamp = environment.join("installed");
    if is_current(&stamp, &wanted) {
        println!("the packages of {} are up to date", lock.display());
        return Ok(());
    }
    println!("installing the packages of {}", lock.display());
    perform(
        Command::new("python3")
            // Create a new environment. An environment of another Python version cannot be updated.
            .args(["-m", "venv", "--clear"])
            .arg(&environment),
    )?;
    perform(
        Command::new(environment.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                // pip must install only packages that the lock file lists.
                "--no-deps",
            ])
            .arg("--requirement")
            .arg(&lock),
    )?;
    // Check the dependencies now. Otherwise a test would fail if the lock file lacks a dependency.
    perform(Command::new(environment.join("bin/python")).args(["-m", "pip", "check"]))?;
    Ok(fs::write(stamp, wanted)?)
}

fn install_javascript() -> Result<()> {
    let folder = root().join("tests/interop/js");
    let version = output(Command::new("node").arg("--version"))
        .context("Node 20 or newer is needed, as `node`")?;
    let major = version
        .trim()
        .trim_start_matches('v')
        .split('.')
        .next()
        .unwrap_or_default();
    let major: u32 = major.parse().unwrap_or_default();
    ensure!(
        major >= 20,
        "Node 20 or newer is needed, `node` is {}",
        version.trim()
    );

    let wanted = version + &fs::read_to_string(folder.join("package-lock.json"))?;
    let stamp = folder.join("node_modules/.installed");
    if is_current(&stamp, &wanted) {
        println!("the JavaScript peers are up to date");
        return Ok(());
    }
    println!("installing the JavaScript peers");
    perform(
        Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(&folder),
    )?;
    Ok(fs::write(stamp, wanted)?)
}

/// Returns whether the content of the stamp file is `wanted`.
fn is_current(stamp: &Path, wanted: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|installed| installed == wanted)
}
