//! Finds the definitions that a service uses, and the alternatives of structs with flattened types.

use std::collections::HashSet;

use crate::types::{Body, Member, Struct, Type, Types, inner, members_types};

/// Maximum depth and number of the alternatives of a struct with flattened types.
const DEEPEST_FLATTENED: usize = 8;
const MOST_EXPANDED: usize = 64;

impl Types {
    /// Returns the definitions that the members use, directly or through other definitions. If
    /// `is_expanded`, structs with flattened types are written as their alternatives.
    pub(crate) fn used(&self, members: &[Member], is_expanded: bool) -> HashSet<usize> {
        let mut used = HashSet::new();
        let mut waiting: Vec<Type> = members_types(members).into_iter().cloned().collect();
        while let Some(ty) = waiting.pop() {
            let Type::Named(index) = ty else {
                waiting.extend(inner(&ty).iter().cloned());
                continue;
            };
            if !used.insert(index) {
                continue;
            }
            match &self.definitions[index].body {
                Body::Struct(body) if is_expanded && !body.flattened.is_empty() => {
                    for (_, body) in self.expanded(body).into_iter().flatten() {
                        waiting.extend(body.fields.into_iter().map(|field| field.ty));
                    }
                }
                _ => waiting.extend(self.parts(index).into_iter().cloned()),
            }
        }
        used
    }

    /// Returns the alternatives of a struct with flattened types as structs without such types,
    /// each with the part of its name that distinguishes it. Returns `None` if a flattened type has
    /// another form, or if there are too many alternatives.
    pub(crate) fn expanded(&self, body: &Struct) -> Option<Vec<(String, Struct)>> {
        self.expand(body, DEEPEST_FLATTENED)
    }

    /// Returns the alternatives of a struct, whose types are flattened to this depth.
    fn expand(&self, body: &Struct, depth: usize) -> Option<Vec<(String, Struct)>> {
        let mut expanded = vec![(String::new(), body.clone())];
        for ty in &body.flattened {
            let mut alternatives = Vec::new();
            self.alternatives(ty, "", depth, &mut alternatives)?;
            let mut all = Vec::new();
            for (name, around) in &expanded {
                for (suffix, own) in &alternatives {
                    let mut joined = around.clone();
                    joined.fields.extend(own.fields.iter().cloned());
                    joined.others = joined.others.or(own.others.clone());
                    joined.flattened.clear();
                    all.push((format!("{name}{suffix}"), joined));
                }
            }
            if all.len() > MOST_EXPANDED {
                return None;
            }
            expanded = all;
        }
        Some(expanded)
    }

    /// Adds the structs that a flattened type may be to `found`.
    fn alternatives(
        &self,
        ty: &Type,
        name: &str,
        depth: usize,
        found: &mut Vec<(String, Struct)>,
    ) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match ty {
            Type::Optional(inner) => {
                found.push(("None".to_owned(), Struct::default()));
                self.alternatives(inner, name, depth, found)?;
            }
            Type::Map(..) => found.push((
                name.to_owned(),
                Struct {
                    others: Some(ty.clone()),
                    ..Struct::default()
                },
            )),
            Type::Named(index) => match &self.definitions[*index].body {
                Body::Alias(inner) => self.alternatives(inner, name, depth, found)?,
                Body::Struct(body) if body.flattened.is_empty() => {
                    found.push((name.to_owned(), body.clone()));
                }
                Body::Struct(body) => {
                    let alternatives = self.expand(body, depth)?.into_iter();
                    found.extend(alternatives.map(|(own, body)| (format!("{name}{own}"), body)));
                }
                Body::Choice(choice) => {
                    for (place, variant) in choice.variants.iter().enumerate() {
                        // A list cannot be flattened, so it is no alternative.
                        if is_list(&variant.ty) {
                            continue;
                        }
                        let name = format!("{name}{}", place + 1);
                        self.alternatives(&variant.ty, &name, depth, found)?;
                    }
                }
                Body::Words(_) | Body::Interface(_) => return None,
            },
            _ => return None,
        }
        (found.len() <= MOST_EXPANDED).then_some(())
    }
}

/// Returns whether values of the type are lists.
fn is_list(ty: &Type) -> bool {
    matches!(
        ty,
        Type::List(_) | Type::Fixed(..) | Type::Unique(_) | Type::Tuple(_)
    )
}
