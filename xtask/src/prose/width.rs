//! Checks the width of comments and Markdown. rustfmt only checks code.

use super::{File, comment};

/// Maximum number of characters per line.
const COLUMNS: usize = 100;

/// Returns the lines that are too wide. Some lines may be wider: tables, code, and single words
/// that cannot be wrapped.
pub(super) fn violations(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in file.text.lines().enumerate() {
        let prose = if file.is_markdown() {
            Some(line)
        } else {
            comment(line).map(|(_, text)| text)
        };
        let Some(prose) = prose.map(str::trim) else {
            fenced = false;
            continue;
        };
        if prose.starts_with("```") {
            fenced = !fenced;
        }
        // Code may be wider in Markdown. In a comment it may not, because rustfmt does not wrap
        // code in comments.
        let code = fenced && file.is_markdown();
        let columns = line.chars().count();
        if columns > COLUMNS && !code && !prose.starts_with('|') && can_be_broken(prose) {
            found.push(format!("{}:{}: {columns} columns", file.path, index + 1));
        }
    }
    found
}

/// Returns whether the line can be wrapped. A link definition cannot be wrapped.
fn can_be_broken(prose: &str) -> bool {
    let definition = prose.starts_with('[') && prose.contains("]: ");
    let words = prose.split_whitespace();
    let longest = words.clone().map(|word| word.chars().count()).max();
    !definition && words.count() > 1 && longest.unwrap_or_default() < COLUMNS - 8
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    #[test]
    fn wide_comments_and_prose_are_reported() {
        let words = "word ".repeat(21);
        let comment = format!("fn a() {{}}\n    /// {words}\n");
        assert_eq!(violations(&file("a.rs", &comment)), ["a.rs:2: 113 columns"]);
        let page = format!("Short.\n\n{words}\n");
        assert_eq!(violations(&file("a.md", &page)), ["a.md:3: 105 columns"]);
    }

    #[test]
    fn tables_code_links_and_strings_may_be_wide() {
        let words = "word ".repeat(21);
        let page = format!("| {words} |\n```text\n{words}\n```\n[a b]: https://a.b/{words}\n");
        assert_eq!(violations(&file("a.md", &page)), [""; 0]);
        let code = format!("let a = \"{words}\";\n");
        assert_eq!(violations(&file("a.rs", &code)), [""; 0]);
        let url = format!("// https://a.b/{}\n", "c".repeat(100));
        assert_eq!(violations(&file("a.rs", &url)), [""; 0]);
    }
}
