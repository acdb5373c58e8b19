//! Writes a list of functions that language models can call, as JSON.
//!
//! Language models accept only a subset of JSON Schema, and only some characters in names.
//! Therefore this module reduces schemas to standard keywords, describes values in the form of
//! JSON, and puts all definitions that a function needs into the function itself.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use crate::json_form::{OTHER_ARRAY, converted, reason, unfit_kind};
use crate::model::Model;
use crate::names::Names;
use crate::possible::Possible;
use crate::standard::{Sendable, definition_names, object, sendable, standard};
use crate::table::{map_schema, table_index};
use crate::types::Type;

/// Returns the list of functions.
pub(crate) fn write(model: &Model) -> Json {
    let mut names = Names::default();
    let methods = model.methods().into_iter();
    let possible = model.possible(|schema| unfit_kind(schema).is_some());
    let callable = methods.filter_map(|method| Some((method, sendable(method, &possible).ok()?)));
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
            // Many language models allow at most 64 characters. Reserve four characters for a
            // number that makes the name unique.
            .take(60)
            .collect();
        let name = if name.is_empty() { "_" } else { &name };
        json!({
            "type": "function",
            "function": {
                "name": names.fresh(name),
                "description": method.description,
                "parameters": whole(model, &possible, parameters.as_deref()),
            },
        })
    });
    functions.collect()
}

/// Returns the methods that the list of functions omits. The second string is the reason.
pub(crate) fn omitted(model: &Model) -> Vec<(String, String)> {
    omitted_of(model, |schema| unfit_kind(schema).is_some(), "JSON")
}

type IsKind = fn(&Type) -> bool;

/// Returns the methods that need an argument that `format` cannot represent. `is_unfit` selects the
/// schemas of such values. Each entry contains the path of a method and the reason.
pub(crate) fn omitted_of(
    model: &Model,
    is_unfit: fn(&Map<String, Json>) -> bool,
    format: &str,
) -> Vec<(String, String)> {
    let possible = model.possible(is_unfit);
    let kinds: [(IsKind, &str); 4] = [
        (|ty| matches!(ty, Type::Function(_)), "a function"),
        (|ty| matches!(ty, Type::Stream(_)), "a stream"),
        (|ty| matches!(ty, Type::Object), "an object with functions"),
        (
            |ty| matches!(ty, Type::NdArray(elements) if !elements.is_list()),
            OTHER_ARRAY,
        ),
    ];
    let kinds = kinds.map(|(is_kind, name)| (model.types.finder(is_kind), name));
    let methods = model.methods().into_iter();
    let omitted = methods.filter_map(|method| {
        let parameter = sendable(method, &possible).err()?;
        let held = kinds.iter().filter(|(kind, _)| kind.is_in(&parameter.ty));
        let held: Vec<&str> = held.map(|(_, name)| *name).collect();
        Some((method.path.clone(), reason(&parameter.name, &held, format)))
    });
    omitted.collect()
}

/// Returns the schema of the parameters, including all definitions that the schema refers to.
fn whole(model: &Model, possible: &Possible<'_>, parameters: Option<&[Sendable<'_>]>) -> Json {
    let names = definition_names(model);
    let refer = |index: usize| format!("#/$defs/{}", names[index]);
    let mut used: HashMap<usize, Json> = HashMap::new();
    let mut waiting: Vec<usize> = Vec::new();
    for parameter in parameters.iter().copied().flatten() {
        references(&parameter.schema, &mut waiting);
    }
    let mut object = object(parameters, &|schema| standard(&converted(schema), &refer));
    while let Some(index) = waiting.pop() {
        let Some(schema) = possible.definition(index) else {
            continue;
        };
        if used.contains_key(&index) {
            continue;
        }
        used.insert(index, standard(&converted(schema), &refer));
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

/// Appends the index of each definition that a schema refers to.
fn references(schema: &Json, found: &mut Vec<usize>) {
    map_schema(schema, &mut |schema| found.extend(table_index(schema)));
}
