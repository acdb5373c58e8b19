//! Removes the parts of schemas that describe values which a format cannot hold, such as functions
//! in JSON: alternatives, optional members, items of lists and members of maps. A caller can send
//! the remaining values.

use std::collections::HashSet;

use serde_json::{Map, Value as Json, json};

use crate::keywords::{map_inner, plain_kind};

/// Maximum number of passes over the definitions. A pass follows all references, except some of
/// those in circles. Definitions whose values are found later count as definitions without values.
const PASSES: usize = 64;

/// Returns the index of the definition that a schema refers to.
pub(crate) type Target<'a> = dyn Fn(&Map<String, Json>) -> Option<usize> + 'a;

/// Definitions that are reduced to the values that a format can hold.
pub(crate) struct Possible<'a> {
    /// Whether a schema itself describes a value that the format cannot hold.
    is_unfit: fn(&Map<String, Json>) -> bool,
    target: &'a Target<'a>,
    /// Whether each definition has a value.
    has_values: Vec<bool>,
    /// The reduced definitions. `None` for a definition without values.
    definitions: Vec<Option<Json>>,
}

impl<'a> Possible<'a> {
    pub(crate) fn new(
        definitions: &[&Json],
        target: &'a Target<'a>,
        is_unfit: fn(&Map<String, Json>) -> bool,
    ) -> Possible<'a> {
        let count = definitions.len();
        let mut targets = vec![Vec::new(); count];
        let mut users = vec![Vec::new(); count];
        for (index, definition) in definitions.iter().enumerate() {
            visit(definition, &mut |schema| {
                if let Some(target) = target(schema).filter(|target| *target < count) {
                    targets[index].push(target);
                    users[target].push(index);
                }
            });
        }
        let mut possible = Possible {
            is_unfit,
            target,
            has_values: vec![false; count],
            definitions: Vec::new(),
        };
        // A value is finite. Therefore a definition has a value only if one is found without those
        // of definitions that are still without values.
        let order = targets_first(&targets);
        let mut waits = vec![true; count];
        for _ in 0..PASSES {
            let mut is_done = true;
            for index in order.iter().copied() {
                if possible.has_values[index] || !std::mem::take(&mut waits[index]) {
                    continue;
                }
                if possible.reduced(definitions[index]).is_some() {
                    possible.has_values[index] = true;
                    users[index].iter().for_each(|user| waits[*user] = true);
                    is_done = false;
                }
            }
            if is_done {
                break;
            }
        }
        let reduced = definitions.iter().zip(&possible.has_values);
        let reduced = reduced.map(|(definition, has_values)| {
            let definition = has_values.then_some(definition)?;
            possible.reduced(definition)
        });
        possible.definitions = reduced.collect();
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
        let target = (self.target)(map).and_then(|target| self.has_values.get(target));
        if (self.is_unfit)(map) || target == Some(&false) {
            return None;
        }
        let mut list = self.list(map);
        let others = map.get("additionalProperties").map(|it| self.or_never(it));
        let refuses_others = others == Some(Json::Bool(false));
        let mut reduced = Map::new();
        for (key, value) in map {
            let value = match (key.as_str(), value) {
                ("items" | "prefixItems" | "additionalItems", _) => {
                    match list.parts.shift_remove(key.as_str()) {
                        Some(part) => part,
                        None => continue,
                    }
                }
                // `additionalProperties: false` would also refuse the members of the other schemas
                // of the same object, such as those of a flattened enum.
                ("additionalProperties", Json::Object(_)) if refuses_others && has_parts(map) => {
                    reduced.insert("unevaluatedProperties".to_owned(), false.into());
                    continue;
                }
                ("additionalProperties", _) => others.clone().unwrap_or_default(),
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
                    let has_others = map.contains_key("patternProperties")
                        || others.is_some() && !refuses_others;
                    self.members(members, &required.collect(), has_others)?
                        .into()
                }
                ("patternProperties", Json::Object(patterns)) => {
                    let kept = patterns.iter().filter_map(|(name, it)| {
                        let never = || (!refuses_others).then(never);
                        Some((name.clone(), self.reduced(it).or_else(never)?))
                    });
                    let kept: Map<String, Json> = kept.collect();
                    if kept.is_empty() {
                        continue;
                    }
                    kept.into()
                }
                ("unevaluatedProperties" | "unevaluatedItems", _) => self.or_never(value),
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
        if let Some(most) = list.most {
            if count(map, "minItems").is_some_and(|least| least > most) {
                return None;
            }
            let most = count(map, "maxItems").map_or(most, |other| other.min(most));
            reduced.insert("maxItems".to_owned(), most.into());
        }
        let is_empty = is_closed(&reduced) && !is_closed(map) && !has_required(&reduced);
        (!is_empty).then(|| reduced.into())
    }

