//! The schemas of all functions of a service, with one table of definitions: every function brings `$defs` of
//! its own, and what is the same in several is there once.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};

use serde_json::{Map, Value as Json, json};

use super::keywords::{map_inner, tidy};
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
}

/// How deep two definitions of the same name are compared. Nobody but one who means harm has such that differ
/// below, and they only get types that are wrong.
const ROUNDS: usize = 32;

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
            tidy(schema);
            let Some(reference) = schema.get("$ref") else {
                return;
            };
            let place = reference.as_str().and_then(|text| text.strip_prefix('#'));
            let place = place.filter(|place| target(root, place).is_some());
            let index = place.map(|place| match places.get(place) {
                Some(index) => *index,
                None => {
                    let name = unescaped(place.rsplit('/').next().unwrap_or_default());
                    let index = self.definitions.len();
                    self.definitions.push(Definition {
                        name: names::pascal(&name),
                        schema: json!({}),
                    });
                    places.insert(place.to_owned(), index);
                    waiting.push_back((index, place.to_owned()));
                    index
                }
            });
            match index {
                Some(index) => schema.insert("$ref".to_owned(), format!("{PREFIX}{index}").into()),
                // It leads nowhere, or out of the service: any value.
                None => schema.shift_remove("$ref"),
            };
        })
    }

    /// Makes one of definitions that are the same; where each of them is now.
    pub(super) fn unify(&mut self) -> Vec<usize> {
        let mut references: Vec<Vec<usize>> = Vec::new();
        let own: Vec<u64> = self
            .definitions
            .iter()
            .map(|definition| {
                let mut found = Vec::new();
                let without = map_schema(&definition.schema, &mut |schema| {
                    found.extend(table_index(schema));
                    schema.shift_remove("$ref");
                });
                references.push(found);
                hash(&(&definition.name, without.to_string()))
            })
            .collect();
        // Two are the same if they say the same and refer to the same.
        let mut hashes = own.clone();
        let count = |hashes: &[u64]| hashes.iter().collect::<HashSet<_>>().len();
        for _ in 0..ROUNDS {
            let next: Vec<u64> = own
                .iter()
                .zip(&references)
                .map(|(own, references)| {
                    let referred: Vec<u64> =
                        references.iter().map(|index| hashes[*index]).collect();
                    hash(&(own, referred))
                })
                .collect();
            let is_finer = count(&next) > count(&hashes);
            hashes = next;
            if !is_finer {
                break;
            }
        }
        let mut first = HashMap::new();
        let mut kept = Vec::new();
        let mut places = Vec::new();
        for (definition, hash) in std::mem::take(&mut self.definitions)
            .into_iter()
            .zip(hashes)
        {
            places.push(*first.entry(hash).or_insert_with(|| {
                kept.push(definition);
                kept.len() - 1
            }));
        }
        for definition in &mut kept {
            definition.schema = moved(&definition.schema, &places);
        }
        self.definitions = kept;
        places
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A schema after the definitions in the table have moved.
pub(super) fn moved(schema: &Json, places: &[usize]) -> Json {
    map_schema(schema, &mut |schema| {
        if let Some(place) = table_index(schema).and_then(|index| places.get(index)) {
            schema.insert("$ref".to_owned(), format!("{PREFIX}{place}").into());
        }
    })
}

/// The place in the table that a reference leads to.
pub(super) fn table_index(schema: &Map<String, Json>) -> Option<usize> {
    let reference = schema.get("$ref")?.as_str()?;
    reference.strip_prefix(PREFIX)?.parse().ok()
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
        // `true` is any value; `false` is none, which no argument is; what else stands here says nothing.
        return json!({});
    };
    let mut changed = Map::new();
    for (key, value) in map {
        if matches!(key.as_str(), "$defs" | "definitions") {
            continue;
        }
        let inner = map_inner(key, value, &mut |schema| map_schema(schema, change));
        let value = inner.unwrap_or_else(|| value.clone());
        changed.insert(key.clone(), value);
    }
    change(&mut changed);
    changed.into()
}
