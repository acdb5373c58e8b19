//! Function schemas: descriptions of methods for callers in any language.
//!
//! [`hypha_service`](crate::hypha_service) generates these schemas from a contract. For a service
//! built by hand, create them with [`FunctionSchema`] and set them with
//! [`Method::schema`](crate::service::Method::schema).
//!
//! A function is described as `{name, description, parameters, returns}`:
//!
//! * `parameters` is a JSON Schema object of draft 2020-12, in the form that the Python client
//!   generates with pydantic: a named type is a `$ref` into `$defs` of the same object, and an
//!   `Option` is `anyOf` with `null` and has the default `null`.
//! * `returns` is the schema of the result, with its own `$defs`. Absent if the type of the result
//!   has no schema. Clients that do not know `returns` ignore it.
//! * `x-hypha-error` is the schema of the data of the error, if the function can fail.
//!
//! Arguments, and the results of callbacks, have the form that serde deserializes. Results, items
//! of streams, errors, and the arguments of callbacks have the form that serde serializes.
//!
//! A line `Unit: mm` in a description is also the key `x-hypha-unit`, and lines such as
//! `Example: 0.5` are the list `examples`.
//!
//! A number has the range of its Rust type. The key `x-hypha-dtype` names the type if the range
//! does not identify it. The key `x-hypha-keys` is the schema of the keys of a map, unless they are
//! strings.
//!
//! An optional member that may be null has the default null. If a type distinguishes null from a
//! missing member, such as an `Option<Option<u8>>`, the attribute
//! `#[schemars(extend("x-hypha-absent" = true))]` of the field removes this default.
//!
//! A keyword that an attribute adds may start with the path of an inner schema, such as
//! `items/format`. The schema then has the keyword in that place.
//!
//! The key [`KIND`] marks types that JSON does not have: numeric arrays, functions, streams.
//!
//! The crate `hypha-schema` generates code in several languages from these schemas.

mod defaults;
mod direction;
mod doc_lines;
mod methods;
mod numbers;
mod paths;
mod skipped;
mod times;

use std::collections::HashSet;

use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::ServiceError;
use hypha_wire::keys::{
    SCHEMA_ABSENT, SCHEMA_ARGUMENTS, SCHEMA_ERROR, SCHEMA_KEYS, SCHEMA_RETURNS, SCHEMA_VARIANT,
};

use direction::{described, received, sent, transform};

pub(crate) use direction::{reversed, subschema};
pub use hypha_wire::Keyed;
pub use hypha_wire::keys::SCHEMA_KIND as KIND;
#[doc(hidden)]
pub use methods::MethodSchemas;

/// Builder for the schema of one function. Add the arguments in the order of the parameters.
///
/// # Examples
///
/// ```
/// # use hypha_rpc::schema::FunctionSchema;
/// let schema = FunctionSchema::new("divide", "Divide one number by another.")
///     .argument::<f64>("a", "The number to divide.")
///     .argument_with_default::<f64>("b", "The number to divide by.", 1.0.into())
///     .finish();
/// assert_eq!(schema["parameters"]["required"], serde_json::json!(["a"]));
/// ```
#[derive(Debug)]
pub struct FunctionSchema {
    name: String,
    description: String,
    generator: SchemaGenerator,
    properties: Map<String, Value>,
    required: Vec<Value>,
    /// Schema of the result, and the generator with its definitions.
    returns: Option<Schema>,
    returned: SchemaGenerator,
    error: Option<Value>,
    /// Whether the definitions belong to the schema that contains this schema.
    is_nested: bool,
}

impl FunctionSchema {
    /// Creates the schema of a function without arguments.
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> FunctionSchema {
        FunctionSchema {
            name: name.into(),
            description: description.into(),
            generator: received(),
            properties: Map::new(),
            required: Vec::new(),
            returns: None,
            returned: sent(),
            error: None,
            is_nested: false,
        }
    }

