//! JSON: what language models and OpenAPI are told, in standard JSON Schema only.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use super::collect::{map_schema, table_index};
use super::keywords::is_plain;
use super::model::{Method, Model, Parameter};
use super::names::{self, Names};
use super::read::{plain, plain_kind};
use super::types::{Finder, Type};
use crate::schema::KIND;

/// The list of functions.
pub(super) fn write(model: &Model) -> Json {
    let mut names = Names::default();
    let methods = model.methods().into_iter();
    let unfit = model.types.finder(Type::is_not_json);
    let callable = methods.filter_map(|method| Some((method, sendable(method, &unfit)?)));
    let functions = callable.map(|(method, parameters)| {
        let name: String = method
            .path
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c
                } else {
                    '_'
                }
            })
            .take(60)
            .collect();
        let name = if name.is_empty() { "_" } else { &name };
        json!({
            "type": "function",
            "function": {
                "name": names.fresh(name),
                "description": method.description,
                "parameters": whole(model, parameters),
            },
        })
    });
    functions.collect()
}

/// The parameters without those that cannot be sent; `None` if one of these has to be given.
pub(super) fn sendable<'a>(
    method: &'a Method,
    unfit: &Finder,
) -> Option<Option<Vec<&'a Parameter>>> {
    let Some(parameters) = &method.parameters else {
        return Some(None);
    };
    let mut given = Vec::new();
    for parameter in parameters {
        match unfit.is_in(&parameter.ty) {
            false => given.push(parameter),
            true if parameter.optional => {}
            true => return None,
        }
    }
    Some(Some(given))
}

/// The schema of an object with these members, or with any if they are not known.
pub(super) fn object(
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

/// With the definitions that it needs.
fn whole(model: &Model, parameters: Option<Vec<&Parameter>>) -> Json {
    let names = definition_names(model);
    let refer = |index: usize| format!("#/$defs/{}", names[index]);
    let mut used: HashMap<usize, Json> = HashMap::new();
    let mut waiting: Vec<usize> = Vec::new();
    for parameter in parameters.iter().flatten() {
        references(&parameter.schema, &mut waiting);
    }
    let mut object = object(parameters, &refer);
    while let Some(index) = waiting.pop() {
        if used.contains_key(&index) {
            continue;
        }
        let schema = &model.table.definitions[index].schema;
        used.insert(index, standard(schema, &refer));
        references(schema, &mut waiting);
    }
    let mut used: Vec<(usize, Json)> = used.into_iter().collect();
    used.sort_unstable_by_key(|(index, _)| *index);
    if !used.is_empty() {
        let used = used
            .into_iter()
            .map(|(index, schema)| (names[index].clone(), schema));
        object.insert("$defs".to_owned(), used.collect::<Map<_, _>>().into());
    }
    object.into()
}

/// The definitions that a schema refers to.
fn references(schema: &Json, found: &mut Vec<usize>) {
    map_schema(schema, &mut |schema| found.extend(table_index(schema)));
}

/// Each definition with a name of its own.
pub(super) fn definition_names(model: &Model) -> Vec<String> {
    let mut names = Names::default();
    let definitions = model.table.definitions.iter();
    definitions
        .map(|definition| names.fresh(&definition.name))
        .collect()
}

/// A schema in words that everybody knows.
pub(super) fn standard(schema: &Json, refer: &dyn Fn(usize) -> String) -> Json {
    map_schema(schema, &mut |schema| {
        schema.shift_remove(KIND);
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
        // Only texts are shown to anybody, and only as texts.
        if let Some(Json::String(text)) = schema.get("description") {
            let text = names::comment_lines(text).join("\n");
            schema.insert("description".to_owned(), text.into());
        }
    })
}
