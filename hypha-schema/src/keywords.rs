//! Keywords of JSON Schema, draft 2020-12.
//!
//! The author of the service provides the schemas, so this module does not trust them. Unknown
//! keywords and values of the wrong form are removed; notations of older drafts and of OpenAPI 3.0
//! are translated.

use std::collections::HashSet;

use hypha_wire::keys;
use serde_json::{Map, Value as Json, json};

/// Form of a keyword's value.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// One schema.
    Schema,
    /// A list of schemas.
    Schemas,
    /// Schemas by name.
    Named,
    Text,
    Number,
    /// A non-negative integer.
    Count,
    Truth,
    List,
    Type,
    /// Function schemas by name.
    Methods,
    Any,
}

/// Returns the form of the keyword's value, or `None` for an unknown keyword.
fn form(word: &str) -> Option<Form> {
    Some(match word {
        "items"
        | "additionalProperties"
        | "not"
        | "contains"
        | "propertyNames"
        | "if"
        | "then"
        | "else"
        | "contentSchema"
        | "unevaluatedItems"
        | "unevaluatedProperties"
        | keys::SCHEMA_KEYS
        | keys::SCHEMA_RETURNS
        | keys::SCHEMA_ERROR => Form::Schema,
        "anyOf" | "oneOf" | "allOf" | "prefixItems" | keys::SCHEMA_ARGUMENTS => Form::Schemas,
        keys::SCHEMA_METHODS => Form::Methods,
        "properties" | "patternProperties" | "dependentSchemas" => Form::Named,
        "$ref" | "title" | "description" | "format" | "pattern" | "contentEncoding"
        | "contentMediaType" => Form::Text,
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
            Form::Number
        }
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties"
        | "minContains" | "maxContains" => Form::Count,
        "uniqueItems" | "deprecated" | "readOnly" | "writeOnly" => Form::Truth,
        "required" | "enum" | "examples" => Form::List,
        "type" => Form::Type,
        "default" | "const" => Form::Any,
        // Extensions, both of authors and of this project.
        word if word.starts_with("x-") => Form::Any,
        _ => return None,
    })
}

fn is_schema(value: &Json) -> bool {
    value.is_object() || value.is_boolean()
}

/// Returns whether a keyword is known and its value is valid.
fn has_form(word: &str, value: &Json) -> bool {
    match form(word) {
        None => false,
        Some(Form::Schema) => is_schema(value),
        Some(Form::Schemas) => {
            value
            .as_array()
            .is_some_and(|list| list.iter().all(is_schema))
            // The list may only be empty for the arguments of a function.
            && (word == keys::SCHEMA_ARGUMENTS || value != &json!([]))
        }
        Some(Form::Methods) => value
            .as_object()
            .is_some_and(|map| map.values().all(Json::is_object)),
        Some(Form::Named) => value
            .as_object()
            .is_some_and(|map| map.values().all(is_schema)),
        Some(Form::Text) => value.is_string(),
        Some(Form::Number) => value
            .as_f64()
            // Validators reject a `multipleOf` that is not positive.
            .is_some_and(|number| number > 0.0 || word != "multipleOf"),
        Some(Form::Count) => value.is_u64(),
        Some(Form::Truth) => value.is_boolean(),
        Some(Form::List) => value.as_array().is_some_and(|list| !list.is_empty()),
        Some(Form::Type) => value.is_string() || value.is_array(),
        Some(Form::Any) => true,
    }
}

/// Applies `change` to each schema in the value of a keyword. Returns `None` if the value contains
/// no schema.
pub(crate) fn map_inner(
    word: &str,
    value: &Json,
    change: &mut impl FnMut(&Json) -> Json,
) -> Option<Json> {
    Some(match (form(word)?, value) {
        // Keep a boolean, which only allows or forbids other members.
        (Form::Schema, Json::Bool(_)) => return None,
        // A tuple in the notation of older drafts.
        (Form::Schemas, Json::Array(schemas)) => schemas.iter().map(change).collect(),
        (Form::Schema, Json::Array(schemas)) if word == "items" => {
            schemas.iter().map(change).collect()
        }
        (Form::Named, Json::Object(members)) => members
            .iter()
            .map(|(name, member)| (name.clone(), change(member)))
            .collect::<Map<_, _>>()
            .into(),
        (Form::Methods, Json::Object(methods)) => methods
            .iter()
            .map(|(name, method)| (name.clone(), map_method(method, change)))
            .collect::<Map<_, _>>()
            .into(),
        (Form::Schema, schema) => change(schema),
        _ => return None,
    })
}

/// Applies `change` to the schemas of a function.
fn map_method(method: &Json, change: &mut impl FnMut(&Json) -> Json) -> Json {
    let mut method = method.clone();
    for part in ["parameters", "returns", keys::SCHEMA_ERROR] {
        if let Some(schema) = method.get_mut(part) {
            *schema = change(schema);
        }
    }
    method
}

