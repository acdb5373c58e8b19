//! Sanitizes untrusted strings for comments and literals of any language.

use hypha_wire::is_direction;

/// Returns the lines of a string for a comment, without control characters, other line separators
/// and direction marks, and without empty lines at both ends.
pub(crate) fn comment_lines(text: &str) -> Vec<String> {
    let lines = text.split([
        '\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}',
    ]);
    let mut lines: Vec<String> = lines
        .map(|line| {
            let line: String = line
                .chars()
                .map(|c| if c == '\t' { ' ' } else { c })
                .filter(|&c| !c.is_control() && !is_direction(c))
                .collect();
            line.trim_end().to_owned()
        })
        .collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    let first = lines.iter().position(|line| !line.is_empty());
    lines.drain(..first.unwrap_or(0));
    lines
}

/// Returns a string literal that is valid in both JavaScript and Python: JSON in which the only
/// unescaped non-ASCII characters are letters, digits and characters beyond U+FFFF.
pub(crate) fn literal(text: &str) -> String {
    let mut literal = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            c if c.is_ascii() && !c.is_control() => literal.push(c),
            c if c.is_alphanumeric() => literal.push(c),
            c if u32::from(c) > 0xffff => literal.push(c),
            c => literal.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_lines() {
        assert_eq!(
            comment_lines("\n a\r\nb\u{2028}c\u{202e}d\0\te \n\n"),
            [" a", "", "b", "cd e"]
        );
    }
}
