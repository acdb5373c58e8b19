//! Writes the attributes of error types. The attributes contain the names, classes and messages of
//! errors.
//!
//! The author of the service chose these values. This module writes only values that the derive
//! macros accept.

use std::collections::HashSet;

use super::member_names::field_names;
use super::text::{NEVER_RAW, literal};
use super::writer::Writer;
use crate::names::Names;
use crate::types::{ErrorFacts, Struct, Type};

/// Content of a variant of an enum, or of a struct.
pub(super) enum Content<'a> {
    None,
    /// A single value, or a tuple of several values.
    Value(&'a Type),
    Fields(&'a Struct),
}

impl Writer<'_> {
    /// Writes the attributes of a variant, if the enum of the variant is an error.
    pub(super) fn variant_error(
        &mut self,
        facts: &Option<ErrorFacts>,
        index: usize,
        variant: &str,
        content: Content<'_>,
    ) {
        let is_error = self.model.types.is_error(&Type::Named(index));
        if let Some(facts) = facts.as_ref().filter(|_| is_error) {
            let name = format!("{}.{variant}", self.names[index]);
            self.error_attributes(1, facts, &name, content);
        }
    }

    /// Writes the attributes of an error. `name` is the name that the derive macro gives to the
    /// error by default.
    pub(super) fn error_attributes(
        &mut self,
        depth: usize,
        facts: &ErrorFacts,
        name: &str,
        content: Content<'_>,
    ) {
        let message = facts.message.as_deref();
        let message = message.filter(|message| is_message(message, &content));
        let message = match message {
            // Keeps the causes of the failure.
            Some("{0}") if matches!(content, Content::Value(Type::Failure)) => {
                "transparent".to_owned()
            }
            Some(message) => literal(message),
            // The error has no message that the derive macro accepts. If the attribute has two
            // arguments, the derive macro publishes no message, so the schema of the generated
            // contract also has no message.
            None => format!("\"{{}}\", {}", literal(&facts.name)),
        };
        self.line(depth, &format!("#[error({message})]"));
        let mut keys = Vec::new();
        if facts.name != name {
            keys.push(format!("name = {}", literal(&facts.name)));
        }
        let mut known = HashSet::new();
        let classes = facts.classes.iter();
        let classes: Vec<String> = classes
            .filter(|class| is_class(class) && known.insert(class.as_str()))
            .map(|class| literal(class))
            .collect();
        match &classes[..] {
            [] => {}
            [only] => keys.push(format!("class = {only}")),
            all => keys.push(format!("class = [{}]", all.join(", "))),
        }
        if facts.other && holds_text(&content) {
            keys.push("other".to_owned());
        }
        if !keys.is_empty() {
            self.line(depth, &format!("#[remote_error({})]", keys.join(", ")));
        }
    }
}

/// Returns a new scope for the names of the fields of a type. If the type is an error, the scope
/// reserves the field names that have a special meaning for `thiserror`.
pub(super) fn scope(is_error: bool) -> Names {
    match is_error {
        true => Names::new(&[&NEVER_RAW[..], &["source", "backtrace"]].concat()),
        false => Names::new(&NEVER_RAW),
    }
}

/// Returns whether the derive macro accepts `class` as an error class.
fn is_class(class: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_$".contains(c))
    };
    class.split('.').all(part)
}

/// Returns whether a variant can be created from a message alone.
fn holds_text(content: &Content<'_>) -> bool {
    match content {
        Content::None => true,
        Content::Value(ty) => matches!(ty, Type::Text | Type::Any),
        Content::Fields(body) => match &body.fields[..] {
            _ if !body.flattened.is_empty() => false,
            [] => body.others.is_none(),
            [only] => body.others.is_none() && !only.optional && only.ty == Type::Text,
            _ => false,
        },
    }
}

/// Returns whether a message uses only fields that exist and that can be formatted in this way.
fn is_message(message: &str, content: &Content<'_>) -> bool {
    let names = match content {
        Content::Fields(body) => field_names(body, &mut scope(true)),
        _ => Vec::new(),
    };
    let field = |name: &str| match content {
        Content::None => None,
        Content::Value(Type::Tuple(items)) if items.len() > 1 => {
            items.get(name.parse::<usize>().ok()?)
        }
        Content::Value(ty) => (name == "0").then_some(*ty),
        Content::Fields(body) => {
            let index = names.iter().position(|own| own == name)?;
            let field = &body.fields[index];
            // An optional field may be an `Option`, which does not implement `Display`.
            (!field.optional).then_some(&field.ty)
        }
    };
    let mut rest = message;
    while let Some(at) = rest.find(['{', '}']) {
        let (mark, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(mark) {
            rest = after;
            continue;
        }
        let Some((inside, after)) = after.split_once('}').filter(|_| mark == "{") else {
            return false;
        };
        let (name, format) = inside.split_once(':').unwrap_or((inside, ""));
        let Some(ty) = field(name) else {
            return false;
        };
        let is_number = matches!(ty, Type::Integer(..) | Type::Number);
        let is_shown = is_number
            || matches!(
                ty,
                Type::Text | Type::Bool | Type::Character | Type::Failure
            );
        let is_precision = |format: &str| {
            let digits = format.strip_prefix('.').unwrap_or("-");
            matches!(digits.len(), 1..=2) && digits.bytes().all(|digit| digit.is_ascii_digit())
        };
        let is_fine = match format {
            "?" | "#?" => true,
            "" => is_shown,
            format => is_number && is_precision(format),
        };
        if !is_fine {
            return false;
        }
        rest = after;
    }
    true
}
