//! Distinguishes the form in which serde writes a type from the form in which it reads the type.
//!
//! A service receives the arguments of its methods, and sends results, items of streams and errors.
//! For the arguments of a callback, and for those of the methods of an object, the direction is
//! reversed. `#[serde(rename(serialize = ".."))]`, `skip_serializing` and similar attributes give a
//! type a different schema for each direction.
//!
//! A generator of schemars has one direction, and an implementation of `JsonSchema` sees only the
//! generator. Therefore each generator keeps the generator of the other direction among its
//! transforms.

use std::collections::{HashMap, HashSet};

use schemars::generate::{Contract, SchemaGenerator, SchemaSettings};
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};

use super::{Normalise, say_null, skipped};
use hypha_wire::keys::{SCHEMA_ARGUMENTS, SCHEMA_METHODS};

const DEFINITIONS: &str = "#/$defs/";
/// Prefix of a reference to a definition of the other direction, until the definitions are joined.
const REVERSED: &str = "#/reversed/";

/// State of a generator.
#[derive(Clone, Debug, Default)]
struct State {
    /// Generator of the other direction.
    reverse: Option<Box<SchemaGenerator>>,
    /// Generates the schemas of the sent types again, as received types. See [`relax`].
    received: Option<Box<SchemaGenerator>>,
    /// Names of the definitions of the same type in this generator and in `received`.
    pairs: Vec<(String, String)>,
    /// Whether this generator is part of `received`.
    is_second: bool,
    is_reversed: bool,
}

impl Transform for State {
    fn transform(&mut self, _: &mut Schema) {}
}

/// Returns a generator that produces schemas of received types in pydantic's form.
pub(super) fn received() -> SchemaGenerator {
    generator(Contract::Deserialize, State::default())
}

/// Returns a generator that produces schemas of sent types in pydantic's form.
pub(super) fn sent() -> SchemaGenerator {
    generator(Contract::Serialize, State::default())
}

fn generator(contract: Contract, mut state: State) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        if state.is_reversed {
            settings.definitions_path = "/reversed".into();
        }
        if contract.is_serialize() && !state.is_second {
            let second = State {
                is_second: true,
                is_reversed: state.is_reversed,
                ..State::default()
            };
            state.received = Some(Box::new(generator(Contract::Deserialize, second)));
        }
        let mark = match contract.is_serialize() {
            true => skipped::NOT_SENT,
            false => skipped::NOT_RECEIVED,
        };
        settings.contract = contract;
        let transforms = &mut settings.transforms;
        transforms.push(Box::new(RecursiveTransform(Normalise(mark))));
        // Must run second, because it reads the `anyOf` that the first transform writes.
        transforms.push(Box::new(RecursiveTransform(say_null)));
        transforms.push(Box::new(state));
    });
    settings.into_generator()
}

/// Returns the state of a generator, unless the generator is one of the user.
fn state(generator: &mut SchemaGenerator) -> Option<&mut State> {
    let mut transforms = generator.transforms_mut();
    transforms.find_map(|transform| transform.downcast_mut::<State>())
}

/// Calls `describe` with the generator of the other direction.
pub(crate) fn reversed(
    generator: &mut SchemaGenerator,
    describe: &mut dyn FnMut(&mut SchemaGenerator),
) {
    let contract = match generator.contract().is_serialize() {
        true => Contract::Deserialize,
        false => Contract::Serialize,
    };
    let Some(state) = state(generator) else {
        return describe(generator);
    };
    let mut other = match state.reverse.take() {
        Some(other) => *other,
        None => {
            let state = State {
                is_second: state.is_second,
                is_reversed: !state.is_reversed,
                ..State::default()
            };
            self::generator(contract, state)
        }
    };
    // A type in a callback may contain a callback, which reverses the direction again.
    set_reverse(&mut other, Some(std::mem::take(generator)));
    describe(&mut other);
    if let Some(first) = self::state(&mut other).and_then(|state| state.reverse.take()) {
        *generator = *first;
    }
    set_reverse(generator, Some(other));
}

fn set_reverse(generator: &mut SchemaGenerator, other: Option<SchemaGenerator>) {
    if let Some(state) = state(generator) {
        state.reverse = other.map(Box::new);
    }
}