    /// Returns the reduced schema, or `false` if it has no values.
    fn or_never(&self, schema: &Json) -> Json {
        self.reduced(schema).unwrap_or(Json::Bool(false))
    }

    /// Returns the reduced parts of the schema of a list.
    fn list(&self, schema: &Map<String, Json>) -> List {
        let [first, others] = match schema.get("items") {
            // A tuple in the notation of older drafts.
            Some(Json::Array(_)) => ["items", "additionalItems"],
            _ => ["prefixItems", "items"],
        };
        let mut parts = Map::new();
        let all = schema.get(first).and_then(Json::as_array);
        let kept = all.into_iter().flatten();
        let kept: Vec<Json> = kept.map_while(|it| self.reduced(it)).collect();
        let count = kept.len();
        if count > 0 {
            parts.insert(first.to_owned(), kept.into());
        }
        let mut is_whole = count == all.map_or(0, Vec::len);
        if let (true, Some(schema)) = (is_whole, schema.get(others)) {
            match self.reduced(schema) {
                Some(reduced) => {
                    parts.insert(others.to_owned(), reduced);
                }
                None => is_whole = false,
            }
        }
        List {
            parts,
            most: (!is_whole).then_some(count as u64),
        }
    }

    /// Returns the members that a caller can send, or `None` if a required member has no values.
    /// `has_others` states whether the schema describes further members. They do not include the
    /// optional members that a caller cannot send.
    fn members(
        &self,
        members: &Map<String, Json>,
        required: &HashSet<&str>,
        has_others: bool,
    ) -> Option<Map<String, Json>> {
        let mut kept = Map::new();
        for (name, member) in members {
            let is_required = required.contains(name.as_str());
            let schema = match self.reduced(member) {
                Some(schema) if is_only_null(&schema, member) && !is_required => {
                    json!({"type": "null"})
                }
                Some(schema) => schema,
                None if is_required => return None,
                None if has_others => never(),
                None => continue,
            };
            kept.insert(name.clone(), schema);
        }
        Some(kept)
    }

    /// Returns the reduced schema of an argument, or `None` if the argument has no values. An
    /// optional argument of which only null remains has none.
    pub(crate) fn argument(&self, argument: &Json, is_required: bool) -> Option<Json> {
        let reduced = self.reduced(argument)?;
        let is_useful = is_required || !is_only_null(&reduced, argument);
        is_useful.then_some(reduced)
    }
}

/// Returns whether only null remains of a schema.
fn is_only_null(reduced: &Json, schema: &Json) -> bool {
    is_null(reduced) && reduced != schema
}

/// The schema of a list, reduced to the items that the format can hold.
struct List {
    /// The schemas of the items, by keyword.
    parts: Map<String, Json>,
    /// Maximum number of items, if the format cannot hold all items.
    most: Option<u64>,
}

/// Returns a schema without values. In place of `false`, which not all readers accept for a member.
fn never() -> Json {
    json!({"not": {}})
}

/// Returns the value of a keyword such as `minItems`.
fn count(schema: &Map<String, Json>, key: &str) -> Option<u64> {
    schema.get(key)?.as_u64()
}

/// Returns whether other schemas in this schema describe the same object.
fn has_parts(schema: &Map<String, Json>) -> bool {
    let mut parts = ["$ref", "allOf", "anyOf", "oneOf"].into_iter();
    parts.any(|key| schema.contains_key(key))
}

/// Returns whether a schema refuses all members except those under `properties`.
fn is_closed(schema: &Map<String, Json>) -> bool {
    schema.get("additionalProperties") == Some(&Json::Bool(false))
        && !schema.contains_key("patternProperties")
}

/// Returns whether `properties` contains the members that the schema requires.
fn has_required(schema: &Map<String, Json>) -> bool {
    let members = schema.get("properties").and_then(Json::as_object);
    let required = schema.get("required").and_then(Json::as_array);
    let mut required = required.into_iter().flatten().filter_map(Json::as_str);
    let most = members.map_or(0, |members| members.len() as u64);
    count(schema, "minProperties").is_none_or(|least| least <= most)
        && required.all(|name| members.is_some_and(|members| members.contains_key(name)))
}

/// Returns the indexes of all definitions. Each comes after the definitions that it refers to,
/// except in circles.
fn targets_first(targets: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::with_capacity(targets.len());
    let mut seen = vec![false; targets.len()];
    for start in 0..targets.len() {
        let mut waiting = vec![(start, false)];
        while let Some((index, is_last)) = waiting.pop() {
            if is_last {
                order.push(index);
            } else if !std::mem::replace(&mut seen[index], true) {
                waiting.push((index, true));
                waiting.extend(targets[index].iter().map(|target| (*target, false)));
            }
        }
    }
    order
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
