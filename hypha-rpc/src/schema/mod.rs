//! Function schemas: what a service says of its methods to callers in any language.
//!
//! A function is described as `{name, description, parameters}`, where `parameters` is a JSON Schema
//! object. Types come from [`schemars`], inlined; a recursive type, which cannot be inlined, is a
//! `$ref` into `$defs` of the same `parameters` object.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// Builds the schema of one function, argument after argument.
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
}

impl FunctionSchema {
    /// A function without arguments so far.
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> FunctionSchema {
        let settings = SchemaSettings::draft07().with(|settings| {
            settings.meta_schema = None;
            settings.inline_subschemas = true;
            settings.definitions_path = "/$defs".into();
            settings
                .transforms
                .push(Box::new(RecursiveTransform(normalise)));
        });
        FunctionSchema {
            name: name.into(),
            description: description.into(),
            generator: settings.into_generator(),
            properties: Map::new(),
            required: Vec::new(),
        }
    }

    /// Adds an argument that callers have to give.
    pub fn argument<T: JsonSchema + ?Sized>(mut self, name: &str, description: &str) -> Self {
        self.required.push(name.into());
        self.optional_argument::<T>(name, description)
    }

    /// Adds an argument that callers may leave out.
    pub fn optional_argument<T: JsonSchema + ?Sized>(
        mut self,
        name: &str,
        description: &str,
    ) -> Self {
        let mut schema = self.generator.subschema_for::<T>();
        for transform in self.generator.transforms_mut() {
            transform.transform(&mut schema);
        }
        describe(&mut schema, description);
        self.properties.insert(name.to_owned(), schema.to_value());
        self
    }

    /// Adds an argument that becomes `default` when callers leave it out.
    pub fn argument_with_default<T: JsonSchema + ?Sized>(
        self,
        name: &str,
        description: &str,
        default: Value,
    ) -> Self {
        let mut this = self.optional_argument::<T>(name, description);
        if let Some(Value::Object(property)) = this.properties.get_mut(name) {
            keep_reference(property);
            property.insert("default".to_owned(), default);
        }
        this
    }

    /// `{name, description, parameters}`.
    pub fn finish(mut self) -> Value {
        let mut parameters = Map::new();
        parameters.insert("type".to_owned(), "object".into());
        parameters.insert("properties".to_owned(), self.properties.into());
        parameters.insert("required".to_owned(), self.required.into());
        let definitions = self.generator.take_definitions(true);
        if !definitions.is_empty() {
            parameters.insert("$defs".to_owned(), definitions.into());
        }
        json!({"name": self.name, "description": self.description, "parameters": parameters})
    }
}

/// The text of the contract wins over the text of the type.
fn describe(schema: &mut Schema, description: &str) {
    if !description.is_empty() {
        // Also turns `true`, which is any value, into an object that can hold the text.
        let schema = schema.ensure_object();
        keep_reference(schema);
        schema.insert("description".to_owned(), description.into());
    }
}

/// In draft 7 everything beside a `$ref` is ignored, so before anything is put there the reference
/// moves into `allOf`.
fn keep_reference(schema: &mut Map<String, Value>) {
    if let Some(reference) = schema.shift_remove("$ref") {
        schema.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
    }
}

/// Takes out of one (sub)schema what only Rust programs understand, and titles, which the other
/// clients do not write either.
fn normalise(schema: &mut Schema) {
    let Some(schema) = schema.as_object_mut() else {
        return;
    };
    schema.shift_remove("title");
    schema.shift_remove("$schema");
    let is_rust_only = |format: &str| {
        matches!(format, "float" | "double" | "int" | "uint" | "char")
            || ["int", "uint"].iter().any(|prefix| {
                let bits = format.strip_prefix(prefix).unwrap_or("");
                !bits.is_empty() && bits.bytes().all(|digit| digit.is_ascii_digit())
            })
    };
    if schema
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(is_rust_only)
    {
        schema.shift_remove("format");
    }
}

#[cfg(test)]
mod tests;
