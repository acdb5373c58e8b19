//! Comments, literals and identifiers in Rust.

use hypha_wire::is_direction;

use crate::text::comment_lines;

/// Keywords of all editions.
const WORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield", "Self",
];

/// Keywords that cannot be raw identifiers.
pub(super) const NEVER_RAW: [&str; 4] = ["self", "Self", "super", "crate"];

/// Returns an identifier, raw if it is a keyword.
pub(super) fn ident(name: &str) -> String {
    match name {
        name if WORDS.contains(&name) => format!("r#{name}"),
        name => name.to_owned(),
    }
}

/// Returns a string literal.
pub(super) fn literal(text: &str) -> String {
    let mut literal = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            '\n' => literal.push_str("\\n"),
            c if c.is_control() || is_direction(c) => literal.extend(c.escape_unicode()),
            c => literal.push(c),
        }
    }
    literal.push('"');
    literal
}

/// Returns the lines of a doc comment, without indentation, code fences and tags. rustdoc runs code
/// blocks as tests and passes HTML through, but the author of a service must not be able to run
/// code on the user's machine.
pub(super) fn docs(text: &str) -> Vec<String> {
    let lines = comment_lines(text).into_iter();
    lines
        .map(|line| {
            let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
            let mut safe = String::new();
            let mut chars = line.chars().peekable();
            let (mut run, mut last) = (0, ' ');
            // Whether an odd number of backslashes precedes, which is the case if the text comes
            // from a generated contract.
            let mut is_escaped = false;
            while let Some(c) = chars.next() {
                run = if c == last { run + 1 } else { 1 };
                last = c;
                let is_fence =
                    run == 1 && matches!(c, '`' | '~') && chars.clone().take(2).eq([c, c]);
                let is_tag = c == '<'
                    && chars
                        .peek()
                        .is_some_and(|next| !next.is_whitespace() && *next != '=');
                if (is_fence || is_tag) && !is_escaped {
                    safe.push('\\');
                }
                is_escaped = c == '\\' && !is_escaped;
                safe.push(c);
            }
            safe
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_runs_nothing() {
        let text =
            "Text.\n\n    code()\n```\ncode()\n````rust\n- ~~~\n-     code()\n<script> a <= b < c";
        assert_eq!(
            docs(text),
            [
                "Text.",
                "",
                "code()",
                "\\```",
                "code()",
                "\\````rust",
                "- \\~~~",
                "- code()",
                "\\<script> a <= b < c",
            ]
        );
        // The text of a generated contract stays the same.
        assert_eq!(docs(&docs(text).join("\n")), docs(text));
        assert_eq!(docs("\\\\<b> \\\\\\<b>"), ["\\\\\\<b> \\\\\\<b>"]);
    }

    #[test]
    fn literals_and_identifiers() {
        assert_eq!(literal("a\"\\\n\u{202e}\0ů"), r#""a\"\\\n\u{202e}\u{0}ů""#);
        assert_eq!(["type", "x"].map(ident), ["r#type", "x"]);
    }
}
