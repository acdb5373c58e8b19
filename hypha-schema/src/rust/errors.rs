//! Writes the attributes of error types. The attributes contain the names, classes and messages of
//! errors.
//!
//! The author of the service chose these values. This module writes only values that the derive
//! macros accept.

use std::collections::HashSet;

use super::tags::result_types;

use super::member_names::field_names;
use super::text::{NEVER_RAW, literal};
use super::writer::Writer;
use crate::names::Names;
use crate::types::{ErrorFacts, Field, Struct, Type};

/// Content of a variant of an enum, or of a struct.
pub(super) enum Content<'a> {
    None,
    /// A single value, or a tuple of several values.
    Value(&'a Type),
    Fields(&'a Struct),
}

/// Field of an error that contains its cause, and needs an attribute.
#[derive(Clone, Copy)]
pub(super) struct Cause {
    /// Index of the field.
    pub(super) place: usize,
    pub(super) attribute: &'static str,
}

impl Cause {
    /// Returns the attribute of the field `place`.
    pub(super) fn attribute(cause: Option<Cause>, place: usize) -> Option<&'static str> {
        let cause = cause.filter(|cause| cause.place == place);
        cause.map(|cause| cause.attribute)
    }
}

impl Writer<'_> {
    /// Writes the attributes of a variant, if the enum of the variant is an error. Returns the
    /// field with the cause.
    pub(super) fn variant_error(
        &mut self,
        facts: &Option<ErrorFacts>,
        index: usize,
        variant: &str,
        content: Content<'_>,
    ) -> Option<Cause> {
        let is_error = self.model.types.is_error(&Type::Named(index));
        let facts = facts.as_ref().filter(|_| is_error)?;
        let name = format!("{}.{variant}", self.names[index]);
        self.error_attributes(1, facts, index, &name, content)
    }

    /// Writes the attributes of an error, which is the definition `index` or one of its variants.
    /// `name` is the name that the derive macro gives to the error by default. Returns the field
    /// with the cause.
    pub(super) fn error_attributes(
        &mut self,
        depth: usize,
        facts: &ErrorFacts,
        index: usize,
        name: &str,
        content: Content<'_>,
    ) -> Option<Cause> {
        let message = facts.message.as_deref();
        let message = message.filter(|message| self.is_message(message, index, &content));
        let is_transparent = facts.transparent && self.is_transparent(&content);
        let message = match message {
            _ if is_transparent => "transparent".to_owned(),
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
        self.cause(facts, index, is_transparent, &content)
    }

    /// Returns the field with the cause, if it needs an attribute, and its type is an error.
    fn cause(
        &mut self,
        facts: &ErrorFacts,
        index: usize,
        is_transparent: bool,
        content: &Content<'_>,
    ) -> Option<Cause> {
        let source = facts.source.as_deref()?;
        let (place, ty, is_only) = match content {
            Content::None => return None,
            Content::Value(Type::Tuple(items)) if items.len() > 1 => {
                let place: usize = source.parse().ok()?;
                (place, items.get(place)?, false)
            }
            Content::Value(ty) => (source.parse().ok().filter(|place| *place == 0)?, *ty, true),
            Content::Fields(body) => {
                let names = field_names(body, &mut self.scope(index, body));
                let mut fields = body.fields.iter().zip(&names);
                let is_source =
                    |(field, name): (&Field, &String)| field.name == source || *name == source;
                let place = fields.position(is_source)?;
                let is_only = names.len() == 1 && body.others.is_none();
                let is_only = is_only && body.flattened.is_empty();
                (place, &body.fields[place].ty, is_only)
            }
        };
        if !self.is_cause(ty) {
            return None;
        }
        let made = match ty {
            Type::Optional(inner) => self.ty(inner, Some(index)),
            ty => self.ty(ty, Some(index)),
        };
        // A type can be converted to only one variant.
        let attribute = match facts.from && is_only && self.made_of.insert((index, made)) {
            true => "#[from]",
            // The derive macro finds the cause of a transparent error itself.
            false if is_transparent => return None,
            false if is_named_source(content, place) => return None,
            false => "#[source]",
        };
        Some(Cause { place, attribute })
    }

    /// Returns whether the type of a field is an error, or an `Option` of one.
    fn is_cause(&self, ty: &Type) -> bool {
        match ty {
            Type::Optional(inner) => self.is_shown_error(inner),
            ty => self.is_shown_error(ty),
        }
    }

    /// Returns whether the type of a field is an error, which has a message.
    fn is_shown_error(&self, ty: &Type) -> bool {
        let types = &self.model.types;
        match ty {
            Type::Failure => true,
            Type::Named(index) => types.is_error(ty) && result_types(types, *index).is_none(),
            _ => false,
        }
    }

    /// Returns whether an error can pass on the message and the causes of its only field.
    fn is_transparent(&self, content: &Content<'_>) -> bool {
        match content {
            Content::None => false,
            Content::Value(ty) => self.is_shown_error(ty),
            Content::Fields(body) => match &body.fields[..] {
                [only] => {
                    let is_only = body.others.is_none() && body.flattened.is_empty();
                    is_only && !only.optional && self.is_shown_error(&only.ty)
                }
                _ => false,
            },
        }
    }

    /// Returns a new scope for the names of the fields of a type, which is the definition `index`
    /// or one of its variants. If the type is an error, the scope reserves the field names that
    /// have a special meaning for `thiserror`. A cause keeps the name `source`.
    pub(super) fn scope(&self, index: usize, body: &Struct) -> Names {
        if !self.model.types.is_error(&Type::Named(index)) {
            return Names::new(&NEVER_RAW);
        }
        let mut fields = body.fields.iter();
        let has_source = fields.any(|field| field.name == "source" && self.is_cause(&field.ty));
        let reserved: &[&str] = match has_source {
            true => &["backtrace"],
            false => &["source", "backtrace"],
        };
        Names::new(&[&NEVER_RAW[..], reserved].concat())
    }

    /// Returns whether a message uses only fields that exist and that can be formatted in this way.
    fn is_message(&self, message: &str, index: usize, content: &Content<'_>) -> bool {
        let names = match content {
            Content::Fields(body) => field_names(body, &mut self.scope(index, body)),
            _ => Vec::new(),
        };
        let field = |name: &str| match content {
            Content::None => None,
            Content::Value(Type::Tuple(items)) if items.len() > 1 => {
                Some((items.get(name.parse::<usize>().ok()?)?, false))
            }
            // Written as a tuple, which the original is not.
            Content::Value(Type::Tuple(_)) => None,
            Content::Value(ty) => (name == "0").then_some((*ty, false)),
            Content::Fields(body) => {
                let field = &body.fields[names.iter().position(|own| own == name)?];
                // An optional field is an `Option`, unless its default can be written.
                let default = field.default.as_ref().filter(|_| field.optional);
                let default = default.and_then(|json| self.default(&field.ty, json, Some(index)));
                Some((&field.ty, field.optional && default.is_none()))
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
            let (Some((ty, is_option)), Some(kind)) = (field(name), kind_of_format(format)) else {
                return false;
            };
            let is_whole = matches!(ty, Type::Integer(_));
            let is_number = is_whole || matches!(ty, Type::Number | Type::Single);
            let is_text = matches!(ty, Type::Text | Type::Bool | Type::Character);
            let is_fine = match kind {
                "?" | "x?" | "X?" => true,
                _ if is_option => false,
                "" => is_number || is_text || self.is_shown_error(ty),
                "e" | "E" => is_number,
                _ => is_whole,
            };
            if !is_fine {
                return false;
            }
            rest = after;
        }
        true
    }
}

/// Returns whether the derive macro finds the cause by the name of its field.
fn is_named_source(content: &Content<'_>, place: usize) -> bool {
    match content {
        Content::Fields(body) => body.fields[place].name == "source",
        _ => false,
    }
}

/// Returns the last part of a format, which selects the trait of the value: `?` of `#?`, or nothing
/// of `>5`. Returns `None` if the format is not valid, or takes its width from another field.
fn kind_of_format(format: &str) -> Option<&str> {
    let is_alignment = |c: Option<char>| c.is_some_and(|c| "<^>".contains(c));
    let mut chars = format.chars();
    let (first, second) = (chars.next(), chars.next());
    let mut rest = format;
    if is_alignment(second) {
        // Braces would end the format.
        first.filter(|fill| !"{}".contains(*fill))?;
        rest = chars.as_str();
    } else if is_alignment(first) {
        rest = &format[1..];
    }
    rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    rest = rest.strip_prefix('#').unwrap_or(rest);
    let number = |rest: &'_ str| {
        rest.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len())
    };
    // The flag `0` and the width. Rust accepts at most 65,535.
    let width = number(rest);
    rest = rest.get(width..).filter(|_| width < 5)?;
    if let Some(precision) = rest.strip_prefix('.') {
        let digits = number(precision);
        rest = precision
            .get(digits..)
            .filter(|_| (1..5).contains(&digits))?;
    }
    let kinds = ["", "?", "x?", "X?", "x", "X", "o", "b", "e", "E"];
    kinds.contains(&rest).then_some(rest)
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
