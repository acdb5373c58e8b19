//! The schemas of all functions of a service, with one table of definitions: every function brings `$defs` of
//! its own, and what is the same in several is there once.

use std::collections::{BTreeSet, HashMap, VecDeque};

use serde_json::{Map, Value as Json, json};

use super::names;

/// A reference into the table, `#/table/<index>`, in place of those into one function.
const PREFIX: &str = "#/table/";

/// A type with a name.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) name: String,
    /// References in it are into the table.
    pub(super) schema: Json,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) definitions: Vec<Definition>,
    /// What was found, by its name and everything that it says.
    known: HashMap<String, usize>,
}

impl Table {
    /// `schema`, which refers to itself or to `root`, with references into the table.
    pub(super) fn collect(&mut self, schema: &Json, root: &Json) -> Json {
        let mut places = HashMap::new();
        let mut waiting = VecDeque::new();
        let schema = self.refer(schema, root, &mut places, &mut waiting);
        // One after the other and not inside each other: a chain of references may be long.
        while let Some((index, place)) = waiting.pop_front() {
            if let Some(definition) = target(root, &place) {
                let definition = self.refer(definition, root, &mut places, &mut waiting);
                self.definitions[index].schema = definition;
            }
        }
        schema
    }

    fn refer(
        &mut self,
        schema: &Json,
        root: &Json,
        places: &mut HashMap<String, usize>,
        waiting: &mut VecDeque<(usize, String)>,
    ) -> Json {
        map_schema(schema, &mut |schema| {
            let Some(reference) = schema.get("$ref") else {
                return;
            };
            let place = reference.as_str().and_then(|text| text.strip_prefix('#'));
            let index = place.and_then(|place| match places.get(place) {
                Some(index) => Some(*index),
                None => {
                    let index = self.index(place, root, waiting)?;
                    places.insert(place.to_owned(), index);
                    Some(index)
                }
            });
            match index {
                Some(index) => schema.insert("$ref".to_owned(), format!("{PREFIX}{index}").into()),
                // It leads nowhere, or out of the service: any value.
                None => schema.shift_remove("$ref"),
            };
        })
    }

    /// Where the definition at `place` is in the table, or will be.
    fn index(
        &mut self,
        place: &str,
        root: &Json,
        waiting: &mut VecDeque<(usize, String)>,
    ) -> Option<usize> {
        target(root, place)?;
        let name = place.rsplit('/').next().unwrap_or_default();
        let name = names::pascal(&unescaped(name));
        let key = format!("{name} {}", everything(root, place));
        if let Some(index) = self.known.get(&key) {
            return Some(*index);
        }
        let index = self.definitions.len();
        self.definitions.push(Definition {
            name,
            schema: json!({}),
        });
        self.known.insert(key, index);
        waiting.push_back((index, place.to_owned()));
        Some(index)
    }
}

/// The place in the table that a reference leads to.
pub(super) fn table_index(schema: &Map<String, Json>) -> Option<usize> {
    let reference = schema.get("$ref")?.as_str()?;
    reference.strip_prefix(PREFIX)?.parse().ok()
}

/// A definition, and all that it refers to.
fn everything(root: &Json, place: &str) -> String {
    let mut places = BTreeSet::from([place.to_owned()]);
    let mut waiting = vec![place.to_owned()];
    while let Some(place) = waiting.pop() {
        let Some(definition) = target(root, &place) else {
            continue;
        };
        map_schema(definition, &mut |schema| {
            let reference = schema.get("$ref").and_then(Json::as_str);
            if let Some(place) = reference.and_then(|text| text.strip_prefix('#')) {
                if places.insert(place.to_owned()) {
                    waiting.push(place.to_owned());
                }
            }
        });
    }
    let mut text = String::new();
    for place in places {
        let definition = target(root, &place).unwrap_or(&Json::Null);
        text.push_str(&format!("{place} {definition} "));
    }
    text
}

/// What a JSON pointer, in a URL, points at; `None` for anything but a schema.
fn target<'a>(root: &'a Json, place: &str) -> Option<&'a Json> {
    let found = root.pointer(&decoded(place))?;
    (found.is_object() || found.is_boolean()).then_some(found)
}

/// Without the escapes of URLs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn unescaped(name: &str) -> String {
    decoded(name).replace("~1", "/").replace("~0", "~")
}

/// A copy of `schema` in which `change` was applied to every schema that is an object, the inner ones first.
/// Definitions are left out: whoever needs one follows a reference to it.
pub(super) fn map_schema(schema: &Json, change: &mut impl FnMut(&mut Map<String, Json>)) -> Json {
    let Json::Object(map) = schema else {
        // `true` is any value; `false` is none, which no argument is.
        return if schema.is_boolean() {
            json!({})
        } else {
            schema.clone()
        };
    };
    let mut changed = Map::new();
    for (key, value) in map {
        let value = match (key.as_str(), value) {
            ("$defs" | "definitions", _) => continue,
            ("properties" | "patternProperties", Json::Object(members)) => members
                .iter()
                .map(|(name, member)| (name.clone(), map_schema(member, change)))
                .collect::<Map<_, _>>()
                .into(),
            ("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items", Json::Array(schemas)) => {
                schemas
                    .iter()
                    .map(|schema| map_schema(schema, change))
                    .collect()
            }
            ("additionalProperties", Json::Bool(_)) => value.clone(),
            ("items" | "additionalProperties" | "not" | "contains", _) => map_schema(value, change),
            _ => value.clone(),
        };
        changed.insert(key.clone(), value);
    }
    change(&mut changed);
    changed.into()
}
