//! `cargo xtask bench`: what a call costs, beside the Python stack and a bare relay, in one run;
//! `cargo xtask server-figures`: what the server costs; and `cargo xtask hostile`: what attacks on
//! it cost.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::command::{cargo, metadata, perform};
use crate::setup;

/// Options of the benchmark.
#[derive(Args)]
pub(crate) struct Options {
    /// Passed on to the program that measures, such as `--seconds 2`; `--help` says what it takes.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Set up the peers and run the benchmark.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run()?;
    measure("hypha-rpc-tests", "bench", options)
}

/// Run the figures of the server.
pub(crate) fn server(options: &Options) -> Result<()> {
    measure("hypha-rpc-tests", "server_figures", options)
}

/// Attacks the server.
pub(crate) fn hostile(options: &Options) -> Result<()> {
    measure("hypha-hostile", "hostile", options)
}

/// Build the programs of a package and the server optimised, and run the one that measures.
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
