//! Implements the command `cargo xtask`, which runs the checks, tests and measurements of the
//! project. Each module implements one of them.

mod arrows;
mod bench;
mod command;
mod compile_time;
mod fuzz;
mod imports;
mod lint;
mod oldest;
mod package;
mod prose;
mod setup;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs checks, tests and measurements of the project.
///
/// Run `cargo xtask lint` and `cargo xtask test` before a change is merged. See CONTRIBUTING.md.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    routine: Routine,
}

#[derive(Subcommand)]
enum Routine {
    /// Installs the Python and JavaScript peers of the tests. If CI is set, also installs Redis and
    /// Chromium.
    Setup,
    /// Runs all tests, the tests of a package or a test program, or the tests with a name.
    Test(test::Options),
    /// Checks the sources: format, layers, prose, spelling, links, packages, clippy, docs.
    Lint(lint::Options),
    /// Fuzzes all parsers of received bytes, and can store inputs that reach new code.
    Fuzz(fuzz::Options),
    /// Measures calls and payloads, and compares them with the Python stack and a relay without
    /// RPC.
    Bench(bench::Options),
    /// Measures the server: start, idle clients, routing, and hours under load.
    ServerFigures(bench::Options),
    /// Runs each attack on the server with 1,000 connections, and measures memory, recovery and
    /// latency.
    Hostile(bench::Options),
    /// Measures the compile time of a contract with 50 methods.
    CompileTime(compile_time::Options),
    /// Checks metadata and contents of the packages, and simulates their publication.
    Package(package::PackageOptions),
    /// Compares the public API with the public API of an earlier version, or lists it.
    Api(package::ApiOptions),
}

fn main() -> ExitCode {
    let done = match Cli::parse().routine {
        Routine::Setup => setup::run(),
        Routine::Test(options) => test::run(&options),
        Routine::Bench(options) => bench::run(&options),
        Routine::ServerFigures(options) => bench::server(&options),
        Routine::Hostile(options) => bench::hostile(&options),
        Routine::CompileTime(options) => compile_time::run(&options),
        Routine::Fuzz(options) => fuzz::run(&options),
        Routine::Lint(options) => lint::run(&options),
        Routine::Package(options) => package::package(&options),
        Routine::Api(options) => package::api(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
