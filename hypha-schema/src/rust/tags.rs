//! Selects the serde representation of each enum. Also selects the definitions that are written as
//! a part of an enum instead of as a separate type.

use std::collections::HashSet;

use crate::types::{Body, Choice, Struct, Type, Types, inner};

/// Returns whether an enum has serde's default representation: each variant is a string, or an
/// object with one member.
pub(super) fn is_externally_tagged(types: &Types, choice: &Choice) -> bool {
    let is_tagged = |ty: &Type| match types.unnamed(ty) {
        Some(Body::Words(_)) => true,
        Some(Body::Struct(body)) => {
            body.closed && body.fields.len() == 1 && !body.fields[0].optional
        }
        _ => false,
    };
    choice.exactly_one && choice.variants.iter().all(|variant| is_tagged(&variant.ty))
}

/// Returns the name of the field that is the internal tag of an enum. Every variant must have this
/// field, with a constant string that differs between the variants.
pub(super) fn internal_tag(types: &Types, choice: &Choice) -> Option<String> {
    let bodies: Option<Vec<&Struct>> = choice
        .variants
        .iter()
        .map(|variant| match types.unnamed(&variant.ty) {
            Some(Body::Struct(body)) if body.others.is_none() && !body.closed => Some(body),
            _ => None,
        })
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
    });
    tag.map(str::to_owned)
}

/// Returns the struct in the content of a variant, if its fields are written as the fields of the
/// variant. Returns `None` if the content is a separate type.
pub(super) fn members_of_variant<'a>(types: &'a Types, content: &Type) -> Option<&'a Struct> {
    match types.unnamed(content) {
        Some(Body::Struct(body)) if !body.closed && body.others.is_none() => Some(body),
        _ => None,
    }
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
        let external = is_externally_tagged(types, choice);
        if !external && internal_tag(types, choice).is_none() {
            continue;
        }
        for variant in &choice.variants {
            if let Type::Named(index) = &variant.ty {
                absorbed.insert(*index);
            }
            let Some(Body::Struct(body)) = types.unnamed(&variant.ty) else {
                continue;
            };
            for field in body.fields.iter().filter(|_| external) {
                if let (Type::Named(index), Some(_)) =
                    (&field.ty, members_of_variant(types, &field.ty))
                {
                    absorbed.insert(*index);
                }
            }
        }
    }
    absorbed
}