    /// Adds a required argument.
    #[must_use]
    pub fn argument<T: JsonSchema + ?Sized>(mut self, name: &str, description: &str) -> Self {
        self.required.push(name.into());
        self.optional_argument::<T>(name, description)
    }

    /// Adds an argument that callers may omit.
    #[must_use]
    pub fn optional_argument<T: JsonSchema + ?Sized>(
        mut self,
        name: &str,
        description: &str,
    ) -> Self {
        let mut schema = self.of_argument(hypha_wire::keyed::<T>);
        describe(&mut schema, description);
        self.properties.insert(name.to_owned(), schema.to_value());
        self
    }

    /// Adds an argument with a default for callers that omit it. A default that does not fit the
    /// type is omitted from the schema.
    #[must_use]
    pub fn argument_with_default<T: JsonSchema + ?Sized>(
        self,
        name: &str,
        description: &str,
        default: Value,
    ) -> Self {
        let mut this = self.optional_argument::<T>(name, description);
        if let Some(Value::Object(property)) = this.properties.get_mut(name) {
            property.insert("default".to_owned(), default);
        }
        this
    }

    /// Replaces the schema of an argument. Keeps its default.
    #[doc(hidden)]
    #[must_use]
    pub fn refined(
        mut self,
        name: &str,
        description: &str,
        schema: fn(&mut SchemaGenerator) -> Schema,
    ) -> Self {
        let mut schema = self.of_argument(schema);
        describe(&mut schema, description);
        if let Some(property) = self.properties.get_mut(name) {
            if let Some(default) = property.get("default") {
                schema.insert("default".to_owned(), default.clone());
            }
            *property = schema.to_value();
        }
        self
    }

    /// Sets the type of the result.
    #[must_use]
    pub fn returns<T: JsonSchema + ?Sized>(mut self) -> Self {
        self.returns = Some(subschema::<T>(self.of_result()));
        self
    }

    /// Adds keywords to the schema of the result, if it has one.
    #[doc(hidden)]
    #[must_use]
    pub fn extended_result(mut self, keywords: fn(&mut SchemaGenerator) -> Schema) -> Self {
        let Some(mut schema) = self.returns.take() else {
            return self;
        };
        if let Value::Object(keywords) = keywords(self.of_result()).to_value() {
            paths::extend(schema.ensure_object(), keywords);
        }
        self.returns = Some(schema);
        self
    }

    /// Sets the type of the items of the stream that the function returns.
    #[must_use]
    pub fn returns_stream<T: JsonSchema>(mut self) -> Self {
        let generator = self.of_result();
        let items = subschema::<T>(generator);
        let mut schema = stream();
        transform(&mut schema, generator);
        schema.insert("items".to_owned(), items.to_value());
        self.returns = Some(schema);
        self
    }

    /// Sets the type of the function's errors, unless it cannot fail.
    #[must_use]
    pub fn error<E: ServiceError>(mut self) -> Self {
        let mut own = sent();
        let generator = match self.is_nested {
            true => &mut self.generator,
            false => &mut own,
        };
        self.error = error::<E>(generator).map(|schema| match self.is_nested {
            true => schema.to_value(),
            false => with_definitions(schema.to_value(), own),
        });
        self
    }

    /// Sets the type of the error that can end the stream that the function returns.
    #[must_use]
    pub fn stream_error<E: ServiceError>(mut self) -> Self {
        if let Some(error) = error::<E>(self.of_result()) {
            if let Some(returns) = &mut self.returns {
                returns.insert(SCHEMA_ERROR.to_owned(), error.to_value());
            }
        }
        self
    }

    /// Returns the schema of an argument. Methods of an object have the arguments that the peer of
    /// the object sends.
    fn of_argument(&mut self, schema: fn(&mut SchemaGenerator) -> Schema) -> Schema {
        if !self.is_nested {
            return described(&mut self.generator, schema);
        }
        let mut argument = Schema::default();
        reversed(&mut self.generator, &mut |generator| {
            argument = described(generator, schema);
        });
        argument
    }

