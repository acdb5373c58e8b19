//! Names in other languages: identifiers made of any text, each given only once.

use std::collections::HashMap;

/// The names that are taken in one place: a file, a class, a list of parameters.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Each with the number that the next of its name gets.
    taken: HashMap<String, u64>,
}

impl Names {
    /// A place in which `reserved` mean something else already.
    pub(super) fn new(reserved: &[&str]) -> Self {
        let taken = reserved.iter().map(|&name| (name.to_owned(), 2));
        Names {
            taken: taken.collect(),
        }
    }

    /// `wanted`, or `wanted` with a number if it is taken.
    pub(super) fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        while self.taken.contains_key(&name) {
            let number = self.taken.entry(wanted.to_owned()).or_insert(2);
            name = format!("{wanted}{number}");
            *number += 1;
        }
        self.taken.insert(name.clone(), 2);
        name
    }

    /// The names that `make` makes of texts. What is such a name already keeps it, whatever stands before it:
    /// `a` is not called `a2` because there is an `A` as well.
    pub(super) fn each(&mut self, texts: &[&str], make: fn(&str) -> String) -> Vec<String> {
        let mut names = vec![String::new(); texts.len()];
        for keeps_its_own in [true, false] {
            for (name, text) in names.iter_mut().zip(texts) {
                let wanted = make(text);
                if (wanted == *text) == keeps_its_own {
                    *name = self.fresh(&wanted);
                }
            }
        }
        names
    }
}

/// How long a name that we make may become: names of nested types are put together from those around them.
const LONGEST: usize = 60;

/// As the name of a type: the words of `text`, each with a capital, letters of ASCII only.
pub(super) fn pascal(text: &str) -> String {
    let mut name = String::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name.truncate(LONGEST);
    match name.chars().next() {
        Some(first) if first.is_ascii_alphabetic() => name,
        Some(_) => format!("T{name}"),
        None => "T".to_owned(),
    }
}

/// As the name of a function or a variable: words in lower case, with `_` between them.
pub(super) fn snake(text: &str) -> String {
    let mut name = String::new();
    let mut after_lower = false;
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() {
            if !name.ends_with('_') {
                name.push('_');
            }
            after_lower = false;
            continue;
        }
        if c.is_ascii_uppercase() && after_lower {
            name.push('_');
        }
        after_lower = !c.is_ascii_uppercase();
        name.push(c.to_ascii_lowercase());
    }
    name.truncate(LONGEST);
    match name.trim_matches('_') {
        "" => "x".to_owned(),
        // One `_` at the beginning says something in most languages; it stays.
        trimmed if name.starts_with('_') => format!("_{trimmed}"),
        trimmed if trimmed.starts_with(|c: char| c.is_ascii_digit()) => format!("_{trimmed}"),
        trimmed => trimmed.to_owned(),
    }
}

/// Whether `text` is an identifier of ASCII letters, digits and `_`, which all languages take if it is none
/// of their words.
pub(super) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `text` as an identifier that keeps its letters where it can: for parameters, whose names callers see.
pub(super) fn identifier(text: &str) -> String {
    if is_identifier(text) && text.len() <= LONGEST && text != "_" {
        return text.to_owned();
    }
    snake(text)
}

/// The lines of a text for a comment: without what ends lines or changes their direction elsewhere, and
/// without empty ones at both ends.
pub(super) fn comment_lines(text: &str) -> Vec<String> {
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

/// What makes text read in another order than it is written, or break where no line ends: no compiler likes it in
/// a source, nor does its reader.
pub(super) fn is_direction(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
}

/// A literal text of JavaScript and Python: JSON, and ASCII but for letters.
pub(super) fn literal(text: &str) -> String {
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
    fn names_of_anything() {
        for (text, wanted) in [
            ("divide", "Divide"),
            ("get_URL", "GetURL"),
            ("3d", "T3d"),
            ("", "T"),
            ("kůň", "K"),
            ("a-b.c d", "ABCD"),
        ] {
            assert_eq!(pascal(text), wanted, "{text}");
        }
        for (text, wanted) in [
            ("getURL", "get_url"),
            ("a-b.c", "a_b_c"),
            ("3d", "_3d"),
            ("", "x"),
            ("__init__", "_init"),
            ("日本", "x"),
        ] {
            assert_eq!(snake(text), wanted, "{text}");
        }
        let mut names = Names::new(&["class"]);
        let given = ["class", "x", "x", "x2"].map(|name| names.fresh(name));
        assert_eq!(given, ["class2", "x", "x2", "x22"]);
        let mut names = Names::new(&["class"]);
        let given = names.each(&["A", "a", "fooBar", "foo_bar", "class"], snake);
        assert_eq!(given, ["a2", "a", "foo_bar2", "foo_bar", "class2"]);
    }

    #[test]
    fn comments_are_lines() {
        assert_eq!(
            comment_lines("\n a\r\nb\u{2028}c\u{202e}d\0\te \n\n"),
            [" a", "", "b", "cd e"]
        );
    }
}
