//! Converts JSON schemas to types.
//!
//! A schema that matches no type becomes any value, because an incomplete description is useful and
//! a wrong description is not. This applies to each part of a schema separately, so that one
//! unusual member does not affect the other members.
//!
//! The schemas come from `schemars`, pydantic, the Python client's guesses and hand-written code,
//! which express the same type differently: an optional value, for example, is `anyOf` with `null`,
//! a list of types, or a default of `null`.

use std::collections::HashSet;

use serde_json::{Map, Value as Json, json};

use crate::keywords::{plain, plain_kind};
use crate::limits::{VALUES, limits, limits_at};
use crate::names::pascal;
use crate::own_text::own_text;
use crate::properties::{Property, has_members, properties, values};
use crate::room::Room;
use crate::table::{self, Table, table_index};
use crate::types::{
    Body, Choice, Definition, Elements, ErrorFacts, Field, Integer, Keys, Limits, Member,
    MemberKind, Method, Parameter, Signature, Struct, Type, Types, Variant, Word,
};
use hypha_wire::keys::{self, SCHEMA_ERROR, SCHEMA_KIND};

/// Maximum nesting depth of unnamed types. Compilers limit the depth, and a malicious schema must
/// not overflow the stack.
const DEEPEST: usize = 24;

/// Maximum size of all schemas that are extended by the members around them, as JSON text. A small
/// malicious schema can list many members beside many alternatives, or refer to a large object many
/// times. Schemas beyond this size become any value.
const COPIED_BYTES: usize = 1 << 20;

impl Types {
    /// Returns the types of the definitions in a table. Then call [`read`](Self::read) to add the
    /// types of other schemas.
    pub(crate) fn new(table: &Table) -> Types {
        let placeholder = |definition: &table::Definition| Definition {
            name: definition.name.clone(),
            description: String::new(),
            body: Body::Alias(Type::Any),
            error: None,
        };
        let mut types = Types {
            depth: 0,
            copies: Room::new(COPIED_BYTES),
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
        let error = ErrorFacts::of(schema).filter(|facts| is_error_name(&facts.name));
        let body = match self.body(schema, &name, true) {
            // The only field of an error, which is an enum without a name.
            Some(body) if error.is_some() && is_plain_enum(&body) => {
                Body::Alias(self.read(schema, &name))
            }
            Some(body) => body,
            None => Body::Alias(self.read(schema, &name)),
        };
        let definition = &mut self.definitions[index];
        definition.description = own_text(schema);
        definition.body = body;
        definition.error = error;
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
            return match base(&self.schemas, map).map(drop) {
                Some(_) => self.read_definition(schema, hint),
                // The schema has members beside the reference, but the reference does not lead to
                // an object. The members and the reference contradict each other.
                None if self.choices_beside_members(map).is_some() => {
                    self.read_definition(schema, hint)
                }
                None if has_members(map) => Type::Any,
                None if index < self.schemas.len() => Type::Named(index),
                None => Type::Any,
            };
        }
        if let Some(kind) = map.get(SCHEMA_KIND).and_then(Json::as_str) {
            return self.special(kind, map, hint);
        }
        if let Some(is_nullable) = decimal(map) {
            return match is_nullable {
                true => Type::Optional(Box::new(Type::Text)),
                false => Type::Text,
            };
        }
        if self.choices_beside_members(map).is_some() {
            return self.read_definition(schema, hint);
        }
        if let Some(Json::Array(schemas)) = map.get("allOf") {
            return match &schemas[..] {
                [schema] if !has_members(map) => self.read(schema, hint),
                _ => Type::Any,
            };
        }
        if let Some((others, nullable)) = alternatives(map, &mut self.copies) {
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
            Some("integer") => Type::Integer(Integer::of(map)),
            Some("number") => match map.get(keys::SCHEMA_DTYPE) {
                Some(dtype) if dtype == "float32" => Type::Single,
                _ => Type::Number,
            },
            Some("string") => match map.get("format").and_then(Json::as_str) {
                Some("binary") => Type::Bytes,
                _ => match [map.get("minLength"), map.get("maxLength")] {
                    [Some(least), Some(most)] if *least == 1 && *most == 1 => Type::Character,
                    _ => Type::Text,
                },
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
                _ => {
                    let item = Box::new(item(self, "items", &format!("{hint}Item")));
                    match fixed_length(map) {
                        _ if map.get("uniqueItems") == Some(&Json::Bool(true)) => {
                            Type::Unique(item)
                        }
                        Some(length) => Type::Fixed(item, length),
                        None => Type::List(item),
                    }
                }
            },
            Some("object") => match has_fields(map) {
                true => self.read_definition(schema, hint),
                false => {
                    let hint = format!("{hint}Value");
                    let value = match values(map) {
                        Some(schema) => self.read(schema, &hint),
                        None => Type::Any,
                    };
                    Type::Map(keys(map), Box::new(value))
                }
            },
            _ => Type::Any,
        }
    }