    /// Returns the generator for the schema of the result.
    fn of_result(&mut self) -> &mut SchemaGenerator {
        match self.is_nested {
            true => &mut self.generator,
            false => &mut self.returned,
        }
    }

    /// Returns `{name, description, parameters}`, and `returns` and the error if they were set.
    #[must_use]
    pub fn finish(self) -> Value {
        let mut parameters = Map::new();
        parameters.insert("type".to_owned(), "object".into());
        parameters.insert("properties".to_owned(), self.properties.into());
        // If all arguments are optional, `required` is absent instead of an empty list, as in
        // pydantic.
        if !self.required.is_empty() {
            parameters.insert("required".to_owned(), self.required.into());
        }
        let mut parameters = Value::Object(parameters);
        if !self.is_nested {
            parameters = with_definitions(parameters, self.generator);
        }
        let mut function =
            json!({"name": self.name, "description": self.description, "parameters": parameters});
        if let Some(returns) = self.returns {
            function["returns"] = match self.is_nested {
                true => returns.to_value(),
                false => with_definitions(returns.to_value(), self.returned),
            };
        }
        if let Some(error) = self.error {
            function[SCHEMA_ERROR] = error;
        }
        function
    }
}

/// Returns the schema of a stream, without its items.
pub(crate) fn stream() -> Schema {
    json_schema!({
        "type": "object",
        "description": "A stream of values: a generator or an iterator.",
        (KIND): "stream"
    })
}

/// Returns the schema of a stream with these items and errors.
pub(crate) fn stream_of<T: JsonSchema, E: ServiceError>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = stream();
    let items = subschema::<T>(generator);
    schema.insert("items".to_owned(), items.to_value());
    if let Some(error) = error::<E>(generator) {
        schema.insert(SCHEMA_ERROR.to_owned(), error.to_value());
    }
    schema
}

/// Returns the schema of the data of errors, or `None` if there are no errors.
fn error<E: ServiceError>(generator: &mut SchemaGenerator) -> Option<Schema> {
    // The next call cannot return an `Option`.
    E::describe(generator)?;
    Some(described(generator, |generator| {
        E::describe(generator).unwrap_or_default()
    }))
}

/// Returns the schema of a function with these arguments, result and errors.
pub(crate) fn function<R: JsonSchema, E: ServiceError>(
    arguments: Vec<Value>,
    generator: &mut SchemaGenerator,
) -> Schema {
    let mut schema = json_schema!({
        "type": "object",
        "description": "A function, which is called back.",
        (KIND): "function",
        (SCHEMA_ARGUMENTS): arguments,
        (SCHEMA_RETURNS): subschema::<R>(generator),
    });
    if let Some(error) = error::<E>(generator) {
        schema.insert(SCHEMA_ERROR.to_owned(), error.to_value());
    }
    schema
}

/// Returns a schema together with the definitions to which it refers.
fn with_definitions(mut schema: Value, generator: SchemaGenerator) -> Value {
    let mut definitions = direction::take_definitions(generator, &mut schema);
    times::inline(&mut schema, &mut definitions);
    defaults::correct(&mut schema, &mut definitions);
    remove_unused(&schema, &mut definitions);
    if let (false, Value::Object(schema)) = (definitions.is_empty(), &mut schema) {
        schema.insert("$defs".to_owned(), definitions.into());
    }
    schema
}

/// Removes the definitions to which neither the schema nor another used definition refers, such as
/// the type of a skipped field.
fn remove_unused(schema: &Value, definitions: &mut Map<String, Value>) {
    fn references(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(members) => {
                found.extend(direction::reference(members));
                members.values().for_each(|it| references(it, found));
            }
            Value::Array(items) => items.iter().for_each(|it| references(it, found)),
            _ => {}
        }
    }
    let mut waiting = Vec::new();
    references(schema, &mut waiting);
    let mut used = HashSet::new();
    while let Some(name) = waiting.pop() {
        if let (false, Some(definition)) = (used.contains(&name), definitions.get(&name)) {
            references(definition, &mut waiting);
        }
        used.insert(name);
    }
    definitions.retain(|name, _| used.contains(name));
}