/// Returns the schema that `describe` generates, in pydantic's form.
pub(super) fn described(
    generator: &mut SchemaGenerator,
    describe: fn(&mut SchemaGenerator) -> Schema,
) -> Schema {
    let mut schema = describe(generator).to_value();
    if let Some(mut second) = state(generator).and_then(|state| state.received.take()) {
        let other = describe(&mut second).to_value();
        let mut pairs = Vec::new();
        relax(&mut schema, &other, &mut pairs);
        if let Some(state) = state(generator) {
            state.received = Some(second);
            state.pairs.extend(pairs);
        }
    }
    let mut schema = Schema::try_from(schema).unwrap_or_default();
    transform(&mut schema, generator);
    schema
}

/// Converts a schema to pydantic's form. schemars converts only definitions, and in them only the
/// keys that it knows.
pub(super) fn transform(schema: &mut Schema, generator: &mut SchemaGenerator) {
    for transform in generator.transforms_mut() {
        transform.transform(schema);
    }
    if schema.as_bool() == Some(true) {
        *schema = Schema::default();
    }
}

/// Makes the members of a sent type optional that are optional when the type is received, such as
/// an `Option`. serde always sends most of them. But a type would otherwise have two schemas, and a
/// generated contract two types, although both accept the same values.
///
/// Adds to `pairs` the names of the definitions to which both schemas refer.
fn relax(sent: &mut Value, received: &Value, pairs: &mut Vec<(String, String)>) {
    match (&mut *sent, received) {
        (Value::Array(sent), Value::Array(received)) if sent.len() == received.len() => {
            for (sent, received) in sent.iter_mut().zip(received) {
                relax(sent, received, pairs);
            }
        }
        (Value::Object(sent), Value::Object(received)) => {
            let renamed = renamed(sent, received);
            let is_optional = |name: &Value| {
                let name = name.as_str().unwrap_or_default();
                let name = renamed.get(name).map_or(name, String::as_str);
                let required = received.get("required").and_then(Value::as_array);
                let mut required = required.into_iter().flatten();
                let properties = received.get("properties");
                properties.is_some_and(|properties| properties.get(name).is_some())
                    && !required.any(|other| other == name)
            };
            if let Some(Value::Array(required)) = sent.get_mut("required") {
                required.retain(|name| !is_optional(name));
                if required.is_empty() {
                    sent.shift_remove("required");
                }
            }
            for (key, sent) in sent.iter_mut() {
                match (key.as_str(), sent, received.get(key)) {
                    ("properties", Value::Object(sent), Some(Value::Object(received))) => {
                        for (name, sent) in sent {
                            let name = renamed.get(name).unwrap_or(name);
                            if let Some(received) = received.get(name) {
                                relax(sent, received, pairs);
                            }
                        }
                    }
                    ("$ref", Value::String(sent), Some(Value::String(received))) => {
                        let name = |reference: &str| reference.rsplit('/').next().map(decoded);
                        pairs.extend(name(sent).zip(name(received)));
                    }
                    ("default" | "const" | "enum" | "examples", ..) => {}
                    // The direction of these schemas is reversed.
                    (SCHEMA_ARGUMENTS | SCHEMA_METHODS, ..) => {}
                    (_, sent, Some(received)) => relax(sent, received, pairs),
                    _ => {}
                }
            }
        }
        _ => {}
    }
    if sent == received {
        // The keys may be in another order.
        *sent = received.clone();
    }
}

/// Returns the received names of the members that have another name when they are sent. schemars
/// lists the members in the same order in both directions, and marks those of only one direction.
fn renamed(sent: &Map<String, Value>, received: &Map<String, Value>) -> HashMap<String, String> {
    let members = [sent, received].map(|schema| schema.get("properties")?.as_object());
    let [Some(sent), Some(received)] = members else {
        return HashMap::new();
    };
    let only = |own: &Map<String, Value>, other: &Map<String, Value>, mark: &str| {
        let own = own.iter().filter(|(name, member)| {
            !other.contains_key(*name) && member.get(mark) != Some(&Value::Bool(true))
        });
        own.map(|(name, _)| name.clone()).collect::<Vec<String>>()
    };
    let sent_names = only(sent, received, skipped::NOT_RECEIVED);
    let received_names = only(received, sent, skipped::NOT_SENT);
    match sent_names.len() == received_names.len() {
        true => sent_names.into_iter().zip(received_names).collect(),
        false => HashMap::new(),
    }
}

