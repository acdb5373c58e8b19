//! Names on the wire: renaming rules, and what a name may look like.

use syn::LitStr;

use crate::diag::Errors;

/// How the names of a contract are written on the wire.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    Unchanged,
    Camel,
    Pascal,
    Snake,
    ScreamingSnake,
    Kebab,
}

impl Rule {
    const NAMES: [(&'static str, Rule); 5] = [
        ("camelCase", Rule::Camel),
        ("PascalCase", Rule::Pascal),
        ("snake_case", Rule::Snake),
        ("SCREAMING_SNAKE_CASE", Rule::ScreamingSnake),
        ("kebab-case", Rule::Kebab),
    ];

    /// The value of `rename_all`.
    pub(crate) fn parse(given: Option<&LitStr>, errors: &mut Errors) -> Rule {
        let Some(given) = given else {
            return Rule::Unchanged;
        };
        let text = given.value();
        if let Some((_, rule)) = Rule::NAMES.iter().find(|(name, _)| *name == text) {
            return *rule;
        }
        let list: Vec<_> = Rule::NAMES
            .iter()
            .map(|(name, _)| format!("\"{name}\""))
            .collect();
        errors.push(given, format!("`rename_all` is one of {}", list.join(", ")));
        Rule::Unchanged
    }

    pub(crate) fn apply(self, name: &str) -> String {
        let words = words(name);
        match self {
            Rule::Unchanged => name.to_owned(),
            Rule::Snake => words.join("_"),
            Rule::ScreamingSnake => words.join("_").to_uppercase(),
            Rule::Kebab => words.join("-"),
            Rule::Pascal => words.iter().map(|word| capitalised(word)).collect(),
            Rule::Camel => {
                let mut words = words.iter();
                let first = words.next().cloned().unwrap_or_default();
                first + &words.map(|word| capitalised(word)).collect::<String>()
            }
        }
    }
}

/// The words of a Rust name in either case, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut start_next = true;
    for letter in name.chars() {
        if letter == '_' {
            start_next = true;
            continue;
        }
        if start_next || letter.is_uppercase() {
            words.push(String::new());
        }
        start_next = false;
        if let Some(word) = words.last_mut() {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// Checks the service id.
pub(crate) fn check_id(id: &LitStr, errors: &mut Errors) {
    check("id", id, ".:@/*", errors);
}

/// Checks the name of a method or argument. A method's may be a path, `nested.method`.
pub(crate) fn check_name(name: &LitStr, errors: &mut Errors) {
    check("name", name, ":@/*", errors);
}

/// Addresses are taken apart at the characters in `forbidden`.
fn check(what: &str, given: &LitStr, forbidden: &str, errors: &mut Errors) {
    let name = given.value();
    if name.split('.').any(str::is_empty) {
        errors.push(given, format!("`{what}` is empty"));
    } else if let Some(bad) = name
        .chars()
        .find(|c| forbidden.contains(*c) || c.is_whitespace())
    {
        errors.push(
            given,
            if bad.is_whitespace() {
                format!("`{what}` cannot contain blanks")
            } else {
                format!("`{what}` cannot contain `{bad}`, which has a meaning in addresses")
            },
        );
    }
}