/// Sets the description from the contract, which replaces the description of the type.
fn describe(schema: &mut Schema, description: &str) {
    if !description.is_empty() {
        // Also converts `true`, which matches any value, to an object that can hold the
        // description.
        let schema = schema.ensure_object();
        schema.insert("description".to_owned(), description.into());
        doc_lines::annotate(schema);
    }
}

/// Converts one schema to pydantic's form. Contains the keyword of the fields that serde skips in
/// the direction of the schema.
#[derive(Clone, Copy)]
struct Normalise(&'static str);

impl Transform for Normalise {
    fn transform(&mut self, schema: &mut Schema) {
        normalise(schema, self.0);
    }
}

/// Removes titles, which other clients do not write, and replaces formats that only Rust programs
/// understand.
fn normalise(schema: &mut Schema, mark: &'static str) {
    let Some(schema) = schema.as_object_mut() else {
        return;
    };
    schema.shift_remove("title");
    schema.shift_remove("$schema");
    paths::expand(schema);
    skipped::correct(schema, mark);
    doc_lines::annotate(schema);
    numbers::normalise(schema);
    // Not a keyword of JSON Schema, so the transform does not reach the schema in it.
    if let Some(Ok(keys)) = schema.get_mut(SCHEMA_KEYS).map(<&mut Schema>::try_from) {
        RecursiveTransform(Normalise(mark)).transform(keys);
    }
    // schemars writes `true` as the schema of any value, but only under these keys. pydantic writes
    // `{}`.
    for key in ["items", "properties", "prefixItems", "anyOf"] {
        match schema.get_mut(key) {
            Some(Value::Object(members)) if key == "properties" => {
                members.values_mut().for_each(any_value);
            }
            Some(Value::Array(schemas)) => schemas.iter_mut().for_each(any_value),
            Some(items) => any_value(items),
            None => {}
        }
    }
    if schema.get("additionalProperties") == Some(&json!({})) {
        schema.insert("additionalProperties".to_owned(), true.into());
    }
    if schema.get("type").is_some_and(Value::is_array) {
        split(schema);
    }
    // These schemas have a type only so that schemars adds null for an `Option`.
    let kind = schema.get(KIND).and_then(Value::as_str);
    let is_live = matches!(kind, Some("file" | "function" | "stream"));
    if is_live && !schema.contains_key("properties") {
        schema.shift_remove("type");
    }
}

/// Returns a value as JSON, or `None` if JSON cannot represent it. Writes each `f32` in its
/// shortest form (`0.1`), and times as the numbers that are sent on the wire.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Option<Value> {
    let mut exact = to_exact_json(value)?;
    if let Ok(sent) = hypha_wire::Value::encode_from(value) {
        take_sent(&mut exact, &sent)?;
    }
    Some(exact)
}

/// Replaces the structs to which serde converts times by the numbers that are sent on the wire.
/// Returns `None` if a number is not finite. serde_json writes null for such a number.
fn take_sent(exact: &mut Value, sent: &hypha_wire::Value) -> Option<()> {
    match (&mut *exact, sent) {
        (Value::Array(exact), hypha_wire::Value::List(sent)) => {
            for (exact, sent) in exact.iter_mut().zip(sent) {
                take_sent(exact, sent)?;
            }
        }
        (Value::Object(exact), hypha_wire::Value::Map(sent)) => {
            for (key, exact) in exact {
                if let Some(sent) = sent.get(key) {
                    take_sent(exact, sent)?;
                }
            }
        }
        (Value::Object(_), sent @ (hypha_wire::Value::Float(_) | hypha_wire::Value::UInt(_))) => {
            *exact = sent.to_json();
        }
        (Value::Object(_), hypha_wire::Value::Int(sent)) => *exact = (*sent).into(),
        (Value::Object(_), hypha_wire::Value::Ext(..)) => {
            *exact = times::seconds(exact).unwrap_or_default();
        }
        (Value::Null, hypha_wire::Value::Float(_)) => return None,
        _ => {}
    }
    Some(())
}

