//! Converts JSON schemas to types.
//!
//! A schema that matches no type becomes any value, because an incomplete description is useful and
//! a wrong one is not. This applies to each part of a schema separately, so that one unusual member
//! does not affect the others.
//!
//! The schemas come from `schemars`, pydantic, the Python client's guesses and hand-written code,
//! which express the same type differently: an optional value, for example, is `anyOf` with `null`,
//! a list of types, or a default of `null`.

use std::collections::HashSet;

use serde_json::{Map, Value as Json, json};

use crate::keywords::{plain, plain_kind};
use crate::names::pascal;
use crate::own_text::own_text;
use crate::properties::{Property, properties};
use crate::table::{self, Table, table_index};
use crate::types::{Body, Choice, Definition, Elements, Field, Struct, Type, Types, Variant, Word};
use hypha_wire::keys::SCHEMA_KIND;

/// Maximum nesting depth of unnamed types. Compilers limit the depth, and a malicious schema must
/// not overflow the stack.
const DEEPEST: usize = 24;

impl Types {
    /// Returns the types of the definitions in a table. Then call [`read`](Self::read) to add the
    /// types of other schemas.
    pub(crate) fn new(table: &Table) -> Types {
        let placeholder = |definition: &table::Definition| Definition {
            name: definition.name.clone(),
            description: String::new(),
            body: Body::Alias(Type::Any),
        };
        let mut types = Types {
            depth: 0,
            definitions: table.definitions.iter().map(placeholder).collect(),
            schemas: table
                .definitions
                .iter()
                .map(|definition| definition.schema.clone())
                .collect(),
        };
        for (index, definition) in table.definitions.iter().enumerate() {
            types.define(index, &definition.schema);
        }
        types
    }

    fn define(&mut self, index: usize, schema: &Json) {
        let name = self.definitions[index].name.clone();
        let body = match self.body(schema, &name) {
            Some(body) => body,
            None => Body::Alias(self.read(schema, &name)),
        };
        let definition = &mut self.definitions[index];
        definition.description = text(schema);
        definition.body = body;
    }

    /// Returns the type that a schema describes. If the type needs a name, it is derived from
    /// `hint`.
    pub(crate) fn read(&mut self, schema: &Json, hint: &str) -> Type {
        if self.depth == DEEPEST {
            return Type::Any;
        }
        self.depth += 1;
        let ty = self.read_deeper(schema, hint);
        self.depth -= 1;
        ty
    }

