//! `cargo xtask test`: everything that can be tested on this machine, peers included.

use anyhow::Result;
use clap::Args;

use crate::command::{Steps, cargo, perform};
use crate::setup;

/// With what is behind features as well: it has tests of its own, and without it there are recorded
/// vectors that nobody checks. `cargo xtask lint` compiles each feature alone.
const FEATURES: &str = "--all-features";

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Passed on to the tests, as after `cargo test --`: a part of their name, for example.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Set up, build and test; every step is run, and a failed one fails the whole.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::default();
    steps.step("set up the peers", setup::run);
    // The programs that the whole-system tests start.
    steps.step("build", || {
        perform(cargo(&["build", "--workspace", "--bins", "--examples"]).arg(FEATURES))
    });
    // Documentation tests are among them.
    steps.step("test", || {
        let mut tests = cargo(&["test", "--workspace", "--no-fail-fast", FEATURES, "--"]);
        tests.args(&options.arguments);
        // Most tests with peers wait rather than compute.
        if std::env::var_os("RUST_TEST_THREADS").is_none() {
            tests.env("RUST_TEST_THREADS", threads().to_string());
        }
        // What was set up has to be there.
        tests.env("HYPHA_TEST_REQUIRE_PEERS", "1");
        perform(&mut tests)
    });
    steps.finish()
}

/// How many tests run at once in each program.
fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores + 1
}