fn to_exact_json<T: Serialize>(value: &T) -> Option<Value> {
    // Convert twice and combine the results. The string has the short form of an `f32`, which
    // `to_value` widens to `f64`. The string alone is not enough, because it rounds large integers
    // and some `f64`.
    let mut exact = serde_json::to_value(value).ok()?;
    let text = serde_json::to_string(value).ok()?;
    let short: Value = serde_json::from_str(&text).ok()?;
    take_short(&mut exact, short);
    Some(exact)
}

/// Replaces the numbers in `exact` that came from an `f32` with those in `short`.
fn take_short(exact: &mut Value, short: Value) {
    match (exact, short) {
        (Value::Number(number), Value::Number(short)) if number.is_f64() => {
            #[allow(clippy::cast_possible_truncation)]
            let is_f32 = |number: f64| f64::from(number as f32).to_bits() == number.to_bits();
            if number.as_f64().is_some_and(is_f32) {
                *number = short;
            }
        }
        (Value::Array(exact), Value::Array(short)) => {
            for (exact, short) in exact.iter_mut().zip(short) {
                take_short(exact, short);
            }
        }
        (Value::Object(exact), Value::Object(mut short)) => {
            for (key, exact) in exact {
                take_short(exact, short.remove(key).unwrap_or_default());
            }
        }
        _ => {}
    }
}

/// Replaces `true`, the schema of any value, with `{}`.
fn any_value(schema: &mut Value) {
    if *schema == Value::Bool(true) {
        *schema = json!({});
    }
}

/// Rewrites `type: [T, "null"]` as `anyOf`. Keywords that also apply to null, such as the
/// description, stay beside `anyOf`.
fn split(schema: &mut Map<String, Value>) {
    let Some(Value::Array(types)) = schema.get("type") else {
        return;
    };
    let [Value::String(first), Value::String(second)] = &types[..] else {
        return;
    };
    if second != "null" {
        return;
    }
    let mut inner = Map::from_iter([("type".to_owned(), Value::from(first.as_str()))]);
    let mut outer = Map::new();
    for (key, value) in std::mem::take(schema) {
        match key.as_str() {
            "type" => {}
            key if is_about_null(key) => {
                outer.insert(key.to_owned(), value);
            }
            _ => {
                inner.insert(key, value);
            }
        }
    }
    schema.insert("anyOf".to_owned(), json!([inner, {"type": "null"}]));
    schema.extend(outer);
}

/// Returns whether a keyword of an optional type also applies to null.
fn is_about_null(keyword: &str) -> bool {
    matches!(
        keyword,
        "description"
            | "default"
            | "examples"
            | "deprecated"
            | "readOnly"
            | "writeOnly"
            | SCHEMA_ABSENT
            | SCHEMA_VARIANT
    )
}

/// Adds the default null to members that are optional and nullable, unless the type distinguishes
/// null from a missing member.
fn say_null(schema: &mut Schema) {
    let Some(schema) = schema.as_object_mut() else {
        return;
    };
    let required = schema.get("required").cloned().unwrap_or_default();
    let Some(Value::Object(properties)) = schema.get_mut("properties") else {
        return;
    };
    for (name, property) in properties {
        let is_required = required
            .as_array()
            .is_some_and(|names| names.iter().any(|other| other == name));
        let is_nullable = property["anyOf"]
            .as_array()
            .is_some_and(|kinds| kinds.contains(&json!({"type": "null"})));
        let Value::Object(property) = property else {
            continue;
        };
        let is_distinct = property.shift_remove(SCHEMA_ABSENT).is_some();
        if !is_required && is_nullable && !is_distinct {
            property.entry("default").or_insert(Value::Null);
        }
    }
}

#[cfg(test)]
mod tests;
