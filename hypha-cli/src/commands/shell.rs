//! `hypha completions` and `hypha man`: generate completions and manual pages.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use clap_complete::Shell;

use crate::output;

/// Print a completion script for a shell
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha completions bash > ~/.local/share/bash-completion/completions/hypha
  hypha completions zsh > ~/.zfunc/_hypha
  hypha completions fish > ~/.config/fish/completions/hypha.fish")]
pub(crate) struct CompletionsOptions {
    /// Shell for which the script is written
    shell: Shell,
}

pub(crate) fn completions(options: CompletionsOptions, mut command: clap::Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "hypha", &mut script);
    output::write_bytes(&script, None)
}

/// Print the manual page, or write one page for each subcommand
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha man | man -l -
  hypha man --folder ~/.local/share/man/man1")]
pub(crate) struct ManOptions {
    /// Folder to which the pages of all subcommands are written
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

pub(crate) fn man(options: ManOptions, command: clap::Command) -> Result<()> {
    match options.folder {
        Some(folder) => {
            let write = || format!("cannot write to {}", folder.display());
            std::fs::create_dir_all(&folder).with_context(write)?;
            clap_mangen::generate_to(command, &folder).with_context(write)
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            output::write_bytes(&page, None)
        }
    }
}
