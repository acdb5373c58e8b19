//! Schemas of the values that callers send as JSON.
//!
//! JSON has neither arrays of numbers with a shape nor bytes. Services accept nested lists of
//! numbers as arrays, and lists of numbers as files. Rust services also accept lists of numbers as
//! bytes. Published schemas describe the forms of msgpack instead. The schema of the bytes of a
//! Python service is that of a text, and stays as it is.

use std::collections::{BTreeSet, HashMap, HashSet};

use hypha_wire::{DType, keys};
use serde_json::{Map, Value as Json, json};

use crate::keywords::map_inner;
use crate::own_text::own_text;
use crate::possible::{Possible, visit};
use crate::table::unescaped;
use crate::types::{Elements, Integer};

/// Members of the schema of the arguments that contain schemas by name.
const SECTIONS: [&str; 3] = ["properties", "$defs", "definitions"];

/// Arrays whose elements no list of numbers represents.
pub(crate) const OTHER_ARRAY: &str = "an array of complex numbers";

/// Maximum number of dimensions that a schema describes as nested lists. Each dimension adds a
/// schema, and a small malicious schema can contain many arrays with many dimensions.
const NESTED_DIMENSIONS: usize = 8;

/// Returns the schema of the arguments of a function for callers that send JSON.
///
/// `function` is a function schema, `{name, description, parameters}`. The result differs from
/// `parameters` only where JSON cannot represent a type: an array becomes nested lists of numbers,
/// and a file or bytes with `x-hypha-type` become a list of numbers from 0 to 255. Alternatives,
/// optional members and optional arguments that JSON cannot represent are removed.
///
/// # Errors
///
/// Returns the reason if every value of a required argument needs a function, a stream, an object
/// with functions, or an array of complex numbers.
///
/// ```
/// # use serde_json::json;
/// let image = json!({"type": "object", "x-hypha-type": "ndarray", "x-hypha-dimensions": 1});
/// let parameters = json!({"properties": {"image": image}, "required": ["image"]});
/// let parameters = hypha_schema::json_parameters(&json!({ "parameters": parameters }))?;
/// assert_eq!(parameters["properties"]["image"]["type"], "array");
/// # Ok::<(), String>(())
/// ```
pub fn json_parameters(function: &Json) -> Result<Map<String, Json>, String> {
    let Some(parameters) = function.get("parameters").and_then(Json::as_object) else {
        return Ok(Map::new());
    };
    let required = parameters.get("required").and_then(Json::as_array);
    let required = required.into_iter().flatten().filter_map(Json::as_str);
    let required: HashSet<&str> = required.collect();
    let schemas = Schemas::of(parameters);
    let definitions: Vec<&Json> = schemas.all.iter().map(|(.., schema)| *schema).collect();
    let target = |schema: &Map<String, Json>| schemas.target(schema);
    let possible = Possible::new(&definitions, &target, |schema| unfit_kind(schema).is_some());
    let mut reduced = parameters.clone();
    for section in SECTIONS {
        if let Some(Json::Object(members)) = reduced.get_mut(section) {
            members.clear();
        }
    }
    for (index, (section, name, schema)) in schemas.all.iter().enumerate() {
        let is_argument = *section == "properties";
        let is_required = is_argument && required.contains(name);
        let found = match is_argument {
            true => possible.argument(schema, is_required),
            false => possible.definition(index).cloned(),
        };
        match (found, reduced.get_mut(*section)) {
            (Some(found), Some(Json::Object(members))) => {
                members.insert((*name).to_owned(), converted(&found));
            }
            (None, _) if is_required => {
                let held: Vec<&str> = schemas.unfit(index).into_iter().collect();
                return Err(reason(name, &held, "JSON"));
            }
            _ => {}
        }
    }
    Ok(reduced)
}

/// Returns a copy of a schema in which all types have the form of JSON.
pub(crate) fn converted(schema: &Json) -> Json {
    let Json::Object(map) = schema else {
        return schema.clone();
    };
    let mut converted: Map<String, Json> = map
        .iter()
        // The default description of an optional array describes the form of msgpack.
        .filter(|(key, _)| {
            *key != "description" || !map.contains_key("anyOf") || !own_text(schema).is_empty()
        })
        .map(|(key, value)| {
            let inner = map_inner(key, value, &mut self::converted);
            (key.clone(), inner.unwrap_or_else(|| value.clone()))
        })
        .collect();
    to_json_form(&mut converted);
    converted.into()
}

/// Replaces the schema of an array, of bytes or of a file with the schema of the form that callers
/// send as JSON. Keeps all other schemas.
fn to_json_form(schema: &mut Map<String, Json>) {
    let (form, text) = match schema.get(keys::SCHEMA_KIND).and_then(Json::as_str) {
        Some("ndarray") => array(&Elements::of(schema)),
        Some("file") => (bytes(), "A file, as the list of its bytes.".to_owned()),
        Some("bytes") => (bytes(), "Bytes, as a list of numbers.".to_owned()),
        _ => return,
    };
    let default = schema.shift_remove("default");
    schema.retain(|key, _| key == "description" || key.starts_with("x-hypha-"));
    let own = own_text(&Json::Object(std::mem::replace(schema, form)));
    let text = if own.is_empty() { text } else { own };
    schema.insert("description".to_owned(), text.into());
    if let Some(default) = default.filter(Json::is_array) {
        schema.insert("default".to_owned(), default);
    }
}