    /// Returns the type of a member or an argument, which is an `Optional` if the default is null.
    /// Also returns whether the schema permits null.
    pub(crate) fn read_place(&mut self, schema: &Json, hint: &str) -> (Type, bool) {
        let is_null = schema.get("default") == Some(&Json::Null);
        match self.read(schema, hint) {
            ty @ (Type::Any | Type::Null | Type::Optional(_)) => (ty, true),
            // The default of a reference may be null because the referenced type permits null.
            ty @ Type::Named(index) if self.accepts_null(index) => (ty, true),
            ty if is_null => (Type::Optional(Box::new(ty)), false),
            ty => (ty, false),
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
            "function" => Type::Function(self.signature(map, hint)),
            "stream" => {
                let mut parts = vec![*inner("items")];
                let error = map.get(keys::SCHEMA_ERROR);
                parts.extend(error.map(|error| self.read(error, &format!("{hint}Error"))));
                Type::Stream(parts)
            }
            "object" if map.contains_key(keys::SCHEMA_METHODS) => {
                match self.read_definition(&Json::Object(map.clone()), hint) {
                    Type::Any => Type::Object,
                    named => named,
                }
            }
            "object" => Type::Object,
            "bytes" => Type::Bytes,
            "file" => Type::File,
            "error" => Type::Failure,
            "timestamp" => Type::Timestamp,
            "duration" => Type::Duration,
            "set" => Type::Set(inner("items")),
            "ordered_map" => {
                let value = *inner("additionalProperties");
                Type::OrderedMap(vec![*inner(keys::SCHEMA_KEYS), value])
            }
            _ => Type::Any,
        }
    }

    /// Returns the arguments, the result and the errors of a function, if they are known.
    fn signature(&mut self, map: &Map<String, Json>, hint: &str) -> Option<Signature> {
        let arguments = map.get(keys::SCHEMA_ARGUMENTS)?.as_array()?;
        // A Rust `Callback` has at most 16 arguments.
        if arguments.len() > 16 {
            return None;
        }
        let arguments = arguments.iter().enumerate();
        let arguments = arguments
            .map(|(index, schema)| self.read(schema, &format!("{hint}Argument{index}")))
            .collect();
        let result = map.get(keys::SCHEMA_RETURNS);
        let result = result.map_or(Type::Any, |it| self.read(it, &format!("{hint}Result")));
        let error = map.get(keys::SCHEMA_ERROR);
        let error = error.map(|error| self.read(error, &format!("{hint}Error")));
        Some(Signature::new(arguments, result, error))
    }

    /// Returns the members of an object with known methods.
    fn interface(&mut self, map: &Map<String, Json>, hint: &str) -> Option<Body> {
        let methods = map.get(keys::SCHEMA_METHODS)?.as_object()?;
        let mut members = Vec::new();
        for (path, function) in methods {
            let mut method = Method::of_object(path, function);
            if self.depth < DEEPEST {
                self.depth += 1;
                method.read_types(&format!("{hint}{}", pascal(path)), self);
                self.depth -= 1;
            }
            insert(&mut members, path, method);
        }
        Some(Body::Interface(members))
    }

