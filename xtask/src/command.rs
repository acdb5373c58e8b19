//! Runs commands. Also runs steps, and prints a summary of the steps.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Returns the root folder of the project.
///
/// The variable that cargo sets for the running program comes first. If several checkouts share a
/// target directory, another checkout may have built the program.
pub(crate) fn root() -> PathBuf {
    let running = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = running.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().unwrap_or(&here).to_path_buf()
}

/// Returns a cargo command that runs in the root folder.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()).args(arguments);
    // Remove the variables that cargo sets for xtask. Build scripts of other packages watch some of
    // these variables. With changed variables, cargo would rebuild those packages and all packages
    // that depend on them.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name.as_ref());
        }
    }
    command
}

/// Runs a command. The output of the command is shown.
///
/// # Errors
///
/// Returns an error if the command cannot be started or does not succeed.
pub(crate) fn perform(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command
        .status()
        .with_context(|| format!("`{shown}` cannot be run"))?;
    ensure!(status.success(), "`{shown}`: {status}");
    Ok(())
}

/// Runs a command, and returns its standard output.
///
/// # Errors
///
/// Returns an error if the command cannot be started or does not succeed. The error contains the
/// standard error of the command.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command
        .output()
        .with_context(|| format!("`{shown}` cannot be run"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`{shown}`: {}\n{errors}",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns a command in the form in which a user would type it, for messages.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or_default().to_string_lossy()];
    words.extend(
        command
            .get_args()
            .map(|argument| argument.to_string_lossy()),
    );
    words.join(" ")
}

/// Returns the output of `cargo metadata` for the packages of the workspace, without dependencies.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let arguments = ["metadata", "--no-deps", "--format-version", "1"];
    Ok(serde_json::from_str(&output(&mut cargo(&arguments))?)?)
}

/// Runs named steps and summarizes them. After a failed step, the remaining steps still run.
#[derive(Default)]
pub(crate) struct Steps {
    /// Words that select steps. A step runs if its name contains at least one of the words. If
    /// there are no words, all steps run.
    only: Vec<String>,
    /// Name, time and result of each step that ran.
    done: Vec<(String, Duration, Result<()>)>,
}

impl Steps {
    /// Creates an empty list of steps. A step that is added later runs only if its name contains
    /// one of `words`, or if `words` is empty.
    pub(crate) fn only(words: &[String]) -> Steps {
        Steps {
            only: words.to_vec(),
            done: Vec::new(),
        }
    }

    /// Runs a step if it is selected. Returns false if the step failed.
    pub(crate) fn step(
        &mut self,
        name: impl Into<String>,
        work: impl FnOnce() -> Result<()>,
    ) -> bool {
        let name = name.into();
        if !self.only.is_empty() && !self.only.iter().any(|word| name.contains(word)) {
            return true;
        }
        println!("\n=== {name}");
        let start = Instant::now();
        let result = work();
        if let Err(error) = &result {
            println!("{error:#}");
        }
        let succeeded = result.is_ok();
        self.done.push((name, start.elapsed(), result));
        succeeded
    }

    /// Prints a summary.
    ///
    /// # Errors
    ///
    /// Returns an error if a step failed, or if all steps were skipped.
    pub(crate) fn finish(self) -> Result<()> {
        ensure!(!self.done.is_empty(), "no step has a name with these words");
        println!("\n=== summary");
        for (name, took, result) in &self.done {
            let mark = if result.is_ok() { "ok    " } else { "FAILED" };
            println!("{mark} {name} ({:.1} s)", took.as_secs_f64());
        }
        let failed = self
            .done
            .iter()
            .filter(|(_, _, result)| result.is_err())
            .count();
        if failed > 0 {
            bail!("{failed} of {} steps failed", self.done.len());
        }
        Ok(())
    }
}
