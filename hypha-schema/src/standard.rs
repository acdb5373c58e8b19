//! Reduces schemas to standard JSON Schema, for language models and OpenAPI.
//!
//! The published schemas of services also contain names of Python types, a keyword for types that
//! JSON cannot represent, and defaults with special strings for values such as NaN. A validator
//! would reject or misinterpret these parts, so this module removes them.

use serde_json::{Map, Value as Json};

use crate::keywords::{is_plain, plain, plain_kind};
use crate::model::Model;
use crate::names::Names;
use crate::possible::Possible;
use crate::table::{map_schema, table_index};
use crate::text::comment_lines;
use crate::types::{Method, Parameter};

/// A parameter that a caller can send.
pub(crate) struct Sendable<'a> {
    pub(crate) parameter: &'a Parameter,
    /// Schema of the values that the format can hold.
    pub(crate) schema: Json,
}

/// Returns the parameters that a caller can send. Omits optional parameters that cannot be sent.
/// Returns the parameter as an error if it is required and cannot be sent. Returns `Ok(None)` if
/// the parameters of the method are unknown.
pub(crate) fn sendable<'a>(
    method: &'a Method,
    possible: &Possible<'_>,
) -> Result<Option<Vec<Sendable<'a>>>, &'a Parameter> {
    let Some(parameters) = &method.parameters else {
        return Ok(None);
    };
    let mut given = Vec::new();
    for parameter in parameters {
        match possible.argument(&parameter.schema, !parameter.optional) {
            Some(schema) => given.push(Sendable { parameter, schema }),
            None if parameter.optional => {}
            None => return Err(parameter),
        }
    }
    Ok(Some(given))
}

/// Returns the schema of an object that has these parameters as members, with the schemas that
/// `write` returns. If `parameters` is `None`, the object may have any members.
pub(crate) fn object(
    parameters: Option<&[Sendable<'_>]>,
    write: &dyn Fn(&Json) -> Json,
) -> Map<String, Json> {
    let mut object = Map::from_iter([("type".to_owned(), Json::from("object"))]);
    let Some(parameters) = parameters else {
        object.insert("additionalProperties".to_owned(), true.into());
        return object;
    };
    let properties: Map<String, Json> = parameters
        .iter()
        .map(|it| (it.parameter.name.clone(), write(&it.schema)))
        .collect();
    let required = parameters.iter().map(|it| it.parameter);
    let required = required.filter(|parameter| !parameter.optional);
    let required: Vec<&str> = required.map(|parameter| parameter.name.as_str()).collect();
    object.insert("properties".to_owned(), properties.into());
    object.insert("required".to_owned(), required.into());
    object
}

/// Returns a unique name for each definition.
pub(crate) fn definition_names(model: &Model) -> Vec<String> {
    let mut names = Names::default();
    let definitions = model.table.definitions.iter();
    definitions
        .map(|definition| names.fresh(&definition.name))
        .collect()
}

/// Returns a schema that contains only standard keywords and types. `refer` returns the value of
/// `$ref` for the definition with the given index.
pub(crate) fn standard(schema: &Json, refer: &dyn Fn(usize) -> String) -> Json {
    map_schema(schema, &mut |schema| {
        schema.retain(|key, _| !key.starts_with("x-hypha-"));
        if let Some(index) = table_index(schema) {
            schema.insert("$ref".to_owned(), refer(index).into());
        }
        if let Some(Json::Array(kinds)) = schema.get_mut("type") {
            kinds.retain_mut(|kind| {
                let known = kind.as_str().and_then(plain);
                *kind = known.into();
                known.is_some()
            });
            if kinds.is_empty() {
                schema.shift_remove("type");
            }
        } else if schema.contains_key("type") {
            match plain_kind(schema) {
                Some(kind) => schema.insert("type".to_owned(), kind.into()),
                None => schema.shift_remove("type"),
            };
        }
        if !schema.get("default").is_none_or(is_plain) {
            schema.shift_remove("default");
        }
        // Remove invisible characters from descriptions, because such characters could contain
        // instructions that a language model reads but people do not see.
        if let Some(Json::String(text)) = schema.get("description") {
            let text = comment_lines(text).join("\n");
            schema.insert("description".to_owned(), text.into());
        }
    })
}
