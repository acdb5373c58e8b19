//! The command `hypha`. Each subcommand is a module with its options and a function `run`.

mod connection;
mod output;
mod schema;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Work with the services of a Hypha server.
#[derive(Parser)]
#[command(name = "hypha", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Schema(schema::Options),
}

/// Exits with 0, with 1 after an error on the standard error, or with 2 if the arguments are wrong.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::report(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Schema(options) => schema::run(options).await,
    }
}