    fn read_deeper(&mut self, schema: &Json, hint: &str) -> Type {
        let Json::Object(map) = schema else {
            return Type::Any;
        };
        if let Some(index) = table_index(map) {
            return match self.merged(map) {
                Some(_) => self.read_definition(schema, hint),
                // Members contradict a reference to a type that is not an object.
                None if has_members(map) => Type::Any,
                None if index < self.schemas.len() => Type::Named(index),
                None => Type::Any,
            };
        }
        if let Some(kind) = map.get(SCHEMA_KIND).and_then(Json::as_str) {
            return self.special(kind, map, hint);
        }
        if let Some(Json::Array(schemas)) = map.get("allOf") {
            return match &schemas[..] {
                [schema] if !has_members(map) => self.read(schema, hint),
                _ => Type::Any,
            };
        }
        if let Some((others, nullable)) = alternatives(map) {
            let inner = match &others[..] {
                [] if nullable => return Type::Null,
                [] => Type::Any,
                [only] => self.read(only, hint),
                _ => {
                    let key = if map.contains_key("oneOf") {
                        "oneOf"
                    } else {
                        "anyOf"
                    };
                    self.read_definition(&json!({ (key): others }), hint)
                }
            };
            return match (inner, nullable) {
                (inner @ (Type::Any | Type::Null | Type::Optional(_)), _) | (inner, false) => inner,
                (inner, true) => Type::Optional(Box::new(inner)),
            };
        }
        if let Some(values) = literals(map) {
            let (nulls, values): (Vec<_>, Vec<_>) = values.into_iter().partition(Json::is_null);
            let inner = match &values[..] {
                [] => return Type::Null,
                values if values.iter().all(Json::is_string) => {
                    self.read_definition(&json!({ "enum": values }), hint)
                }
                values
                    if values
                        .iter()
                        .any(|value| value.is_array() || value.is_object()) =>
                {
                    return Type::Any;
                }
                _ => Type::Literals(values),
            };
            return match nulls.is_empty() {
                true => inner,
                false => Type::Optional(Box::new(inner)),
            };
        }
        let item = |types: &mut Types, key: &str, hint: &str| match map.get(key) {
            Some(schema) => types.read(schema, hint),
            None => Type::Any,
        };
        match plain_kind(map) {
            Some("null") => Type::Null,
            Some("boolean") => Type::Bool,
            Some("integer") => {
                let bound = |key: &str| map.get(key).and_then(Json::as_f64);
                Type::Integer(bound("minimum"), bound("maximum"))
            }
            Some("number") => Type::Number,
            Some("string") => match map.get("format").and_then(Json::as_str) {
                Some("binary") => Type::Bytes,
                _ => Type::Text,
            },
            Some("array") => match map.get("prefixItems").or_else(|| map.get("items")) {
                Some(Json::Array(items)) if has_length(map, items.len()) => {
                    let items = items.iter().enumerate();
                    Type::Tuple(
                        items
                            .map(|(index, item)| self.read(item, &format!("{hint}{index}")))
                            .collect(),
                    )
                }
                Some(Json::Array(_)) => Type::List(Box::new(Type::Any)),
                _ => Type::List(Box::new(item(self, "items", &format!("{hint}Item")))),
            },
            Some("object") => match has_fields(map) {
                true => self.read_definition(schema, hint),
                false => {
                    let hint = format!("{hint}Value");
                    let value = match values(map) {
                        Some(schema) => self.read(schema, &hint),
                        None => Type::Any,
                    };
                    Type::Map(Box::new(value))
                }
            },
            _ => Type::Any,
        }
    }

    /// Returns the type of a member or an argument, which is an `Optional` if the default is null.
    pub(crate) fn read_place(&mut self, schema: &Json, hint: &str) -> Type {
        match self.read(schema, hint) {
            ty @ (Type::Any | Type::Null | Type::Optional(_)) => ty,
            ty if schema.get("default") == Some(&Json::Null) => Type::Optional(Box::new(ty)),
            ty => ty,
        }
    }

    /// Returns the type for a kind of value that JSON cannot represent.
    fn special(&mut self, kind: &str, map: &Map<String, Json>, hint: &str) -> Type {
        let mut inner = |key: &str| match map.get(key) {
            Some(schema) => Box::new(self.read(schema, &format!("{hint}Item"))),
            None => Box::new(Type::Any),
        };
        match kind {
            "ndarray" => Type::NdArray(Elements::of(map)),
            "function" => Type::Function,
            "stream" => Type::Stream(inner("items")),
            "object" => Type::Object,
            "file" => Type::File,
            "timestamp" => Type::Timestamp,
            "duration" => Type::Duration,
            "set" => Type::Set(inner("items")),
            "ordered_map" => Type::OrderedMap(inner("additionalProperties")),
            _ => Type::Any,
        }
    }

    /// Adds a definition for a type that needs a name.
    fn read_definition(&mut self, schema: &Json, hint: &str) -> Type {
        let index = self.definitions.len();
        self.definitions.push(Definition {
            name: hint.to_owned(),
            description: String::new(),
            body: Body::Alias(Type::Any),
        });
        match self.body(schema, hint) {
            None | Some(Body::Alias(Type::Any)) => {
                // Remove this definition and all after it, because only this definition uses those.
                self.definitions.truncate(index);
                Type::Any
            }
            Some(body) => {
                self.definitions[index].body = body;
                Type::Named(index)
            }
        }
    }

