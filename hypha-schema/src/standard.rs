//! Writes standard JSON Schema, for language models and OpenAPI.
//!
//! Schemas on the wire also contain Python type names, a keyword for kinds of values that JSON
//! cannot represent, and defaults with marks for values such as NaN. Validators would reject or
//! misinterpret these parts, so this module removes them.

use serde_json::{Map, Value as Json};

use crate::keywords::{is_plain, plain, plain_kind};
use crate::model::Model;
use crate::names::Names;
use crate::table::{map_schema, table_index};
use crate::text::comment_lines;
use crate::types::{Finder, Method, Parameter};

/// Returns the parameters that can be sent. `Err` contains a required parameter that cannot be
/// sent. The inner `None` means that the parameters are unknown.
pub(crate) fn sendable<'a>(
    method: &'a Method,
    unfit: &Finder,
) -> Result<Option<Vec<&'a Parameter>>, &'a Parameter> {
    let Some(parameters) = &method.parameters else {
        return Ok(None);
    };
    let mut given = Vec::new();
    for parameter in parameters {
        match unfit.is_in(&parameter.ty) {
            false => given.push(parameter),
            true if parameter.optional => {}
            true => return Err(parameter),
        }
    }
    Ok(Some(given))
}

/// Returns the schema of an object with these members, or with arbitrary members if they are
/// unknown.
pub(crate) fn object(
    parameters: Option<Vec<&Parameter>>,
    refer: &dyn Fn(usize) -> String,
) -> Map<String, Json> {
    let mut object = Map::from_iter([("type".to_owned(), Json::from("object"))]);
    let Some(parameters) = parameters else {
        object.insert("additionalProperties".to_owned(), true.into());
        return object;
    };
    let properties: Map<String, Json> = parameters
        .iter()
        .map(|parameter| (parameter.name.clone(), standard(&parameter.schema, refer)))
        .collect();
    let required = parameters.iter().filter(|parameter| !parameter.optional);
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

/// Returns a schema with only standard keywords and types. `refer` returns the reference to the
/// definition at an index.
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
        // Remove invisible characters: language models read descriptions, where such characters
        // could hide instructions from people.
        if let Some(Json::String(text)) = schema.get("description") {
            let text = comment_lines(text).join("\n");
            schema.insert("description".to_owned(), text.into());
        }
    })
}
