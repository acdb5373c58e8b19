//! `cargo xtask bench`: what a call costs, beside the Python stack and a bare relay, in one run.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    command::{cargo, output, perform},
    setup,
};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Passed on to the benchmark: `--seconds`, `--rounds`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Set up the peers, build the programs optimised, and run the benchmark.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run()?;
    let packages = ["--package", "hypha-rpc-tests", "--package", "hypha-server"];
    perform(cargo(&["build", "--release", "--bins"]).args(packages))?;
    let metadata = output(&mut cargo(&[
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let target = metadata["target_directory"]
        .as_str()
        .context("no target directory")?;
    let programs = std::path::Path::new(target).join("release");
    let mut bench = Command::new(programs.join("bench"));
    perform(
        bench
            .args(&options.arguments)
            .env("HYPHA_TEST_PROGRAMS", &programs),
    )
}
