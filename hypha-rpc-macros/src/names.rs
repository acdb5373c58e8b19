//! Checks and converts names on the wire. Contains the renaming rules and the forbidden characters.

use heck::{
    ToKebabCase as _, ToLowerCamelCase as _, ToShoutySnakeCase as _, ToSnakeCase as _,
    ToUpperCamelCase as _,
};
use syn::LitStr;

use crate::diag::Errors;

/// Case of the names of a contract on the wire.
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

    /// Returns the rule for a value of `rename_all`.
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

    /// Returns the name on the wire for a Rust name.
    pub(crate) fn apply(self, name: &str) -> String {
        match self {
            Rule::Unchanged => name.to_owned(),
            Rule::Snake => name.to_snake_case(),
            Rule::ScreamingSnake => name.to_shouty_snake_case(),
            Rule::Kebab => name.to_kebab_case(),
            Rule::Pascal => name.to_upper_camel_case(),
            Rule::Camel => name.to_lower_camel_case(),
        }
    }
}

/// Reports a service id with characters that addresses cannot contain.
pub(crate) fn check_id(id: &LitStr, errors: &mut Errors) {
    check("id", id, ".:@/*", errors);
}

/// Reports a name of a method or argument with characters that addresses cannot contain. The name
/// of a method may be a path, `nested.method`.
pub(crate) fn check_name(name: &LitStr, errors: &mut Errors) {
    check("name", name, ":@/*", errors);
}

/// Reports a name that is empty or contains white space or a `forbidden` character. Peers split
/// addresses at such characters.
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