    /// Adds a definition for a type that needs a name.
    fn read_definition(&mut self, schema: &Json, hint: &str) -> Type {
        let index = self.definitions.len();
        self.definitions.push(Definition {
            name: hint.to_owned(),
            description: String::new(),
            body: Body::Alias(Type::Any),
            error: ErrorFacts::of(schema).filter(|facts| is_error_name(&facts.name)),
        });
        match self.body(schema, hint, false) {
            None | Some(Body::Alias(Type::Any)) => {
                // Remove this definition and all later definitions, which only this definition
                // uses.
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
    /// `None` if there are no such members, the reference does not lead to an object, or the
    /// combined schemas are too large.
    fn merged(&mut self, map: &Map<String, Json>) -> Option<Map<String, Json>> {
        let base = base(&self.schemas, map)?;
        if !self.copies.take_json(base) {
            return None;
        }
        let base = base.as_object()?;
        let mut merged = base.clone();
        merged.extend(map.clone());
        merged.shift_remove("$ref");
        let members = [map, base].map(|map| map.get("properties").and_then(Json::as_object));
        let members = members.into_iter().flatten().flatten();
        let members: Map<String, Json> = members
            .map(|(name, schema)| (name.clone(), schema.clone()))
            .collect();
        merged.insert("properties".to_owned(), members.into());
        let required = [map, base].map(|map| map.get("required").and_then(Json::as_array));
        let required: Json = required.into_iter().flatten().flatten().cloned().collect();
        merged.insert("required".to_owned(), required);
        Some(merged)
    }

    /// Returns the content of a definition, or `None` if the schema needs no name. A nullable type
    /// needs no name, because it is an `Optional`, unless the schema `is_definition` with several
    /// alternatives beside null.
    fn body(&mut self, schema: &Json, hint: &str, is_definition: bool) -> Option<Body> {
        let map = schema.as_object()?;
        let merged = self.merged(map);
        let base = merged.as_ref().and_then(|_| table_index(map));
        let map = merged.as_ref().unwrap_or(map);
        if map.get(SCHEMA_KIND).and_then(Json::as_str) == Some("object") {
            return self.interface(map, hint);
        }
        if let Some(choices) = self.choices_beside_members(map) {
            let mut body = self.members(map, hint, base);
            for choice in &choices {
                match self.flattened(choice, hint) {
                    // Keep the members that are not understood.
                    Type::Any => return Some(Body::Alias(Type::Any)),
                    ty => body.flattened.push(ty),
                }
            }
            return Some(Body::Struct(body));
        }
        if table_index(map).is_some() || map.contains_key(SCHEMA_KIND) || decimal(map).is_some() {
            return None;
        }
        if map.contains_key("allOf") {
            return None;
        }
        if let Some((others, nullable)) = alternatives(map, &mut self.copies) {
            let is_null_variant = nullable && others.len() > 1 && is_definition;
            if nullable && !is_null_variant || others.len() < 2 && !is_only_variant(map, &others) {
                return None;
            }
            if let Some(mut words) = words(&others).filter(|_| !nullable) {
                unambiguous(words.iter_mut().map(|word| &mut word.error).collect());
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
                    limits: limits(other, &ty),
                    ty,
                    description: own_text(other),
                    error: ErrorFacts::of(other),
                });
            }
            if is_null_variant {
                variants.push(Variant {
                    ty: Type::Null,
                    limits: Limits::default(),
                    description: String::new(),
                    error: None,
                });
            }
            // Drop the error of an alternative with several strings. Each string becomes a variant,
            // and all these variants would have the same error name.
            for variant in &mut variants {
                if let Some(Body::Words(words)) = self.unnamed(&variant.ty) {
                    variant.error.take_if(|_| words.len() > 1);
                }
            }
            unambiguous(
                variants
                    .iter_mut()
                    .map(|variant| &mut variant.error)
                    .collect(),
            );
            return Some(Body::Choice(Choice {
                exactly_one: map.contains_key("oneOf"),
                is_flattened: false,
                variants,
            }));
        }
        if literals(map).is_some() {
            let mut words = words(std::slice::from_ref(schema))?;
            // The description of the schema belongs to the whole type.
            let own = words.iter_mut().filter(|word| word.error.is_none());
            own.for_each(|word| word.description.clear());
            return Some(Body::Words(words));
        }
        if plain_kind(map) != Some("object") || !has_fields(map) {
            return None;
        }
        Some(Body::Struct(self.members(map, hint, base)))
    }

    /// Returns the members that the schema of an object lists.
    fn members(&mut self, map: &Map<String, Json>, hint: &str, base: Option<usize>) -> Struct {
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
            let (ty, nullable) = self.read_place(schema, &format!("{hint}{}", pascal(name)));
            body.fields.push(Field {
                name: name.to_owned(),
                description: own_text(schema),
                limits: limits(schema, &ty),
                ty,
                optional: !required,
                nullable,
                default: schema.get("default").cloned(),
            });
        }
        let patterns = map.get("patternProperties").and_then(Json::as_object);
        let others = map.get("additionalProperties");
        let others = match (others.or(map.get("unevaluatedProperties")), patterns) {
            // A flattened map whose keys are integers.
            (None | Some(Json::Bool(false)), Some(patterns)) => {
                match (patterns.values().next(), patterns.len()) {
                    (Some(values), 1) => Some((keys(map), values)),
                    _ => Some((Keys::Text, &Json::Bool(true))),
                }
            }
            (Some(Json::Bool(false)), None) => {
                body.closed = true;
                None
            }
            (others, _) => others.map(|others| (Keys::Text, others)),
        };
        body.others = others.map(|(keys, values)| {
            let ty = self.read(values, &format!("{hint}Value"));
            body.limits_of_others = limits_at(VALUES, values, &ty);
            Type::Map(keys, Box::new(ty))
        });
        body
    }
}

