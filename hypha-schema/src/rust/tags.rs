//! Selects the serde representation of each enum. Also selects the definitions that are written as
//! a part of an enum instead of as a separate type.

use std::collections::HashSet;

use crate::types::{Body, Choice, Struct, Type, Types, Variant, inner};

/// Representation of an enum in serde.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Representation {
    pub(super) tagging: Tagging,
    /// Whether the enum has `deny_unknown_fields`.
    pub(super) is_closed: bool,
}

/// Place of the name of the variant in a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tagging {
    /// Each variant is a string, or an object with one member. serde's default.
    External,
    /// Each variant is an object with the member `tag` beside the fields.
    Internal {
        tag: String,
    },
    /// Each variant is an object with the member `tag`, and its value in the member `content`.
    Adjacent {
        tag: String,
        content: String,
    },
    Untagged,
}

impl Representation {
    /// Returns the representation that fits the variants.
    pub(super) fn of(types: &Types, choice: &Choice) -> Representation {
        let found = match choice.is_flattened {
            // Variants with an external tag are not closed, so a variant that consists of an
            // internal tag has their form too.
            true => internal_or_adjacent(types, choice).or_else(|| external(types, choice)),
            false => external(types, choice).or_else(|| internal_or_adjacent(types, choice)),
        };
        let found = found.unwrap_or_else(|| {
            let bodies = choice.variants.iter();
            let bodies = bodies.filter_map(|variant| struct_of(types, &variant.ty));
            Representation {
                tagging: Tagging::Untagged,
                is_closed: are_closed(bodies) == Some(true),
            }
        });
        Representation {
            // The members around a flattened enum are no members of a variant.
            is_closed: found.is_closed && !choice.is_flattened,
            ..found
        }
    }

    /// Returns whether a variant of a flattened enum with external tags has no content. serde
    /// writes null as the content of such a variant.
    pub(super) fn is_unit(&self, choice: &Choice, content: &Type) -> bool {
        choice.is_flattened && self.tagging == Tagging::External && *content == Type::Null
    }

    /// Returns the struct whose fields are written as the fields of an untagged variant. serde
    /// reads a list as a struct, but not as such fields.
    pub(super) fn untagged<'a>(&self, types: &'a Types, variant: &Type) -> Option<&'a Struct> {
        let body = struct_of(types, variant)?;
        let is_fit = body.limits_of_others.is_empty() && body.base.is_none();
        (is_fit && body.closed == self.is_closed).then_some(body)
    }

    /// Returns the struct in the content of a variant, if its fields are written as the fields of
    /// the variant. Returns `None` if the content is a separate type.
    pub(super) fn members<'a>(&self, types: &'a Types, content: &Type) -> Option<&'a Struct> {
        match types.unnamed(content) {
            Some(Body::Struct(body)) if body.limits_of_others.is_empty() => {
                (body.closed == self.is_closed).then_some(body)
            }
            _ => None,
        }
    }
}

/// Returns the external representation if each variant is a string, or an object with one member.
fn external(types: &Types, choice: &Choice) -> Option<Representation> {
    let is_tagged = |ty: &Type| match types.unnamed(ty) {
        Some(Body::Words(_)) => true,
        Some(Body::Struct(body)) => {
            let is_only = body.fields.len() == 1
                && body.others.is_none()
                && body.flattened.is_empty()
                && !body.fields[0].optional;
            is_only && (body.closed || choice.is_flattened)
        }
        _ => false,
    };
    let is_fit = choice.exactly_one && choice.variants.iter().all(|variant| is_tagged(&variant.ty));
    let contents = choice.variants.iter().filter_map(|variant| {
        let field = struct_of(types, &variant.ty)?.fields.first()?;
        struct_of(types, &field.ty)
    });
    is_fit.then(|| Representation {
        tagging: Tagging::External,
        is_closed: are_closed(contents) == Some(true),
    })
}

/// Returns the representation with a tag that every variant has as a field, with a constant string
/// that differs between the variants.
fn internal_or_adjacent(types: &Types, choice: &Choice) -> Option<Representation> {
    let bodies = choice.variants.iter();
    let bodies: Option<Vec<&Struct>> = bodies
        .map(|variant| struct_of(types, &variant.ty))
        .collect();
    let bodies = bodies?;
    let word = |body: &Struct, name: &str| {
        let mut fields = body.fields.iter();
        let field = fields.find(|field| field.name == name && !field.optional)?;
        types.only_word(&field.ty).map(str::to_owned)
    };
    let mut candidates = bodies
        .first()?
        .fields
        .iter()
        .map(|field| field.name.as_str());
    let tag = candidates.find(|name| {
        let words: Option<HashSet<String>> = bodies.iter().map(|body| word(body, name)).collect();
        words.is_some_and(|words| words.len() == bodies.len())
    })?;
    // A struct with a name of its own has its own `deny_unknown_fields`.
    let own = bodies.iter().copied().filter(|body| body.base.is_none());
    let is_closed = are_closed(own)?;
    let tagging = match content(types, &bodies, tag) {
        Some(content) => Tagging::Adjacent {
            tag: tag.to_owned(),
            content: content.to_owned(),
        },
        None => Tagging::Internal {
            tag: tag.to_owned(),
        },
    };
    Some(Representation { tagging, is_closed })
}

