//! Lists the errors of a method for its doc comment, in languages that do not declare errors in
//! signatures.

use crate::types::{ErrorFacts, Type, Types};

/// One error of a method.
pub(crate) struct Raised<'a> {
    /// Class of the exception, if the author of the service set one.
    pub(crate) class: Option<&'a str>,
    /// Name and message.
    pub(crate) text: String,
}

/// Returns the named errors of a method.
pub(crate) fn raised<'a>(types: &'a Types, error: &'a Option<Type>) -> Vec<Raised<'a>> {
    let Some(error) = error.as_ref().filter(|error| types.is_error(error)) else {
        return Vec::new();
    };
    let variants = types.error_variants(error).into_iter();
    let one = |(facts, description): (&'a ErrorFacts, &str)| {
        let class = facts.classes.iter().map(String::as_str).find(|class| {
            class
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'.')
        });
        let mut text = facts.name.clone();
        let message = facts.message.as_deref().filter(|text| !text.is_empty());
        if let Some(message) = message.or((!description.is_empty()).then_some(description)) {
            text = format!("{text}: {message}");
        }
        Raised {
            class,
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
        }
    };
    variants.map(one).collect()
}
