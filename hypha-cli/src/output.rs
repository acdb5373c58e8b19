//! Writes results to the standard output or a file, and errors to the standard error.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context as _, Error, Result};
use clap::ValueEnum;
use hypha_wire::is_direction;
use serde::Serialize;

use crate::failure::Failure;

/// When to use color.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always, also in files and pipes.
    Always,
    /// Never.
    Never,
}

static COLOR: OnceLock<bool> = OnceLock::new();

/// Sets whether results are colored. Only the first call has an effect.
pub(crate) fn set_color(color: Color) {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let is_terminal = std::io::stdout().is_terminal();
    let colored = is_colored(color, is_terminal, &variable("NO_COLOR"), &variable("TERM"));
    // Ignore the error, because only a second call fails, and `main` calls this function once.
    let _ = COLOR.set(colored);
}

/// Returns whether to use color. An empty NO_COLOR counts as not set (<https://no-color.org>).
fn is_colored(color: Color, is_terminal: bool, no_color: &str, term: &str) -> bool {
    match color {
        Color::Auto => is_terminal && no_color.is_empty() && term != "dumb",
        Color::Always => true,
        Color::Never => false,
    }
}

/// Styles of text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// Table headers and names.
    Bold,
    /// Less important text.
    Dim,
    /// Types.
    Cyan,
    /// Added objects.
    Green,
    /// Removed objects.
    Red,
}

/// Returns `text` in a style, or unchanged if results are not colored.
pub(crate) fn paint(style: Style, text: &str) -> Cow<'_, str> {
    if !COLOR.get().copied().unwrap_or_default() || text.is_empty() {
        return Cow::Borrowed(text);
    }
    let code = match style {
        Style::Bold => 1,
        Style::Dim => 2,
        Style::Cyan => 36,
        Style::Green => 32,
        Style::Red => 31,
    };
    Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m"))
}

/// Replaces control characters, because a string from a peer could use them to move the cursor,
/// change the title of the terminal or hide other text. Keeps line ends and tabs.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c: char| (c.is_control() && c != '\n' && c != '\t') || is_direction(c);
    if text.contains(is_unsafe) {
        Cow::Owned(text.replace(is_unsafe, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Returns a string from a peer as one line, without control characters.
pub(crate) fn line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Writes `text` to a file, or to the standard output if `file` is `None`.
pub(crate) fn write(text: &str, file: Option<&Path>) -> Result<()> {
    write_bytes(text.as_bytes(), file)
}

/// Writes `bytes` to a file, or to the standard output if `file` is `None`.
pub(crate) fn write_bytes(bytes: &[u8], file: Option<&Path>) -> Result<()> {
    match file {
        Some(path) => {
            std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
        }
        None => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes)
                .and_then(|()| out.flush())
                .context("cannot write to the standard output")
        }
    }
}

/// Writes a line to the standard output.
pub(crate) fn say(text: &str) -> Result<()> {
    write(&format!("{text}\n"), None)
}

/// Writes a value as JSON, indented.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    say(&serde_json::to_string_pretty(value)?)
}

/// Writes a note to the standard error. Ignores errors, because the standard error may be closed.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Asks the user to confirm on the terminal. Returns the decision.
///
/// # Errors
///
/// Fails if the standard input or the standard error is not a terminal.
pub(crate) fn confirm(question: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let text = "cannot ask for confirmation without a terminal; use `--yes`";
        return Err(Failure::Usage(text.into()).into());
    }
    let mut err = std::io::stderr();
    let _ = write!(err, "{question} [y/N] ").and_then(|()| err.flush());
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Formats rows as aligned columns with a header.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| line(cell)).collect())
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let cells = cells.map(|cell| cell.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let aligned = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text.push_str(cell);
            let pad = width.saturating_sub(cell.chars().count()) + 2;
            text.extend(std::iter::repeat_n(' ', pad));
        }
        text.trim_end().to_owned()
    };
    let mut text = paint(Style::Bold, &aligned(&mut head.iter().copied())).into_owned();
    text.push('\n');
    for row in &rows {
        text.push_str(&aligned(&mut row.iter().map(String::as_str)));
        text.push('\n');
    }
    text
}

/// Writes `error` and its causes as one paragraph.
pub(crate) fn report(error: &Error) {
    note(&format!("hypha: {}", paragraph(error)));
}

/// Formats `error` and its causes. Skips a cause if the paragraph already ends with its text.
pub(crate) fn paragraph(error: &Error) -> String {
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
    line(&text)
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

    #[test]
    fn colors_are_for_terminals_without_no_color() {
        assert!(is_colored(Color::Auto, true, "", "xterm"));
        assert!(!is_colored(Color::Auto, false, "", "xterm"));
        assert!(!is_colored(Color::Auto, true, "1", "xterm"));
        assert!(!is_colored(Color::Auto, true, "", "dumb"));
        assert!(is_colored(Color::Always, false, "1", "dumb"));
        assert!(!is_colored(Color::Never, true, "", "xterm"));
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [
            vec!["a".into(), "b".into()],
            vec!["größer".into(), "c\nd".into()],
        ];
        assert_eq!(
            table(&["ID", "NAME"], &rows),
            "ID      NAME\na       b\ngrößer  c d\n"
        );
        assert_eq!(table(&["ID"], &[]), "ID\n");
    }

    #[test]
    fn strings_of_peers_do_not_control_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\tc\n"), "a\u{fffd}[2Jb\tc\n");
        assert_eq!(clean("\u{202e}evil"), "\u{fffd}evil");
        assert!(matches!(clean("größer"), Cow::Borrowed(_)));
    }
}
