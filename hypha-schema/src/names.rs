//! Derives identifiers for other languages from arbitrary strings. The identifiers are unique in
//! their scope.

use std::collections::HashMap;

use heck::ToSnakeCase as _;

/// The names that are already used in one scope. A scope is a file, a class or a list of
/// parameters.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Used names. The value is the number to append if the same name is wanted again. Starting at
    /// 2 each time would take quadratic time for many equal names.
    taken: HashMap<String, u64>,
}

impl Names {
    /// Returns a scope in which the names in `reserved` are already used.
    pub(crate) fn new(reserved: &[&str]) -> Self {
        let taken = reserved.iter().map(|&name| (name.to_owned(), 2));
        Names {
            taken: taken.collect(),
        }
    }

    /// Reserves the name `wanted` and returns it. If `wanted` is already used, appends a number.
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

    /// Returns the names of sent values: other names for those of `names` for whose indexes
    /// `is_twice` returns true, and the same names for the others.
    pub(crate) fn of_sent(
        &mut self,
        names: &[String],
        is_twice: impl Fn(usize) -> bool,
    ) -> Vec<String> {
        let names = names.iter().enumerate();
        let names = names.map(|(index, name)| match is_twice(index) {
            true => self.fresh(&format!("{name}Argument")),
            false => name.clone(),
        });
        names.collect()
    }

    /// Derives a name from each string with `make`. Reserves and returns these names.
    ///
    /// A string that is already a valid name remains unchanged, regardless of the order. For
    /// example, `a` does not become `a2` because `A` comes first.
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

/// Maximum length of a derived name, in characters. The name of a nested type contains the names of
/// the types around it, and would otherwise grow without limit.
const LONGEST: usize = 60;

/// Returns `text` as a type name: the ASCII words of `text`, each with an upper-case first letter.
///
/// Does not use `heck`, because `heck` converts `HTTPServer` to `HttpServer`. A type must keep the
/// name that its author chose.
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

/// Returns `text` as a function or variable name: the ASCII words of `text` in lower case, joined
/// with `_`.
pub(crate) fn snake(text: &str) -> String {
    let ascii = text.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let mut name = ascii.to_snake_case();
    name.truncate(LONGEST);
    match name.trim_end_matches('_') {
        "" => "x".to_owned(),
        // Keep a leading `_`, because it has a meaning in most languages. Add `_` before a digit,
        // because an identifier cannot start with a digit.
        name if ascii.starts_with('_') || name.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("_{name}")
        }
        name => name.to_owned(),
    }
}

/// Returns `text` as a function or variable name of Rust. Keeps a name that Rust accepts without a
/// warning, such as `f64_`. Names in the code of macros start with two `_`.
pub(crate) fn rust_snake(text: &str) -> String {
    let inner = text.trim_matches('_');
    let is_snake = !inner.is_empty() && !inner.contains("__") && !text.starts_with("__");
    if is_snake && text.len() <= LONGEST && is_identifier(text) && *text == text.to_lowercase() {
        return text.to_owned();
    }
    snake(text)
}

/// Returns whether `text` is an identifier of ASCII letters, digits and `_`. Every language accepts
/// such an identifier, unless the identifier is a keyword of that language.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Returns `text` as the name of a parameter. Keeps upper and lower case if possible, because
/// callers write these names.
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
        for (text, wanted) in [
            ("f64_", "f64_"),
            ("__init__", "_init"),
            ("init__", "init__"),
            ("a1b", "a1b"),
            ("a__b", "a_b"),
            ("fooBar", "foo_bar"),
            ("_", "x"),
        ] {
            assert_eq!(rust_snake(text), wanted, "{text}");
        }
        let mut names = Names::new(&["class"]);
        let given = ["class", "x", "x", "x2"].map(|name| names.fresh(name));
        assert_eq!(given, ["class2", "x", "x2", "x22"]);
        let mut names = Names::new(&["class"]);
        let given = names.each(&["A", "a", "fooBar", "foo_bar", "class"], snake);
        assert_eq!(given, ["a2", "a", "foo_bar2", "foo_bar", "class2"]);
    }
}
