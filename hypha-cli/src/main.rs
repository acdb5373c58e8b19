//! The command `hypha`. Each subcommand is a module in `commands` with its options and a function
//! `run`.

mod callback;
mod commands;
mod config;
mod connection;
mod duration;
mod failure;
mod interrupt;
mod output;
mod values;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser, Subcommand};

use commands::{
    bench, call, clients, context, describe, login, mcp, schema, services, shell, token, watch,
    whoami, workspace,
};
use output::Color;

/// Find, call and watch the services of a Hypha server
#[derive(Parser)]
#[command(name = "hypha", version, propagate_version = true, after_long_help = failure::EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// When to use color
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    color: Color,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Ordinary(Box<Ordinary>),
    #[cfg(feature = "server")]
    Serve(commands::serve::Options),
}

/// The subcommands that run on the runtime of this program.
#[derive(Subcommand)]
enum Ordinary {
    Login(login::Options),
    Logout(login::LogoutOptions),
    Whoami(whoami::Options),
    Context(context::Options),
    Workspace(workspace::Options),
    Services(services::Options),
    Describe(describe::Options),
    Call(call::Options),
    Schema(schema::Options),
    Clients(clients::Options),
    Ping(clients::PingOptions),
    Kick(clients::KickOptions),
    Token(token::Options),
    Watch(watch::Options),
    Logs(watch::LogsOptions),
    Bench(bench::Options),
    Mcp(mcp::Options),
    #[cfg(feature = "server")]
    Dev(commands::dev::Options),
    Completions(shell::CompletionsOptions),
    Man(shell::ManOptions),
}

/// Runs the command. Prints an error to the standard error, and exits with one of
/// [`failure::EXIT_CODES`].
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    output::set_color(arguments.color);
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if failure::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::report(&error);
            failure::exit_code(&error)
        }
    }
}

/// Returns the command for completions and manual pages. The command includes the options of the
/// server, which the server itself parses.
fn whole_command() -> clap::Command {
    let command = Arguments::command();
    #[cfg(feature = "server")]
    let command = command.mut_subcommand("serve", |_| commands::serve::command());
    command
}

fn run(command: Command) -> Result<()> {
    let command = match command {
        Command::Ordinary(command) => *command,
        #[cfg(feature = "server")]
        Command::Serve(options) => return commands::serve::run(options),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        match command {
            Ordinary::Login(options) => login::run(options).await,
            Ordinary::Logout(options) => login::logout(options).await,
            Ordinary::Whoami(options) => whoami::run(options).await,
            Ordinary::Context(options) => context::run(options),
            Ordinary::Workspace(options) => workspace::run(options).await,
            Ordinary::Services(options) => services::run(options).await,
            Ordinary::Describe(options) => describe::run(options).await,
            Ordinary::Call(options) => call::run(options).await,
            Ordinary::Schema(options) => schema::run(options).await,
            Ordinary::Clients(options) => clients::run(options).await,
            Ordinary::Ping(options) => clients::ping(options).await,
            Ordinary::Kick(options) => clients::kick(options).await,
            Ordinary::Token(options) => token::run(options).await,
            Ordinary::Watch(options) => watch::run(options).await,
            Ordinary::Logs(options) => watch::logs(options).await,
            Ordinary::Bench(options) => bench::run(options).await,
            Ordinary::Mcp(options) => mcp::run(options).await,
            #[cfg(feature = "server")]
            Ordinary::Dev(options) => commands::dev::run(options).await,
            Ordinary::Completions(options) => shell::completions(options, whole_command()),
            Ordinary::Man(options) => shell::man(options, whole_command()),
        }
    })
}
