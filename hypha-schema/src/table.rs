//! Table of the definitions of a service.
//!
//! Every function has its own `$defs`. A definition that several functions share is in the table
//! only once.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};

use serde_json::{Map, Value as Json, json};

use crate::keywords::{map_inner, tidy};
use crate::names;
use crate::room::Room;

/// Prefix of a `$ref` to a definition in the table: `#/table/<index>`. It replaces references to
/// the `$defs` of a single function.
const PREFIX: &str = "#/table/";

/// A schema with a name.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) name: String,
    /// Schema. Its references point into the table.
    pub(crate) schema: Json,
    /// Number of the root schema that contains the definition.
    root: usize,
}

/// All definitions of a service. A reference contains an index into this table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) definitions: Vec<Definition>,
    /// Bytes of schemas that may still be added.
    pub(crate) room: Room,
    /// Number of root schemas.
    roots: usize,
}

/// Places in one root schema, with the indices of their definitions in the table.
pub(crate) struct Places {
    root: usize,
    indices: HashMap<String, usize>,
}

/// Maximum depth to which two definitions with the same name are compared. Deeper differences do
/// not occur in practice; a malicious schema with such differences only gets wrong types for its
/// own service.
const ROUNDS: usize = 32;

impl Table {
    /// Returns an empty table for definitions that fit into `room`.
    pub(crate) fn new(room: Room) -> Table {
        Table {
            room,
            ..Table::default()
        }
    }

    /// Returns `schema` with its references into `root` replaced by references into the table.
    /// `places` contains the definitions of `root` that are in the table already.
    ///
    /// If the room of the table is exhausted, returns a schema that accepts any value.
    pub(crate) fn collect(&mut self, schema: &Json, root: &Json, places: &mut Places) -> Json {
        let mut waiting = VecDeque::new();
        let schema = self.refer(schema, root, places, &mut waiting);
        // Use a queue, because recursion would overflow the stack on a long chain of references.
        while let Some((index, place)) = waiting.pop_front() {
            if let Some(definition) = target(root, &place) {
                let definition = self.refer(definition, root, places, &mut waiting);
                self.definitions[index].schema = definition;
            }
        }
        schema
    }

    /// Replaces the references in one schema. New definitions are added empty and queued in
    /// `waiting`.
    fn refer(
        &mut self,
        schema: &Json,
        root: &Json,
        places: &mut Places,
        waiting: &mut VecDeque<(usize, String)>,
    ) -> Json {
        // References to parts of each other copy these parts again and again.
        if !self.room.take_json(schema) {
            return json!({});
        }
        map_schema(schema, &mut |schema| {
            tidy(schema);
            let Some(reference) = schema.get("$ref") else {
                return;
            };
            let place = reference.as_str().and_then(|text| text.strip_prefix('#'));
            let place = place.filter(|place| target(root, place).is_some());
            let index = place.map(|place| match places.indices.get(place) {
                Some(index) => *index,
                None => {
                    let name = unescaped(place.rsplit('/').next().unwrap_or_default());
                    let index = self.definitions.len();
                    self.definitions.push(Definition {
                        name: names::pascal(&name),
                        schema: json!({}),
                        root: places.root,
                    });
                    places.indices.insert(place.to_owned(), index);
                    waiting.push_back((index, place.to_owned()));
                    index
                }
            });
            match index {
                Some(index) => schema.insert("$ref".to_owned(), format!("{PREFIX}{index}").into()),
                // A reference that points to nothing, or outside of the service, accepts any value.
                None => schema.shift_remove("$ref"),
            };
        })
    }

