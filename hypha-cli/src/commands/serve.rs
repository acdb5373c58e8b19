//! `hypha serve`: runs `hypha-server`.

use std::ffi::OsString;

use anyhow::Result;
use clap::Args;

/// Name of the program in the help text.
const NAME: &str = "hypha serve";

/// Run a server, with the options of hypha-server
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    // This program does not parse the arguments, because the server parses its own options and the
    // options of the Python server.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Returns the subcommand with all options, for completions and manual pages.
pub(crate) fn command() -> clap::Command {
    let about = "Run a server, with the options of hypha-server";
    hypha_server::program::command().name("serve").about(about)
}

/// Creates a runtime, and runs the server on that runtime until the user presses Ctrl-C.
pub(crate) fn run(options: Options) -> Result<()> {
    let arguments = [NAME.into()].into_iter().chain(options.arguments);
    hypha_server::program::run(arguments.collect(), |_| {}, || {})
}
