//! Runs commands, and steps with a summary. All other modules use this module.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Returns the root folder of the project.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Returns a cargo command that runs in the root folder.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()).args(arguments);
    // Remove the variables that cargo sets for xtask. Build scripts of other packages watch some of
    // them, so cargo would rebuild these packages and all their dependents each time.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name.as_ref());
        }
    }
    command
}

/// Runs a command. Its output is shown.
///
/// # Errors
///
/// Fails if the command cannot be started or does not succeed.
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
/// Fails if the command cannot be started or does not succeed. The error contains its standard
/// error.
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

/// Returns a command as a user would type it, for messages.
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

/// Named steps with a summary. The steps after a failed step still run.
#[derive(Default)]
pub(crate) struct Steps {
    /// Words that select steps: a name must contain at least one. If empty, all steps run.
    only: Vec<String>,
    /// Name, time and result of each step that ran.
    done: Vec<(String, Duration, Result<()>)>,
}

impl Steps {
    /// Creates an empty list of steps. A step will run only if its name contains one of `words`, or
    /// if `words` is empty.
    pub(crate) fn only(words: &[String]) -> Steps {
        Steps {
            only: words.to_vec(),
            done: Vec::new(),
        }
    }

    /// Runs a step if it is selected. Returns false if it failed.
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
    /// Fails if a step failed, or if all steps were skipped.
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