/// Translates older notations and removes invalid parts. Affects only this schema, not the schemas
/// inside it.
pub(crate) fn tidy(schema: &mut Map<String, Json>) {
    // Until draft 2019-09, a tuple was a list under `items`.
    if schema.get("items").is_some_and(Json::is_array) {
        let others = schema.shift_remove("additionalItems");
        if let Some(items) = schema.shift_remove("items") {
            schema.insert("prefixItems".to_owned(), items);
        }
        if let Some(others) = others {
            schema.insert("items".to_owned(), others);
        }
    }
    // In draft 4, a boolean made the bound in `minimum` or `maximum` exclusive.
    for (bound, exclusive) in [
        ("minimum", "exclusiveMinimum"),
        ("maximum", "exclusiveMaximum"),
    ] {
        if schema.get(exclusive) == Some(&Json::Bool(true)) {
            if let Some(limit) = schema.shift_remove(bound) {
                schema.insert(exclusive.to_owned(), limit);
            }
        }
    }
    // OpenAPI 3.0 has no type `null`.
    if schema.get("nullable") == Some(&Json::Bool(true)) {
        if let Some(Json::String(kind)) = schema.get("type").cloned() {
            schema.insert("type".to_owned(), json!([kind, "null"]));
        }
    }
    // Some drafts forbid repeated entries and empty lists.
    for word in ["required", "type"] {
        if let Some(Json::Array(names)) = schema.get_mut(word) {
            let mut known = HashSet::new();
            names.retain(|name| match name {
                Json::String(name) => known.insert(name.clone()),
                _ => false,
            });
            if names.is_empty() {
                schema.shift_remove(word);
            }
        }
    }
    schema.retain(|word, value| has_form(word, value));
}

/// Returns whether a value is plain JSON, without the tags (`$float`, `$bytes`, `$ext`, `$live`)
/// for values that JSON cannot represent.
pub(crate) fn is_plain(value: &Json) -> bool {
    match value {
        Json::Array(items) => items.iter().all(is_plain),
        Json::Object(map) => {
            // The tags that `Value::to_json` uses for values that JSON cannot represent.
            let marks = ["$float", "$bytes", "$ext", "$live"];
            let is_mark = map.len() == 1 && map.keys().all(|key| marks.contains(&key.as_str()));
            !is_mark && map.values().all(is_plain)
        }
        _ => true,
    }
}

/// Returns the JSON Schema type for a type name, which may be a Python name.
pub(crate) fn plain(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "string" | "str" => "string",
        "integer" | "int" => "integer",
        "number" | "float" => "number",
        "boolean" | "bool" => "boolean",
        "array" | "list" | "tuple" | "set" => "array",
        "object" | "dict" => "object",
        "null" | "None" | "NoneType" => "null",
        _ => return None,
    })
}

/// Returns the only JSON type of a schema: the value of `type`, or the type that another keyword
/// implies. Returns `None` if there are several types, or none is known.
pub(crate) fn plain_kind(schema: &Map<String, Json>) -> Option<&'static str> {
    match schema.get("type") {
        Some(Json::String(kind)) => plain(kind),
        Some(_) => None,
        None if schema.contains_key("properties") => Some("object"),
        None if schema.contains_key("prefixItems") => Some("array"),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tidied(schema: Json) -> Json {
        let mut schema = schema.as_object().cloned().unwrap_or_default();
        tidy(&mut schema);
        schema.into()
    }

    #[test]
    fn older_notations_are_translated() {
        for (old, new) in [
            (
                json!({"items": [{}, {}], "additionalItems": false}),
                json!({"prefixItems": [{}, {}], "items": false}),
            ),
            (
                json!({"minimum": 1, "exclusiveMinimum": true, "maximum": 2,
                    "exclusiveMaximum": false}),
                json!({"exclusiveMinimum": 1, "maximum": 2}),
            ),
            (
                json!({"type": "string", "nullable": true}),
                json!({"type": ["string", "null"]}),
            ),
        ] {
            assert_eq!(tidied(old), new);
        }
    }

    #[test]
    fn invalid_keywords_are_removed() {
        let fine = json!({"type": ["string", "null"], "minLength": 1, "enum": ["a"],
            "default": null, "required": ["a"], "description": "", "multipleOf": 0.5, "items": true,
            "x-unit": "mm"});
        assert_eq!(tidied(fine.clone()), fine);
        let wrong = json!({"minLength": -1, "allOf": [], "anyOf": ["x"], "required": "a",
            "minimum": {"$float": "inf"},
            "multipleOf": 0, "properties": {"a": 1}, "enum": [], "type": [], "discriminator": {},
            "$id": "x", "title": 1,
            "uniqueItems": "yes", "items": 3});
        assert_eq!(tidied(wrong), json!({}));
        assert_eq!(
            tidied(json!({"required": ["a", 1, "a"], "type": [7, "null", "null"]})),
            json!({"required": ["a"], "type": ["null"]})
        );
    }
}
