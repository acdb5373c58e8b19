//! The command `hypha`. Each subcommand is a module with its options and a function `run`.

mod connection;
mod output;
mod schema;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

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

impl Arguments {
    /// Parses the command line and the environment. Exits with a message if they are wrong.
    fn read() -> Arguments {
        let matches = without_empty_variables(Arguments::command()).get_matches();
        Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// Ignores empty environment variables in the arguments of a command and its subcommands, because
/// clap would treat an empty string as a value.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        match value {
            Some(value) if value.is_empty() => arg.env(None),
            _ => arg,
        }
    });
    command.mut_subcommands(without_empty_variables)
}

/// Exits with 0; with 1 after an error, which is written to the standard error; or with 2 if the
/// arguments are wrong.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::read().command).await {
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
