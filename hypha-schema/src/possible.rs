//! Removes the parts of schemas that describe values which a format cannot hold, such as functions
//! in JSON: alternatives, and optional members. A caller can send the remaining values.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value as Json};

use crate::keywords::{map_inner, plain_kind};

/// Maximum number of passes over the definitions. Each pass follows one more reference to a
/// definition without values. Further definitions that refer to such a definition count as
/// definitions without values.
const PASSES: usize = 64;

/// Returns the index of the definition that a schema refers to.
pub(crate) type Target<'a> = dyn Fn(&Map<String, Json>) -> Option<usize> + 'a;

/// Definitions that are reduced to the values that a format can hold.
pub(crate) struct Possible<'a> {
    /// Whether a schema itself describes a value that the format cannot hold.
    is_unfit: fn(&Map<String, Json>) -> bool,
    target: &'a Target<'a>,
    /// The reduced definitions. `None` for a definition without values.
    definitions: Vec<Option<Json>>,
}

impl<'a> Possible<'a> {
    pub(crate) fn new(
        definitions: &[&Json],
        target: &'a Target<'a>,
        is_unfit: fn(&Map<String, Json>) -> bool,
    ) -> Possible<'a> {
        let mut users = vec![Vec::new(); definitions.len()];
        for (index, definition) in definitions.iter().enumerate() {
            visit(definition, &mut |schema| {
                let target = target(schema).and_then(|target| users.get_mut(target));
                target.into_iter().for_each(|users| users.push(index));
            });
        }
        let copies = definitions.iter();
        let mut possible = Possible {
            is_unfit,
            target,
            definitions: copies.map(|it| Some((*it).clone())).collect(),
        };
        let mut changed: BTreeSet<usize> = (0..definitions.len()).collect();
        for pass in 0.. {
            let mut next = BTreeSet::new();
            for index in changed {
                if possible.definitions[index].is_none() {
                    continue;
                }
                let reduced = match pass < PASSES {
                    true => possible.reduced(definitions[index]),
                    false => None,
                };
                if reduced.is_none() {
                    next.extend(&users[index]);
                }
                possible.definitions[index] = reduced;
            }
            if next.is_empty() {
                break;
            }
            changed = next;
        }
        possible
    }

    /// Returns the reduced definition, or `None` if it has no values.
    pub(crate) fn definition(&self, index: usize) -> Option<&Json> {
        self.definitions.get(index)?.as_ref()
    }

    /// Returns the schema of the values that the format can hold, or `None` if there is no such
    /// value.
    pub(crate) fn reduced(&self, schema: &Json) -> Option<Json> {
        let Json::Object(map) = schema else {
            return Some(schema.clone());
        };
        let target = (self.target)(map).and_then(|target| self.definitions.get(target));
        if (self.is_unfit)(map) || target.is_some_and(Option::is_none) {
            return None;
        }
        let mut reduced = Map::new();
        for (key, value) in map {
            let value = match (key.as_str(), value) {
                ("anyOf" | "oneOf", Json::Array(schemas)) => {
                    let kept: Vec<Json> =
                        schemas.iter().filter_map(|it| self.reduced(it)).collect();
                    if kept.is_empty() && !schemas.is_empty() {
                        return None;
                    }
                    kept.into()
                }
                ("properties", Json::Object(members)) => {
                    let required = map.get("required").and_then(Json::as_array);
                    let required = required.into_iter().flatten().filter_map(Json::as_str);
                    self.members(members, &required.collect())?.into()
                }
                // The schemas of functions and objects, and of the keys of maps.
                (key, value) if key.starts_with("x-hypha-") => value.clone(),
                (key, value) => {
                    let mut is_possible = true;
                    let inner = map_inner(key, value, &mut |inner| {
                        let reduced = self.reduced(inner);
                        is_possible &= reduced.is_some();
                        reduced.unwrap_or_default()
                    });
                    if !is_possible {
                        return None;
                    }
                    inner.unwrap_or_else(|| value.clone())
                }
            };
            reduced.insert(key.clone(), value);
        }
        Some(reduced.into())
    }

    /// Returns the members that a caller can send, or `None` if a required member has no values.
    fn members(
        &self,
        members: &Map<String, Json>,
        required: &HashSet<&str>,
    ) -> Option<Map<String, Json>> {
        let mut kept = Map::new();
        for (name, member) in members {
            let is_required = required.contains(name.as_str());
            match self.member(member, is_required) {
                Some(schema) => {
                    kept.insert(name.clone(), schema);
                }
                None if is_required => return None,
                None => {}
            }
        }
        Some(kept)
    }

    /// Returns the reduced schema of a member, or `None` if the member has no values. An optional
    /// member of which only null remains has none.
    pub(crate) fn member(&self, member: &Json, is_required: bool) -> Option<Json> {
        let reduced = self.reduced(member)?;
        let is_useful = is_required || !is_null(&reduced) || reduced == *member;
        is_useful.then_some(reduced)
    }
}

/// Returns whether null is the only value.
fn is_null(schema: &Json) -> bool {
    let Json::Object(map) = schema else {
        return false;
    };
    let alternatives = map.get("anyOf").or(map.get("oneOf"));
    match alternatives.and_then(Json::as_array) {
        Some(alternatives) => alternatives.iter().all(is_null),
        None => plain_kind(map) == Some("null"),
    }
}

/// Calls `see` with a schema and all schemas inside it, except those of functions and objects.
pub(crate) fn visit(schema: &Json, see: &mut impl FnMut(&Map<String, Json>)) {
    let Json::Object(map) = schema else { return };
    see(map);
    for (key, value) in map {
        if !key.starts_with("x-hypha-") {
            map_inner(key, value, &mut |inner| {
                visit(inner, see);
                Json::Null
            });
        }
    }
}