/// Returns the name of the field that contains the value of every variant, beside the field `tag`.
///
/// A variant with an internal tag and a single field has the same schema. The values of both are
/// the same, but serde reads more types with an adjacent tag, for example durations in tuples.
/// Therefore the tag is adjacent if several variants have the field, or if the field has the form
/// that serde gives to the fields of one variant. schemars writes the tag first.
fn content<'a>(types: &Types, bodies: &[&'a Struct], tag: &str) -> Option<&'a str> {
    let mut name: Option<&str> = None;
    let (mut count, mut is_variant) = (0, false);
    for body in bodies {
        if body.others.is_some() || !body.flattened.is_empty() {
            return None;
        }
        let mut fields = body.fields.iter().filter(|field| field.name != tag);
        match (fields.next(), fields.next()) {
            (None, _) => {}
            (Some(field), None)
                if body.fields[0].name == tag
                    && body.base.is_none()
                    && !field.optional
                    && field.description.is_empty()
                    && name.is_none_or(|name| name == field.name) =>
            {
                name = Some(&field.name);
                count += 1;
                is_variant |=
                    matches!(field.ty, Type::Tuple(_)) || struct_of(types, &field.ty).is_some();
            }
            _ => return None,
        }
    }
    name.filter(|_| count > 1 || is_variant)
}

/// Returns the struct that has no name of its own.
fn struct_of<'a>(types: &'a Types, ty: &Type) -> Option<&'a Struct> {
    match types.unnamed(ty) {
        Some(Body::Struct(body)) => Some(body),
        _ => None,
    }
}

/// Returns whether all structs are closed, or `None` if only some are.
fn are_closed<'a>(bodies: impl Iterator<Item = &'a Struct>) -> Option<bool> {
    let mut first = None;
    for body in bodies {
        if *first.get_or_insert(body.closed) != body.closed {
            return None;
        }
    }
    Some(first.unwrap_or(false))
}

/// Returns pairs of definitions. The first definition of a pair must contain the second in a `Box`,
/// because a type would otherwise have infinite size.
pub(super) fn boxes(types: &Types) -> HashSet<(usize, usize)> {
    let absorbed = absorbed(types);
    // Returns the definitions that a definition stores directly, and not behind a pointer.
    let by_value = |index: usize| {
        let mut found = Vec::new();
        // An object with methods stores no values of the types that its methods use.
        if let Body::Interface(_) = types.definitions[index].body {
            return found;
        }
        let mut parts = types.parts(index);
        while let Some(ty) = parts.pop() {
            match ty {
                Type::Named(index) if absorbed.contains(index) => {
                    if let Body::Struct(body) = &types.definitions[*index].body {
                        found.extend(body.base);
                    }
                    parts.extend(types.parts(*index));
                }
                Type::Named(index) => found.push(*index),
                Type::Optional(_) | Type::Tuple(_) | Type::Fixed(..) => parts.extend(inner(ty)),
                _ => {}
            }
        }
        found
    };
    let mut boxes = HashSet::new();
    let mut seen = HashSet::new();
    for start in 0..types.definitions.len() {
        // Path of a depth-first search from `start`. Each entry is a definition and the definitions
        // that the search still has to visit from there. The stack is explicit, because recursion
        // along a long chain of definitions would overflow the call stack.
        let mut path: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut around = HashSet::new();
        if seen.insert(start) {
            around.insert(start);
            path.push((start, by_value(start)));
        }
        while let Some((index, left)) = path.last_mut() {
            let index = *index;
            match left.pop() {
                Some(next) if around.contains(&next) => {
                    boxes.insert((index, next));
                }
                Some(next) if seen.insert(next) => {
                    around.insert(next);
                    path.push((next, by_value(next)));
                }
                Some(_) => {}
                None => {
                    around.remove(&index);
                    path.pop();
                }
            }
        }
    }
    boxes
}

/// Returns the unnamed definitions that are written as a part of an enum.
fn absorbed(types: &Types) -> HashSet<usize> {
    let mut absorbed = HashSet::new();
    for definition in &types.definitions {
        let Body::Choice(choice) = &definition.body else {
            continue;
        };
        let representation = Representation::of(types, choice);
        // The field with the value of the variant, if it is a separate field.
        let is_content = |name: &str| match &representation.tagging {
            Tagging::External => true,
            Tagging::Adjacent { content, .. } => content == name,
            Tagging::Internal { .. } | Tagging::Untagged => false,
        };
        if representation.tagging == Tagging::Untagged {
            for variant in &choice.variants {
                if let (Type::Named(index), Some(_)) =
                    (&variant.ty, representation.untagged(types, &variant.ty))
                {
                    absorbed.insert(*index);
                }
            }
            continue;
        }
        for variant in &choice.variants {
            if let Type::Named(index) = &variant.ty {
                absorbed.insert(*index);
            }
            let Some(Body::Struct(body)) = types.unnamed(&variant.ty) else {
                continue;
            };
            for field in body.fields.iter().filter(|field| is_content(&field.name)) {
                if let (Type::Named(index), Some(_)) =
                    (&field.ty, representation.members(types, &field.ty))
                {
                    absorbed.insert(*index);
                }
            }
        }
    }
    absorbed
}

/// Returns the types in a definition with the form of a `Result`, which has external tags, but is
/// not closed.
pub(super) fn result_types(types: &Types, index: usize) -> Option<[&Type; 2]> {
    let content = |variant: &Variant, name: &str| {
        let body = struct_of(types, &variant.ty)?;
        let is_fit = !body.closed && body.others.is_none() && body.flattened.is_empty();
        match &body.fields[..] {
            [field] if is_fit && field.name == name && !field.optional => {
                // A format of the content would be lost.
                field.limits.is_empty().then_some(&field.ty)
            }
            _ => None,
        }
    };
    match &types.definitions[index].body {
        Body::Choice(choice) if choice.exactly_one && !choice.is_flattened => {
            match &choice.variants[..] {
                [ok, error] => Some([content(ok, "Ok")?, content(error, "Err")?]),
                _ => None,
            }
        }
        _ => None,
    }
}