impl Method {
    /// Reads a method of an object. References in the schema `function` point into the table. The
    /// types of the method are unknown until [`read_types`](Self::read_types).
    pub(crate) fn of_object(path: &str, function: &Json) -> Method {
        let parameters = function.get("parameters").and_then(Json::as_object);
        let parameters = parameters.map(|object| {
            let properties = properties(object).into_iter();
            properties.map(|property| Parameter::new(&property, property.schema.clone()))
        });
        Method {
            path: path.to_owned(),
            description: own_text(function),
            parameters: parameters.map(Iterator::collect),
            returns: Type::Any,
            returns_schema: function.get("returns").cloned().unwrap_or_default(),
            error: None,
            error_schema: function.get(SCHEMA_ERROR).cloned(),
        }
    }

    /// Converts the schemas to types. Names of unnamed types start with `hint`.
    pub(crate) fn read_types(&mut self, hint: &str, types: &mut Types) {
        for parameter in self.parameters.iter_mut().flatten() {
            let hint = format!("{hint}{}", pascal(&parameter.name));
            parameter.ty = types.read_place(&parameter.schema, &hint).0;
            parameter.limits = limits(&parameter.schema, &parameter.ty);
        }
        self.returns = types.read(&self.returns_schema, &format!("{hint}Result"));
        let error = self.error_schema.as_ref();
        self.error = error.map(|schema| types.read(schema, &format!("{hint}Error")));
    }
}

impl Parameter {
    pub(crate) fn new(property: &Property<'_>, schema: Json) -> Parameter {
        Parameter {
            name: property.name.to_owned(),
            description: own_text(&schema),
            ty: Type::Any,
            optional: !property.required,
            default: schema.get("default").cloned(),
            limits: Limits::default(),
            schema,
        }
    }
}

/// Returns the object schema to which a schema refers, if the schema has members beside the
/// reference. `schemas` are the schemas of the table.
fn base<'a>(schemas: &'a [Json], map: &Map<String, Json>) -> Option<&'a Json> {
    let base = schemas.get(table_index(map)?)?;
    let object = base.as_object()?;
    let is_object = !object.contains_key("$ref") && plain_kind(object) == Some("object");
    let has_more = map.get("properties").is_some_and(Json::is_object);
    (is_object && has_more).then_some(base)
}

fn text(schema: &Json) -> String {
    schema["description"].as_str().unwrap_or("").to_owned()
}

