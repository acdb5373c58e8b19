//! Identifiers of other languages, derived from any text and unique in their scope.

use std::collections::HashMap;

use heck::ToSnakeCase as _;

/// Names that are taken in one scope: a file, a class or a list of parameters.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Taken names, each with the number to try next for the same name. Without it, many equal
    /// names would take quadratic time.
    taken: HashMap<String, u64>,
}

impl Names {
    /// Returns a scope in which the names in `reserved` are taken.
    pub(crate) fn new(reserved: &[&str]) -> Self {
        let taken = reserved.iter().map(|&name| (name.to_owned(), 2));
        Names {
            taken: taken.collect(),
        }
    }

    /// Takes `wanted`, or `wanted` with a number if it is taken.
    pub(crate) fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        while self.taken.contains_key(&name) {
            let number = self.taken.entry(wanted.to_owned()).or_insert(2);
            name = format!("{wanted}{number}");
            *number += 1;
        }
        self.taken.insert(name.clone(), 2);
        name
    }

    /// Takes a name for each text, derived with `make`.
    ///
    /// A text that is a valid name keeps it regardless of the order: `a` does not become `a2`
    /// because of an `A` before it.
    pub(crate) fn each(&mut self, texts: &[&str], make: fn(&str) -> String) -> Vec<String> {
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

/// Longest derived name, in characters. Names of nested types are joined from the names around them
/// and would otherwise grow without limit.
const LONGEST: usize = 60;

/// Returns `text` as the name of a type: its ASCII words, each with a capital.
///
/// Not `heck`'s conversion: that turns `HTTPServer` into `HttpServer`, and a type keeps the name
/// that its author gave it.
pub(crate) fn pascal(text: &str) -> String {
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

/// Returns `text` as the name of a function or a variable: ASCII words in lower case, with `_`
/// between them.
pub(crate) fn snake(text: &str) -> String {
    let ascii = text.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let mut name = ascii.to_snake_case();
    name.truncate(LONGEST);
    match name.trim_end_matches('_') {
        "" => "x".to_owned(),
        // A leading `_` has a meaning in most languages and stays; a digit cannot be the first
        // character.
        name if ascii.starts_with('_') || name.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("_{name}")
        }
        name => name.to_owned(),
    }
}

/// Returns whether `text` is an identifier of ASCII letters, digits and `_`, which every language
/// accepts unless it is a keyword there.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Returns `text` as an identifier with the letters of `text` if possible, for parameters: their
/// names are visible to callers.
pub(crate) fn identifier(text: &str) -> String {
    if is_identifier(text) && text.len() <= LONGEST && text != "_" {
        return text.to_owned();
    }
    snake(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_an_identifier() {
        for (text, wanted) in [
            ("divide", "Divide"),
            ("get_URL", "GetURL"),
            ("HTTPServer", "HTTPServer"),
            ("3d", "T3d"),
            ("", "T"),
            ("kůň", "K"),
            ("a-b.c d", "ABCD"),
        ] {
            assert_eq!(pascal(text), wanted, "{text}");
        }
        for (text, wanted) in [
            ("getURL", "get_url"),
            ("HTTPServer", "http_server"),
            ("_private", "_private"),
            ("utf8Text", "utf8_text"),
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
}
