//! Running commands, one named step after the other, and a summary at the end.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// The folder of the project.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// A cargo command in the folder of the project.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()).args(arguments);
    // The variables that cargo sets for our own package must not reach the build scripts of
    // others: some watch them, and everything above would be built again each time.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name.as_ref());
        }
    }
    command
}

/// Run a command with our own output; it has to succeed.
pub(crate) fn perform(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command
        .status()
        .with_context(|| format!("`{shown}` cannot be run"))?;
    ensure!(status.success(), "`{shown}`: {status}");
    Ok(())
}

/// Returns the output of a command, which has to succeed.
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

/// A command as somebody would type it.
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

/// Returns the packages of the workspace as cargo describes them, without their dependencies.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let arguments = ["metadata", "--no-deps", "--format-version", "1"];
    Ok(serde_json::from_str(&output(&mut cargo(&arguments))?)?)
}

/// Steps that are all run, also when one of them fails.
#[derive(Default)]
pub(crate) struct Steps {
    /// Words of which the name of a step has to contain one. None: every step is run.
    only: Vec<String>,
    done: Vec<(String, Duration, Result<()>)>,
}

impl Steps {
    /// Leaves out every step whose name contains none of these words. No words: all are run.
    pub(crate) fn only(words: &[String]) -> Steps {
        Steps {
            only: words.to_vec(),
            done: Vec::new(),
        }
    }

    /// Runs a step, and returns whether it succeeded. One that is left out counts as a success.
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

    /// Say how every step came out; an error if one failed.
    pub(crate) fn finish(self) -> Result<()> {
        ensure!(!self.done.is_empty(), "no step is called that");
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