/// Returns the alternatives of a schema without `null`, and whether `null` is one of them. Returns
/// no alternatives if they do not fit into `copies`.
fn alternatives(map: &Map<String, Json>, copies: &mut Room) -> Option<(Vec<Json>, bool)> {
    let all: Option<Vec<Json>> = match (map.get("anyOf"), map.get("oneOf"), map.get("type")) {
        (Some(Json::Array(schemas)), _, _) | (_, Some(Json::Array(schemas)), _) => schemas
            .iter()
            .map(|schema| with_members(schema, map, copies))
            .collect(),
        (_, _, Some(Json::Array(kinds))) => {
            let mut known = HashSet::new();
            // All unknown types together are one alternative, which accepts any value.
            let kinds = kinds
                .iter()
                .filter(|kind| known.insert(kind.as_str().and_then(plain)));
            Some(kinds.map(|kind| of_kind(kind, map)).collect())
        }
        _ => return None,
    };
    let Some(all) = all else {
        return Some((Vec::new(), false));
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

/// Returns whether null is allowed, if the schema is that of a decimal number. schemars writes the
/// types string and number, because services accept both. They send strings.
fn decimal(map: &Map<String, Json>) -> Option<bool> {
    let kinds = map.get("type")?.as_array()?;
    let pattern = map.get("pattern")?.as_str()?;
    let has = |kind: &str| kinds.iter().any(|other| other == kind);
    let is_nullable = has("null");
    let is_decimal = pattern == r"^-?\d+(\.\d+)?([eE]\d+)?$" && has("string") && has("number");
    (is_decimal && kinds.len() == 2 + usize::from(is_nullable)).then_some(is_nullable)
}

/// Returns the part of a schema with several types that applies to one of them.
fn of_kind(kind: &Json, map: &Map<String, Json>) -> Json {
    let is_of = |key: &str| match key {
        "items" | "prefixItems" => "array",
        "properties" | "additionalProperties" | "patternProperties" => "object",
        _ => return true,
    } == kind.as_str().and_then(plain).unwrap_or_default();
    let mut schema: Map<String, Json> = map
        .iter()
        .filter(|(key, _)| is_of(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    schema.insert("type".to_owned(), kind.clone());
    schema.into()
}

/// Returns an alternative, extended by the members that apply to all alternatives. Returns `None`
/// if it does not fit into `copies`.
fn with_members(schema: &Json, around: &Map<String, Json>, copies: &mut Room) -> Option<Json> {
    let Some(Json::Object(members)) = around.get("properties") else {
        return Some(schema.clone());
    };
    let Some(own) = schema.as_object().filter(|_| !members.is_empty()) else {
        return Some(schema.clone());
    };
    if !matches!(plain_kind(own), None | Some("object")) {
        return Some(schema.clone());
    }
    if copies.is_exhausted() {
        return None;
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
    let others = around.get("additionalProperties");
    if let Some(others) = others.or(around.get("unevaluatedProperties")) {
        joined
            .entry("additionalProperties")
            .or_insert(others.clone());
    }
    if let Some(patterns) = around.get("patternProperties") {
        joined
            .entry("patternProperties")
            .or_insert(patterns.clone());
    }
    let joined = joined.into();
    copies.take_json(&joined).then_some(joined)
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
        let description = text(alternative);
        for value in literals(alternative.as_object()?)? {
            match value {
                Json::String(text) => {
                    if known.insert(text.clone()) {
                        words.push(Word {
                            text,
                            description: description.clone(),
                            error: ErrorFacts::of(alternative),
                        });
                    }
                }
                _ => return None,
            }
        }
    }
    (!words.is_empty()).then_some(words)
}

/// Returns the part of an alternative's name that distinguishes it from the other alternatives.
fn variant_name(schema: &Json, index: usize) -> String {
    let properties = schema["properties"].as_object();
    let only = properties.and_then(|properties| {
        let mut tags = properties.values();
        let tag = tags.find_map(|property| property["const"].as_str());
        tag.or(match properties.len() {
            1 => properties.keys().next().map(String::as_str),
            _ => None,
        })
    });
    only.map_or_else(|| (index + 1).to_string(), pascal)
}

/// Returns whether arrays must have exactly this length, so that they are tuples.
fn has_length(map: &Map<String, Json>, length: usize) -> bool {
    let length = json!(length);
    map.get("minItems") == Some(&length)
        && (map.get("maxItems") == Some(&length) || map.get("items") == Some(&json!(false)))
}

/// Returns the length of a list, if exactly one length is permitted and it is at most 32. serde
/// supports Rust arrays of these lengths.
fn fixed_length(map: &Map<String, Json>) -> Option<usize> {
    let length = map.get("minItems").map_or(Some(0), Json::as_u64)?;
    let is_only = map.get("maxItems")?.as_u64()? == length && (0..=32).contains(&length);
    usize::try_from(length).ok().filter(|_| is_only)
}

/// Returns the type of a map's keys.
fn keys(map: &Map<String, Json>) -> Keys {
    let stated = map.get(keys::SCHEMA_KEYS).and_then(Json::as_object);
    match stated.and_then(|keys| Some((keys, plain_kind(keys)?))) {
        Some((_, "boolean")) => return Keys::Bool,
        Some((keys, "integer")) => return Keys::Integer(Integer::of(keys)),
        _ => {}
    }
    let patterns = map.get("patternProperties").and_then(Json::as_object);
    let pattern = patterns.and_then(|patterns| patterns.keys().next());
    match pattern.map(String::as_str) {
        // schemars writes exactly these patterns.
        Some(r"^\d+$") => Keys::Integer(Integer::U64),
        Some(r"^-?\d+$") => Keys::Integer(Integer::I64),
        _ => Keys::Text,
    }
}

/// Makes the facts about errors valid for a contract. If two names are equal, or a name is missing
/// or not allowed, removes all facts. Otherwise keeps only the first use of each class and of
/// `other`.
fn unambiguous(mut variants: Vec<&mut Option<ErrorFacts>>) {
    let mut names = HashSet::new();
    let are_named = variants.iter().all(|facts| {
        let name = facts.as_ref().map(|facts| facts.name.clone());
        name.is_some_and(|name| is_error_name(&name) && names.insert(name))
    });
    let (mut classes, mut has_other) = (HashSet::new(), false);
    for variant in &mut variants {
        match variant {
            Some(facts) if are_named => {
                facts.classes.retain(|class| classes.insert(class.clone()));
                facts.other &= !has_other;
                has_other |= facts.other;
            }
            facts => **facts = None,
        }
    }
}

/// Returns whether a body is that of an enum that is no error.
fn is_plain_enum(body: &Body) -> bool {
    match body {
        Body::Words(words) => words.iter().all(|word| word.error.is_none()),
        Body::Choice(choice) => {
            let mut variants = choice.variants.iter();
            variants.all(|variant| variant.error.is_none())
        }
        Body::Struct(_) | Body::Alias(_) | Body::Interface(_) => false,
    }
}

/// Returns whether a contract accepts the name of an error.
fn is_error_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with("hypha.")
}

/// Returns whether the only alternative is a variant of an enum: a variant of an error, or an
/// alternative of `oneOf` with the form of a tagged variant.
fn is_only_variant(map: &Map<String, Json>, others: &[Json]) -> bool {
    let is_text = |schema: &Json| schema["const"].is_string();
    let is_tagged = |other: &Json| {
        let members = other["properties"].as_object();
        let required = other["required"].as_array();
        let is_required = |name: &str| required.is_some_and(|names| names.contains(&name.into()));
        let is_single = other["additionalProperties"] == false
            && members.is_some_and(|members| members.len() == 1);
        let mut members = members.into_iter().flatten();
        is_text(other)
            || members.any(|(name, member)| is_required(name) && (is_single || is_text(member)))
    };
    others.iter().any(|other| {
        ErrorFacts::of(other).is_some() || map.contains_key("oneOf") && is_tagged(other)
    })
}

/// Adds a method to `members`, inside the groups in its path. Creates missing groups.
fn insert(members: &mut Vec<Member>, path: &str, method: Method) {
    let mut members = members;
    let mut rest = path;
    while let Some((group, after)) = rest.split_once('.') {
        let is_group =
            |member: &Member| member.name == group && matches!(member.kind, MemberKind::Group(_));
        let index = members.iter().position(is_group).unwrap_or_else(|| {
            members.push(Member {
                name: group.to_owned(),
                kind: MemberKind::Group(Vec::new()),
            });
            members.len() - 1
        });
        let MemberKind::Group(inner) = &mut members[index].kind else {
            return;
        };
        members = inner;
        rest = after;
    }
    members.push(Member {
        name: rest.to_owned(),
        kind: MemberKind::Method(Box::new(method)),
    });
}

/// Returns whether an object has known fields, and is not a map with arbitrary keys.
fn has_fields(map: &Map<String, Json>) -> bool {
    has_members(map)
        // `patternProperties` allows further members even if `additionalProperties` is false.
        || map.get("additionalProperties") == Some(&Json::Bool(false)) && !map.contains_key("patternProperties")
}
