//! Checks prose, which is Markdown and the comments in the sources.
//!
//! Each rule is a function that takes a file and returns its violations. Unit tests can therefore
//! pass a file that only exists in memory.

mod links;
mod spelling;
mod width;
mod words;

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::{output, root};

pub(crate) use spelling::spelling;

/// A file of the project.
pub(crate) struct File {
    /// Path of the file, relative to the root of the project.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }
}

/// Returns the source files and Markdown files that git tracks. Skips symbolic links, because git
/// also tracks their targets.
fn files() -> Result<Vec<File>> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["ls-files", "*.rs", "*.md"]);
    let mut files = Vec::new();
    for path in output(&mut git)?.lines() {
        let absolute = root().join(path);
        // Git still lists a deleted file until the deletion is committed.
        if absolute.is_file() && !absolute.is_symlink() {
            files.push(File {
                path: path.to_owned(),
                text: fs::read_to_string(absolute)?,
            });
        }
    }
    Ok(files)
}

/// Checks the width of comments and prose.
pub(crate) fn width() -> Result<()> {
    report(files()?.iter().flat_map(width::violations))
}

/// Checks that no excluded words occur, and that no sentence starts with a word such as "What" or
/// "Who" as its subject.
pub(crate) fn words() -> Result<()> {
    report(files()?.iter().flat_map(words::violations))
}

/// Checks links and anchors within the project.
pub(crate) fn links() -> Result<()> {
    let files = files()?;
    let tree = links::Tree::read(&files)?;
    report(files.iter().flat_map(|file| tree.violations(file)))
}

/// Returns an error that lists all violations, if there are any.
fn report(violations: impl Iterator<Item = String>) -> Result<()> {
    let violations: Vec<String> = violations.collect();
    ensure!(
        violations.is_empty(),
        "{}\n{} violations",
        violations.join("\n"),
        violations.len()
    );
    Ok(())
}

/// A paragraph, list item, heading or table cell. Its code spans are replaced.
struct Paragraph {
    /// Number of the first line. The first line of a file is 1.
    line: usize,
    text: String,
}

/// Returns the paragraphs of a file. Each code span is replaced by a backquote.
fn paragraphs(file: &File) -> Vec<Paragraph> {
    let mut found: Vec<Paragraph> = Vec::new();
    let mut fenced = false;
    // Comment marker of the previous line. `None` if the paragraph of the previous line cannot
    // continue on this line.
    let mut open: Option<&str> = None;
    for (index, line) in file.text.lines().enumerate() {
        let prose = if file.is_markdown() {
            Some(("", line))
        } else {
            comment(line)
        };
        let Some((marker, prose)) = prose else {
            open = None;
            fenced = false;
            continue;
        };
        let prose = prose.trim();
        if prose.starts_with("```") {
            fenced = !fenced;
            open = None;
            continue;
        }
        if fenced || prose.is_empty() {
            open = None;
            continue;
        }
        if prose.starts_with('|') {
            for cell in prose.split('|').filter(|cell| !cell.trim().is_empty()) {
                found.push(Paragraph {
                    line: index + 1,
                    text: without_code(cell.trim()),
                });
            }
            open = None;
            continue;
        }
        let item = item(prose);
        match found.last_mut() {
            Some(paragraph) if open == Some(marker) && item.is_none() => {
                paragraph.text.push(' ');
                paragraph.text.push_str(prose);
            }
            _ => found.push(Paragraph {
                line: index + 1,
                text: item.unwrap_or(prose).to_owned(),
            }),
        }
        open = (!prose.starts_with('#')).then_some(marker);
    }
    for paragraph in &mut found {
        paragraph.text = without_code(&paragraph.text);
    }
    found
}

/// Splits a comment line into the marker and the content. Returns `None` if the line is not a
/// comment.
fn comment(line: &str) -> Option<(&'static str, &str)> {
    let line = line.trim_start();
    ["//!", "///", "//"]
        .into_iter()
        .find_map(|marker| Some((marker, line.strip_prefix(marker)?)))
}

/// Returns the content of a list item or heading. A list item or heading starts a new paragraph.
fn item(prose: &str) -> Option<&str> {
    let list = prose.strip_prefix("* ").or(prose.strip_prefix("- "));
    let heading = || {
        Some(
            prose
                .strip_prefix('#')?
                .trim_start_matches('#')
                .trim_start(),
        )
    };
    let numbered = || {
        let rest = prose.trim_start_matches(|c: char| c.is_ascii_digit());
        (rest.len() < prose.len()).then(|| rest.strip_prefix(". "))?
    };
    list.or_else(heading).or_else(numbered)
}

/// Replaces each code span with a backquote.
fn without_code(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        out.push_str(if index % 2 == 0 { part } else { "`" });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    fn texts(path: &str, text: &str) -> Vec<(usize, String)> {
        let found = paragraphs(&file(path, text)).into_iter();
        found.map(|p| (p.line, p.text)).collect()
    }

    #[test]
    fn paragraphs_of_comments() {
        let source = "//! One\n//! line.\n\nfn a() {}\n/// Two `code` b.\n///\n/// ```\n/// What code\n\
                      /// ```\n/// * three\n///   more\n// Four\n";
        let expected = [
            (1, "One line."),
            (5, "Two ` b."),
            (10, "three more"),
            (12, "Four"),
        ];
        assert_eq!(
            texts("a.rs", source),
            expected.map(|(line, text)| (line, text.to_owned()))
        );
    }

    #[test]
    fn paragraphs_of_markdown() {
        let page = "# Head\ntext\nmore\n\n| a | b |\n1. one\n";
        let expected = [
            (1, "Head"),
            (2, "text more"),
            (5, "a"),
            (5, "b"),
            (6, "one"),
        ];
        assert_eq!(
            texts("a.md", page),
            expected.map(|(line, text)| (line, text.to_owned()))
        );
    }
}
