//! `cargo xtask`: the routines of the project, one module each.

mod arrows;
mod bench;
mod command;
mod compile_time;
mod fuzz;
mod lint;
mod package;
mod setup;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The routines of the project.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    routine: Routine,
}

#[derive(Subcommand)]
enum Routine {
    /// Install what the tests need: the Python and JavaScript peers, in CI also Redis.
    Setup,
    /// Set up, build, and run every test, or those of a package, a program or a name.
    Test(test::Options),
    /// Measure calls and payloads beside the Python stack and a bare relay.
    Bench(bench::Options),
    /// Measure what `hypha-server` costs: to start, to have idle clients, to route, over a long
    /// time.
    ServerFigures(bench::Options),
    /// Attack `hypha-server` in every way that we know, with 1,000 connections each, and measure
    /// memory, recovery and the latency of others.
    Hostile(bench::Options),
    /// Measure what a contract of 50 methods costs to compile.
    CompileTime(compile_time::Options),
    /// Feed hostile bytes to everything that reads them, and keep what is new.
    Fuzz(fuzz::Options),
    /// Check formatting, module arrows, lints, each feature alone, documentation, and stray paths.
    Lint(lint::Options),
    /// Check metadata and content of the published packages, and rehearse their publication.
    Package(package::PackageOptions),
    /// Compare the public interface with an earlier version, or list it.
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