/// Returns the definitions of a generator. Adds the definitions of the other direction, and
/// corrects the references to them in `schema`.
pub(super) fn take_definitions(
    mut generator: SchemaGenerator,
    schema: &mut Value,
) -> Map<String, Value> {
    let mut definitions = finished(&mut generator);
    let Some(mut other) = state(&mut generator).and_then(|state| state.reverse.take()) else {
        return definitions;
    };
    let reversed = finished(&mut other);
    let numbers = numbers(&definitions, &reversed);
    for (mut name, definition) in reversed {
        if let Some(number) = numbers.get(&name) {
            name += number;
        }
        definitions.entry(name).or_insert(definition);
    }
    for place in definitions.values_mut().chain([schema]) {
        refer(place, &numbers);
    }
    definitions
}

/// Returns the definitions of one generator in pydantic's form.
fn finished(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut definitions = generator.take_definitions(false);
    if let Some(state) = state(generator) {
        let mut waiting = std::mem::take(&mut state.pairs);
        let received = state.received.as_mut();
        let received = received.map_or_else(Map::new, |second| second.take_definitions(false));
        let mut done = HashSet::new();
        while let Some((name, other)) = waiting.pop() {
            if let (true, Some(definition), Some(other)) = (
                done.insert(name.clone()),
                definitions.get_mut(&name),
                received.get(&other),
            ) {
                relax(definition, other, &mut waiting);
            }
        }
    }
    for definition in definitions.values_mut() {
        if let Ok(schema) = <&mut Schema>::try_from(definition) {
            for transform in generator.transforms_mut() {
                transform.transform(schema);
            }
        }
    }
    definitions
}

/// Returns the numbers to append to the names of the definitions of the other direction that are
/// also the names of other schemas.
fn numbers(
    definitions: &Map<String, Value>,
    reversed: &Map<String, Value>,
) -> HashMap<String, String> {
    let mut numbers: HashMap<String, String> = HashMap::new();
    // A new name changes the schemas that refer to it, which may then need a new name, too.
    loop {
        let differs = |(name, definition): &(&String, &Value)| {
            let other = definitions.get(*name);
            let other = other.filter(|_| !numbers.contains_key(*name));
            other.is_some_and(|other| {
                let [mut other, mut own] = [other, definition].map(Value::clone);
                refer(&mut other, &numbers);
                refer(&mut own, &numbers);
                other != own
            })
        };
        let Some((name, _)) = reversed.iter().find(differs) else {
            return numbers;
        };
        let is_taken = |number: &String| {
            let fresh = format!("{name}{number}");
            definitions.contains_key(&fresh) || reversed.contains_key(&fresh)
        };
        let mut free = (2u32..).map(|number| number.to_string());
        let number = free.find(|number| !is_taken(number)).unwrap_or_default();
        numbers.insert(name.clone(), number);
    }
}

/// Replaces the references to definitions of the other direction.
fn refer(schema: &mut Value, numbers: &HashMap<String, String>) {
    match schema {
        Value::Object(members) => {
            let reference = members.get("$ref").and_then(Value::as_str);
            let name = reference.and_then(|reference| reference.strip_prefix(REVERSED));
            if let Some(name) = name {
                let number = numbers.get(&decoded(name)).map_or("", String::as_str);
                let reference = format!("{DEFINITIONS}{name}{number}");
                members.insert("$ref".to_owned(), reference.into());
            }
            members.values_mut().for_each(|it| refer(it, numbers));
        }
        Value::Array(items) => items.iter_mut().for_each(|it| refer(it, numbers)),
        _ => {}
    }
}

/// Returns the name of the definition to which a schema refers.
pub(super) fn reference(schema: &Map<String, Value>) -> Option<String> {
    let reference = schema.get("$ref")?.as_str()?;
    reference.strip_prefix(DEFINITIONS).map(decoded)
}

/// Returns the name of a definition from the end of a reference, in which schemars escapes some
/// characters.
fn decoded(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    let name = String::from_utf8_lossy(&bytes);
    name.replace("~1", "/").replace("~0", "~")
}

/// Returns the schema of a type. Named types become references to definitions of the generator.
pub(crate) fn subschema<T: JsonSchema + ?Sized>(generator: &mut SchemaGenerator) -> Schema {
    described(generator, hypha_wire::keyed::<T>)
}
