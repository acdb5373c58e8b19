//! Finds the definitions that a service uses, and the alternatives of structs with flattened types.

use std::collections::HashSet;

use crate::types::{Body, Member, MemberKind, Struct, Type, Types, inner};

/// Maximum depth and number of the alternatives of a struct with flattened types.
const DEEPEST_FLATTENED: usize = 8;
const MOST_EXPANDED: usize = 64;

/// The definitions that the callers of a service use.
#[derive(Default)]
pub(crate) struct Directions {
    /// Definitions of values that callers send, and of their parts.
    pub(crate) sent: HashSet<usize>,
    /// Definitions of values that callers receive, and of their parts.
    pub(crate) received: HashSet<usize>,
}

impl Types {
    /// Returns the definitions that the members use, directly or through other definitions.
    ///
    /// If `is_expanded`, structs with flattened types are written as their alternatives. If
    /// `has_own_objects`, the object of a caller has a type of its own: the caller receives the
    /// arguments of its methods. Otherwise it has the type of an object of the service.
    pub(crate) fn directions(
        &self,
        members: &[Member],
        is_expanded: bool,
        has_own_objects: bool,
    ) -> Directions {
        let mut directions = Directions::default();
        let mut waiting: Vec<(Type, bool)> = Vec::new();
        of_members(members, false, &mut waiting);
        while let Some((ty, is_sent)) = waiting.pop() {
            let Type::Named(index) = ty else {
                match &ty {
                    Type::Function(Some(signature)) => {
                        let arguments = signature.arguments().iter().cloned();
                        waiting.extend(arguments.map(|ty| (ty, !is_sent)));
                        waiting.push((signature.result().clone(), is_sent));
                        waiting.extend(signature.error().cloned().map(|ty| (ty, is_sent)));
                    }
                    ty => waiting.extend(inner(ty).iter().map(|ty| (ty.clone(), is_sent))),
                }
                continue;
            };
            let found = match is_sent {
                true => &mut directions.sent,
                false => &mut directions.received,
            };
            if !found.insert(index) {
                continue;
            }
            match &self.definitions[index].body {
                Body::Interface(members) => {
                    of_members(members, is_sent && has_own_objects, &mut waiting);
                }
                Body::Struct(body) if is_expanded && !body.flattened.is_empty() => {
                    for (_, body) in self.expanded(body).into_iter().flatten() {
                        let fields = body.fields.into_iter();
                        waiting.extend(fields.map(|field| (field.ty, is_sent)));
                    }
                }
                _ => {
                    let parts = self.parts(index).into_iter();
                    waiting.extend(parts.map(|ty| (ty.clone(), is_sent)));
                }
            }
        }
        directions
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

/// Adds the types of members to `found`, with whether callers of the service send values of the
/// type. Callers send the results of members if `is_sent`.
fn of_members(members: &[Member], is_sent: bool, found: &mut Vec<(Type, bool)>) {
    for member in members {
        match &member.kind {
            MemberKind::Method(method) => {
                let parameters = method.parameters.iter().flatten();
                found.extend(parameters.map(|parameter| (parameter.ty.clone(), !is_sent)));
                found.push((method.returns.clone(), is_sent));
                found.extend(method.error.iter().map(|ty| (ty.clone(), is_sent)));
            }
            MemberKind::Group(members) => of_members(members, is_sent, found),
            MemberKind::Value(ty) => found.push((ty.clone(), is_sent)),
        }
    }
}

/// Returns whether values of the type are lists.
fn is_list(ty: &Type) -> bool {
    matches!(
        ty,
        Type::List(_) | Type::Fixed(..) | Type::Unique(_) | Type::Tuple(_)
    )
}