    /// Merges equal definitions, and returns the new index of each old definition.
    ///
    /// schemars appends a number to the name of a type if the root contains another type with that
    /// name, so one type may have different numbers in different roots. Two types of one root
    /// always differ.
    pub(crate) fn unify(&mut self) -> Vec<usize> {
        let stems: Vec<&str> = self
            .definitions
            .iter()
            .map(|definition| without_number(&definition.name))
            .collect();
        let hashes = self.hashes(&stems);
        let names: HashSet<(usize, &str)> = self
            .definitions
            .iter()
            .map(|definition| (definition.root, definition.name.as_str()))
            .collect();
        let (mut roots, mut ambiguous) = (HashSet::new(), HashSet::new());
        let mut numbered = HashSet::new();
        for ((definition, hash), stem) in self.definitions.iter().zip(&hashes).zip(&stems) {
            if !roots.insert((definition.root, hash)) {
                ambiguous.insert(*hash);
            }
            if names.contains(&(definition.root, stem)) {
                numbered.insert((*hash, definition.name.as_str()));
            }
        }
        let names = self.definitions.iter().zip(&hashes).zip(&stems);
        let names = names.map(|((definition, hash), stem)| {
            let name = definition.name.as_str();
            match !ambiguous.contains(hash) && numbered.contains(&(*hash, name)) {
                true => *stem,
                false => name,
            }
        });
        let hashes = self.hashes(&names.collect::<Vec<_>>());
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

    /// Returns the places of the definitions of a root schema, none of which are in the table.
    pub(crate) fn root(&mut self) -> Places {
        self.roots += 1;
        Places {
            root: self.roots,
            indices: HashMap::new(),
        }
    }

    /// Returns a hash of each definition with the name in `names`. Two hashes are equal if the
    /// names, the schemas and the definitions that the schemas refer to are equal.
    fn hashes(&self, names: &[&str]) -> Vec<u64> {
        let mut references: Vec<Vec<usize>> = Vec::new();
        let own: Vec<u64> = self
            .definitions
            .iter()
            .zip(names)
            .map(|(definition, name)| {
                let mut found = Vec::new();
                let without = map_schema(&definition.schema, &mut |schema| {
                    found.extend(table_index(schema));
                    schema.shift_remove("$ref");
                });
                references.push(found);
                hash(&(name, without.to_string()))
            })
            .collect();
        // Two definitions are equal if their schemas, and the definitions that the schemas refer
        // to, are equal. Each round follows one more reference. The comparison ends when a round
        // finds no new difference.
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
        hashes
    }
}

/// Returns the name of a type without the number that schemars appends, which is at least 2.
fn without_number(name: &str) -> &str {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = &name[stem.len()..];
    match number.starts_with('0') || number == "1" {
        true => name,
        false => stem,
    }
}

fn hash(value: &impl Hash) -> u64 {
    // Use a hasher with fixed keys, so that the output is the same in every run. With a forged
    // collision, an author can only merge definitions of their own service.
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Returns a schema with the new indices of the definitions that it refers to.
pub(crate) fn moved(schema: &Json, places: &[usize]) -> Json {
    map_schema(schema, &mut |schema| {
        if let Some(place) = table_index(schema).and_then(|index| places.get(index)) {
            schema.insert("$ref".to_owned(), format!("{PREFIX}{place}").into());
        }
    })
}

/// Returns the index of the definition that a schema refers to.
pub(crate) fn table_index(schema: &Map<String, Json>) -> Option<usize> {
    let reference = schema.get("$ref")?.as_str()?;
    reference.strip_prefix(PREFIX)?.parse().ok()
}

/// Returns the schema at a JSON pointer, which is escaped as a URL fragment.
fn target<'a>(root: &'a Json, place: &str) -> Option<&'a Json> {
    let found = root.pointer(&decoded(place))?;
    (found.is_object() || found.is_boolean()).then_some(found)
}

/// Returns `text` with percent escapes decoded.
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

/// Decodes percent escapes, and then the escapes of JSON pointers.
pub(crate) fn unescaped(name: &str) -> String {
    decoded(name).replace("~1", "/").replace("~0", "~")
}

/// Returns a copy of `schema`, with `change` applied to every schema that is an object, inner
/// schemas first. Skips definitions, because references point to them.
pub(crate) fn map_schema(schema: &Json, change: &mut impl FnMut(&mut Map<String, Json>)) -> Json {
    let Json::Object(map) = schema else {
        // `true` accepts any value. `false` accepts none, which is useless for an argument, and
        // other values are not schemas, so treat all of them like `true`.
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