    /// Returns the object schema that combines a reference with the members beside it. Returns
    /// `None` if there are no such members, or the reference does not lead to an object.
    fn merged(&self, map: &Map<String, Json>) -> Option<Map<String, Json>> {
        let more = map.get("properties")?.as_object()?;
        let base = self.schemas.get(table_index(map)?)?.as_object()?;
        if base.contains_key("$ref") || plain_kind(base) != Some("object") {
            return None;
        }
        let mut merged = base.clone();
        merged.extend(map.clone());
        merged.shift_remove("$ref");
        let mut properties = more.clone();
        if let Some(Json::Object(members)) = base.get("properties") {
            properties.extend(members.clone());
        }
        merged.insert("properties".to_owned(), properties.into());
        let required = [map, base].map(|map| map.get("required").and_then(Json::as_array));
        let required: Json = required.into_iter().flatten().flatten().cloned().collect();
        merged.insert("required".to_owned(), required);
        Some(merged)
    }

    /// Returns the content of a definition, or `None` if the schema needs no name. A nullable type
    /// needs none, because it is an `Optional`.
    fn body(&mut self, schema: &Json, hint: &str) -> Option<Body> {
        let map = schema.as_object()?;
        let merged = self.merged(map);
        let base = merged.as_ref().and_then(|_| table_index(map));
        let map = merged.as_ref().unwrap_or(map);
        if table_index(map).is_some() || map.contains_key(SCHEMA_KIND) || map.contains_key("allOf")
        {
            return None;
        }
        if let Some((others, nullable)) = alternatives(map) {
            if nullable || others.len() < 2 {
                return None;
            }
            if let Some(words) = words(&others) {
                return Some(Body::Words(words));
            }
            let mut variants = Vec::new();
            for (index, other) in others.iter().enumerate() {
                let hint = format!("{hint}{}", variant_name(other, index));
                let ty = self.read(other, &hint);
                if ty == Type::Any {
                    return Some(Body::Alias(Type::Any));
                }
                variants.push(Variant {
                    ty,
                    description: text(other),
                });
            }
            return Some(Body::Choice(Choice {
                exactly_one: map.contains_key("oneOf"),
                variants,
            }));
        }
        if literals(map).is_some() {
            return words(std::slice::from_ref(schema)).map(Body::Words);
        }
        if plain_kind(map) != Some("object") || !has_fields(map) {
            return None;
        }
        let mut body = Struct {
            base,
            ..Struct::default()
        };
        for Property {
            name,
            schema,
            required,
        } in properties(map)
        {
            body.fields.push(Field {
                name: name.to_owned(),
                description: own_text(schema),
                ty: self.read_place(schema, &format!("{hint}{}", pascal(name))),
                optional: !required,
                default: schema.get("default").cloned(),
            });
        }
        match map.get("additionalProperties") {
            None => {}
            Some(Json::Bool(false)) => body.closed = true,
            Some(others) => body.others = Some(self.read(others, &format!("{hint}Value"))),
        }
        Some(Body::Struct(body))
    }
}

fn text(schema: &Json) -> String {
    schema["description"].as_str().unwrap_or("").to_owned()
}

/// Returns the alternatives of a schema without `null`, and whether `null` is one of them.
fn alternatives(map: &Map<String, Json>) -> Option<(Vec<Json>, bool)> {
    let all: Vec<Json> = match (map.get("anyOf"), map.get("oneOf"), map.get("type")) {
        (Some(Json::Array(schemas)), _, _) | (_, Some(Json::Array(schemas)), _) => schemas
            .iter()
            .map(|schema| with_members(schema, map))
            .collect(),
        (_, _, Some(Json::Array(kinds))) => {
            let of = |kind: &Json| {
                let mut schema = map.clone();
                schema.insert("type".to_owned(), kind.clone());
                Json::Object(schema)
            };
            kinds.iter().map(of).collect()
        }
        _ => return None,
    };
    let count = all.len();
    let is_null = |schema: &Json| {
        let kind = schema["type"].as_str().and_then(plain);
        kind == Some("null") || schema.get("const") == Some(&Json::Null)
    };
    let others: Vec<Json> = all.into_iter().filter(|schema| !is_null(schema)).collect();
    let nullable = others.len() < count;
    Some((others, nullable))
}

