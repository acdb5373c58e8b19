//! Runs a program that performs steps with a server, and reads the result of each step.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::Process;

/// Maximum time until a program has ended.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs a program that prints a line of JSON (`{step, answer}`) for each step, and `DONE` at the
/// end. Returns the name and the answer of each step.
pub async fn answers(name: String, command: Command) -> Result<Vec<(String, Value)>> {
    let program = Process::start(name, &command)?;
    let lines = tokio::task::spawn_blocking(move || {
        let status = program.wait(LIMIT)?;
        let mut lines = program.stdout();
        let done = lines.pop().is_some_and(|line| line == "DONE");
        ensure!(status.success() && done, "{}", program.transcript(0));
        Ok(lines)
    });
    let steps = lines.await??.into_iter().map(|line| {
        let mut step: Value = serde_json::from_str(&line)?;
        let name = step["step"].as_str().context("a step without a name")?;
        Ok((name.to_owned(), step["answer"].take()))
    });
    steps.collect()
}
