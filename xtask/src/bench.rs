//! Implements the commands that measure. `cargo xtask bench` compares calls with the Python stack
//! and with a relay without RPC. `cargo xtask server-figures` measures the server. `cargo xtask
//! hostile` measures the effects of attacks.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::command::{cargo, metadata, perform};
use crate::setup;

/// Options of the benchmarks.
#[derive(Args)]
pub(crate) struct Options {
    /// Arguments of the measuring program, such as `--seconds 2`. `-- --help` lists them.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Installs the peers, and then runs the benchmark.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run()?;
    measure("hypha-rpc-tests", "bench", options)
}

/// Measures the server.
pub(crate) fn server(options: &Options) -> Result<()> {
    measure("hypha-rpc-tests", "server_figures", options)
}

/// Runs the attacks on the server.
pub(crate) fn hostile(options: &Options) -> Result<()> {
    measure("hypha-hostile", "hostile", options)
}

/// Builds the server and the programs of `package` in release mode. Then runs `program`.
fn measure(package: &str, program: &str, options: &Options) -> Result<()> {
    let packages = ["--package", package, "--package", "hypha-server"];
    perform(cargo(&["build", "--release", "--bins"]).args(packages))?;
    let metadata = metadata()?;
    let target = metadata["target_directory"]
        .as_str()
        .context("no target directory")?;
    let programs = std::path::Path::new(target).join("release");
    let mut program = Command::new(programs.join(program));
    perform(
        program
            .args(&options.arguments)
            .env("HYPHA_TEST_PROGRAMS", &programs),
    )
}
