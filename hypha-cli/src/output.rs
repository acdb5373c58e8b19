//! Writes results to the standard output or a file, and errors to the standard error.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Error, Result};

/// Writes `text` to a file, or to the standard output if `file` is `None`.
pub(crate) fn write(text: &str, file: Option<&Path>) -> Result<()> {
    match file {
        Some(path) => {
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
        }
        None => {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes())
                .and_then(|()| out.flush())
                .context("cannot write to the standard output")
        }
    }
}

/// Writes `error` and its causes as one line to the standard error.
pub(crate) fn report(error: &Error) {
    // Ignore the error: if the standard error is closed, the error cannot be reported.
    let _ = writeln!(std::io::stderr(), "hypha: {}", paragraph(error));
}

/// Returns the messages of an error and its causes on one line. If a message already ends with that
/// of its cause, the cause is not repeated.
fn paragraph(error: &Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.ends_with(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_written_once_and_on_one_line() {
        let error = anyhow::anyhow!("connection refused\n(os error 111)")
            .context("cannot open: connection refused\n(os error 111)")
            .context("cannot connect");
        assert_eq!(
            paragraph(&error),
            "cannot connect: cannot open: connection refused (os error 111)"
        );
    }
}