/// Returns an alternative, extended by the members that apply to all alternatives.
fn with_members(schema: &Json, around: &Map<String, Json>) -> Json {
    let Some(Json::Object(members)) = around.get("properties") else {
        return schema.clone();
    };
    let Some(own) = schema.as_object().filter(|_| !members.is_empty()) else {
        return schema.clone();
    };
    if !matches!(plain_kind(own), None | Some("object")) {
        return schema.clone();
    }
    let mut joined = own.clone();
    joined.insert("type".to_owned(), "object".into());
    let mut properties = members.clone();
    if let Some(Json::Object(own)) = own.get("properties") {
        properties.extend(own.clone());
    }
    joined.insert("properties".to_owned(), properties.into());
    let required = [around, own].map(|map| map.get("required").and_then(Json::as_array));
    let required: Json = required.into_iter().flatten().flatten().cloned().collect();
    joined.insert("required".to_owned(), required);
    if let Some(others) = around.get("additionalProperties") {
        joined
            .entry("additionalProperties")
            .or_insert(others.clone());
    }
    joined.into()
}

/// Returns the list of allowed values, if the schema has one.
fn literals(map: &Map<String, Json>) -> Option<Vec<Json>> {
    match (map.get("const"), map.get("enum")) {
        (Some(value), _) => Some(vec![value.clone()]),
        (None, Some(Json::Array(values))) => Some(values.clone()),
        _ => None,
    }
}

/// Returns the strings if all alternatives are strings.
fn words(alternatives: &[Json]) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut known = HashSet::new();
    for alternative in alternatives {
        let description = match alternatives.len() {
            // The description of a single alternative belongs to the whole type.
            1 => String::new(),
            _ => text(alternative),
        };
        for value in literals(alternative.as_object()?)? {
            match value {
                Json::String(text) => {
                    if known.insert(text.clone()) {
                        words.push(Word {
                            text,
                            description: description.clone(),
                        });
                    }
                }
                _ => return None,
            }
        }
    }
    (!words.is_empty()).then_some(words)
}

/// Returns the part of an alternative's name that distinguishes it from the others.
fn variant_name(schema: &Json, index: usize) -> String {
    let properties = schema["properties"].as_object();
    let only = properties.and_then(|properties| match properties.len() {
        1 => properties.keys().next().map(String::as_str),
        _ => properties
            .values()
            .find_map(|property| property["const"].as_str()),
    });
    only.map_or_else(|| (index + 1).to_string(), pascal)
}

/// Returns whether arrays must have exactly this length, so that they are tuples.
fn has_length(map: &Map<String, Json>, length: usize) -> bool {
    let length = json!(length);
    map.get("minItems") == Some(&length)
        && (map.get("maxItems") == Some(&length) || map.get("items") == Some(&json!(false)))
}

/// Returns the schema of a map's values, if any key is allowed.
fn values(map: &Map<String, Json>) -> Option<&Json> {
    let patterns = map.get("patternProperties").and_then(Json::as_object);
    match (patterns, map.get("additionalProperties")) {
        (None, others) => others,
        // Keys must match a pattern, for example that of integers.
        (Some(patterns), Some(Json::Bool(false))) if patterns.len() == 1 => {
            patterns.values().next()
        }
        _ => None,
    }
}

/// Returns whether the schema names members.
fn has_members(map: &Map<String, Json>) -> bool {
    let some = |properties: &Map<String, Json>| !properties.is_empty();
    map.get("properties")
        .and_then(Json::as_object)
        .is_some_and(some)
}

/// Returns whether an object has known fields, and is not a map with arbitrary keys.
fn has_fields(map: &Map<String, Json>) -> bool {
    has_members(map)
        // With a pattern for names, additional members are allowed.
        || map.get("additionalProperties") == Some(&Json::Bool(false)) && !map.contains_key("patternProperties")
}
