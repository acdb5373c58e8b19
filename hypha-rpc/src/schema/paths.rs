//! Moves keywords into inner schemas.
//!
//! An attribute of a field or an argument adds keywords to the schema of the whole value:
//! `#[schemars(extend("format" = "uuid"))]`. For a part of the value, such as the items of a list,
//! the keyword follows the path of the inner schema: `extend("items/format" = "uuid")`.

use serde_json::{Map, Value};

use super::{is_about_null, numbers};

/// Moves each keyword that starts with a path into the schema at that path. A keyword whose path
/// leads to no schema remains unchanged.
pub(super) fn expand(schema: &mut Map<String, Value>) {
    let paths: Vec<String> = schema
        .keys()
        .filter(|key| key.contains('/'))
        .cloned()
        .collect();
    let keywords = paths.into_iter();
    let keywords = keywords.filter_map(|path| schema.shift_remove_entry(&path));
    let keywords: Map<String, Value> = keywords.collect();
    extend(schema, keywords);
}

/// Adds keywords, which may start with a path, to a schema in pydantic's form.
pub(super) fn extend(schema: &mut Map<String, Value>, keywords: Map<String, Value>) {
    for (path, value) in keywords {
        let (place, keyword) = match path.rsplit_once('/') {
            Some((place, keyword)) => (Some(place), keyword),
            None => (None, path.as_str()),
        };
        match at(schema, place, keyword) {
            Some(inner) => {
                if matches!(keyword, "minimum" | "maximum") {
                    numbers::keep_name(inner);
                }
                inner.insert(keyword.to_owned(), value);
            }
            None => {
                schema.insert(path, value);
            }
        }
    }
}

/// Returns the schema at a path that gets the keyword. If a schema on the way is optional, the path
/// leads into the schema beside null.
fn at<'a>(
    schema: &'a mut Map<String, Value>,
    path: Option<&str>,
    keyword: &str,
) -> Option<&'a mut Map<String, Value>> {
    let mut inner = schema;
    let mut parts = path.into_iter().flat_map(|path| path.split('/'));
    while let Some(part) = parts.next() {
        inner = beside_null(inner)?;
        // The values of a map with integers as keys are under a pattern.
        let next = match part {
            "additionalProperties" if inner.contains_key("patternProperties") => {
                let patterns = inner.get_mut("patternProperties")?.as_object_mut()?;
                patterns.values_mut().next()?
            }
            part => match inner.get_mut(part)? {
                Value::Array(schemas) => schemas.get_mut(parts.next()?.parse::<usize>().ok()?)?,
                next => next,
            },
        };
        inner = next.as_object_mut()?;
    }
    match is_about_null(keyword) {
        true => Some(inner),
        false => beside_null(inner),
    }
}

/// Returns the schema beside null of an optional value, or the schema itself.
fn beside_null(schema: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    let is_null = |kind: &Value| kind["type"] == "null";
    let kinds = schema.get("anyOf").and_then(Value::as_array);
    let kinds = kinds.filter(|kinds| kinds.len() == 2 && kinds.iter().any(is_null));
    match kinds.and_then(|kinds| kinds.iter().position(|kind| !is_null(kind))) {
        Some(place) => schema.get_mut("anyOf")?.get_mut(place)?.as_object_mut(),
        None => Some(schema),
    }
}