fn bytes() -> Map<String, Json> {
    let byte = json!({"type": "integer", "minimum": 0, "maximum": 255});
    list(byte)
}

fn list(items: Json) -> Map<String, Json> {
    Map::from_iter([
        ("type".to_owned(), "array".into()),
        ("items".to_owned(), items),
    ])
}

/// Returns the schema of nested lists with these elements, and its description.
fn array(elements: &Elements) -> (Map<String, Json>, String) {
    let whole = |integer: Integer| {
        let mut schema = json!({"type": "integer"});
        let (least, most) = integer.stated();
        for (key, bound) in [("minimum", least), ("maximum", most)] {
            if let Some(bound) = bound.and_then(|bound| i64::try_from(bound).ok()) {
                schema[key] = bound.into();
            }
        }
        schema
    };
    let element = match elements.dtype {
        Some(DType::Bool) => json!({"type": "boolean"}),
        Some(DType::Int8) => whole(Integer::I8),
        Some(DType::Int16) => whole(Integer::I16),
        Some(DType::Int32) => whole(Integer::I32),
        Some(DType::Int64) => whole(Integer::I64),
        Some(DType::UInt8) => whole(Integer::U8),
        Some(DType::UInt16) => whole(Integer::U16),
        Some(DType::UInt32) => whole(Integer::U32),
        Some(DType::UInt64) => whole(Integer::U64),
        Some(_) => json!({"type": "number"}),
        None => json!({"type": ["number", "boolean"]}),
    };
    let what = elements
        .dtype
        .as_ref()
        .map_or("numbers".to_owned(), ToString::to_string);
    let dimensions = elements.dimensions;
    match dimensions.filter(|dimensions| *dimensions <= NESTED_DIMENSIONS) {
        Some(0) => {
            let number = element.as_object().cloned().unwrap_or_default();
            (number, format!("A value of {what}."))
        }
        Some(dimensions) => {
            let lists = (1..dimensions).fold(element, |inner, _| list(inner).into());
            let text = match dimensions {
                1 => format!("An array of {what}, as a list."),
                _ => format!("An array of {what} with {dimensions} dimensions, as nested lists."),
            };
            (list(lists), text)
        }
        None => {
            let items = json!({"anyOf": [element, {"type": "array", "items": {}}]});
            let text =
                format!("An array of {what}, as a list or as nested lists of equal lengths.");
            (list(items), text)
        }
    }
}

/// Returns the reason why no caller can send an argument. Each value of the argument contains one
/// of the types `held`. If `held` is empty, each value contains another value of the same type, so
/// no value is finite.
pub(crate) fn reason(argument: &str, held: &[&str], format: &str) -> String {
    match held {
        [] => format!("argument `{argument}` has no values"),
        held => format!(
            "argument `{argument}` needs {}, which {format} cannot hold",
            held.join(" or ")
        ),
    }
}

/// Returns the type that JSON cannot represent, if the schema itself describes one.
pub(crate) fn unfit_kind(schema: &Map<String, Json>) -> Option<&'static str> {
    match schema.get(keys::SCHEMA_KIND)?.as_str()? {
        "ndarray" if !Elements::of(schema).is_list() => Some(OTHER_ARRAY),
        _ => live_kind(schema),
    }
}

/// Returns the type whose values stay at their owner, if the schema itself describes one.
pub(crate) fn live_kind(schema: &Map<String, Json>) -> Option<&'static str> {
    match schema.get(keys::SCHEMA_KIND)?.as_str()? {
        "function" => Some("a function"),
        "stream" => Some("a stream"),
        "object" => Some("an object with functions"),
        _ => None,
    }
}

/// The schemas in the schema of the arguments of a function.
struct Schemas<'a> {
    /// Section, name and schema.
    all: Vec<(&'static str, &'a str, &'a Json)>,
    places: HashMap<(&'static str, &'a str), usize>,
}

impl<'a> Schemas<'a> {
    fn of(parameters: &'a Map<String, Json>) -> Schemas<'a> {
        let mut schemas = Schemas {
            all: Vec::new(),
            places: HashMap::new(),
        };
        for section in SECTIONS {
            let members = parameters.get(section).and_then(Json::as_object);
            for (name, schema) in members.into_iter().flatten() {
                schemas.places.insert((section, name), schemas.all.len());
                schemas.all.push((section, name, schema));
            }
        }
        schemas
    }

    /// Returns the index of the schema that `schema` refers to.
    fn target(&self, schema: &Map<String, Json>) -> Option<usize> {
        let mut parts = schema.get("$ref")?.as_str()?.split('/').skip(1);
        let (section, name) = (parts.next()?, parts.next()?);
        let name = unescaped(name);
        self.places.get(&(section, &*name)).copied()
    }

    /// Returns the types in the schema with this index that JSON cannot represent.
    fn unfit(&self, index: usize) -> BTreeSet<&'static str> {
        let mut kinds = BTreeSet::new();
        let mut seen = HashSet::new();
        let mut waiting = vec![index];
        while let Some(index) = waiting.pop() {
            if seen.insert(index) {
                visit(self.all[index].2, &mut |schema| {
                    kinds.extend(unfit_kind(schema));
                    waiting.extend(self.target(schema));
                });
            }
        }
        kinds
    }
}
