//! Keywords of a schema that restrict the values of a type: ranges, lengths, formats.
//!
//! These keywords are not part of [`Type`]. Only Rust contracts state them, in attributes of
//! methods, arguments, fields and newtypes.

use hypha_wire::keys;
use serde_json::{Map, Value as Json};

use crate::keywords::plain;
use crate::properties::values;
use crate::types::{Limits, Type};

/// Path of the values of a map.
pub(crate) const VALUES: &str = "additionalProperties";

/// Returns the keywords that restrict the values of `ty`, the type of the schema, and that do not
/// follow from the type. Includes the keywords of the types inside `ty`, except those of named
/// types, which have attributes of their own.
pub(crate) fn limits(schema: &Json, ty: &Type) -> Limits {
    let mut limits = Limits::new();
    collect("", schema, ty, &mut limits);
    limits
}

/// Returns the keywords of the schema at this path.
pub(crate) fn limits_at(path: &str, schema: &Json, ty: &Type) -> Limits {
    let mut limits = Limits::new();
    collect(&format!("{path}/"), schema, ty, &mut limits);
    limits
}

/// Returns the keywords of one item, from those of a tuple.
pub(crate) fn limits_of_item(limits: &Limits, index: usize) -> Limits {
    let path = format!("prefixItems/{index}/");
    let limits = limits.iter();
    limits
        .filter_map(|(key, value)| Some((key.strip_prefix(&path)?.to_owned(), value.clone())))
        .collect()
}

/// Adds the keywords of a schema. `path` is empty or ends with a slash.
fn collect(path: &str, schema: &Json, ty: &Type, limits: &mut Limits) {
    let (schema, ty) = match (schema.as_object(), ty) {
        (None, _) => return,
        (Some(schema), Type::Optional(inner)) => (without_null(schema), &**inner),
        (Some(schema), ty) => (schema, ty),
    };
    for (keyword, value) in own(schema, ty) {
        limits.insert(format!("{path}{keyword}"), value.clone());
    }
    for (place, schema, ty) in parts(schema, ty) {
        collect(&format!("{path}{place}/"), schema, ty, limits);
    }
}

/// Returns the keywords of the schema itself.
fn own<'a>(schema: &'a Map<String, Json>, ty: &Type) -> Vec<(&'static str, &'a Json)> {
    const NUMBER: [&str; 5] = [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
    ];
    const TEXT: [&str; 6] = [
        "format",
        "pattern",
        "minLength",
        "maxLength",
        "contentEncoding",
        "contentMediaType",
    ];
    const LIST: [&str; 3] = ["minItems", "maxItems", "uniqueItems"];
    let keywords: &[&str] = match ty {
        Type::Integer(_) | Type::Number | Type::Single => &NUMBER,
        Type::Text => &TEXT,
        // Written as a list, because Rust cannot order the items.
        Type::Unique(item) if !item.is_ordered() => &LIST,
        Type::List(_) | Type::Unique(_) | Type::Set(_) => &LIST[..2],
        Type::Map(..) | Type::OrderedMap(_) => &["minProperties", "maxProperties"],
        _ => &[],
    };
    let (least, most) = match ty {
        Type::Integer(integer) => integer.stated(),
        _ => (None, None),
    };
    let follows_from_type = |keyword: &str, value: &Json| {
        let bound = match keyword {
            "minimum" => least,
            "maximum" => most,
            _ => None,
        };
        let whole = value.as_i64().map(i128::from);
        bound.is_some() && whole.or(value.as_u64().map(i128::from)) == bound
    };
    let given = keywords
        .iter()
        .filter_map(|keyword| Some((*keyword, schema.get(*keyword)?)));
    given
        .filter(|(keyword, value)| !follows_from_type(keyword, value))
        .collect()
}

/// Returns the schemas inside a schema, with their paths and types.
fn parts<'a>(schema: &'a Map<String, Json>, ty: &'a Type) -> Vec<(String, &'a Json, &'a Type)> {
    let mut parts = Vec::new();
    let mut add = |place: &str, schema: Option<&'a Json>, ty: &'a Type| {
        parts.extend(schema.map(|schema| (place.to_owned(), schema, ty)));
    };
    match ty {
        Type::List(item) | Type::Fixed(item, _) | Type::Unique(item) | Type::Set(item) => {
            add("items", schema.get("items"), item);
        }
        Type::Tuple(items) => {
            for (index, item) in items.iter().enumerate() {
                let schemas = schema.get("prefixItems");
                let schema = schemas.and_then(|schemas| schemas.get(index));
                add(&format!("prefixItems/{index}"), schema, item);
            }
        }
        Type::Map(_, value) => add(VALUES, values(schema), value),
        Type::OrderedMap(types) => {
            add(keys::SCHEMA_KEYS, schema.get(keys::SCHEMA_KEYS), &types[0]);
            add(VALUES, schema.get(VALUES), &types[1]);
        }
        Type::Stream(types) => add("items", schema.get("items"), &types[0]),
        Type::Function(Some(signature)) => {
            for (index, argument) in signature.arguments().iter().enumerate() {
                let schemas = schema.get(keys::SCHEMA_ARGUMENTS);
                let schema = schemas.and_then(|schemas| schemas.get(index));
                let place = format!("{}/{index}", keys::SCHEMA_ARGUMENTS);
                add(&place, schema, argument);
            }
            let returns = schema.get(keys::SCHEMA_RETURNS);
            add(keys::SCHEMA_RETURNS, returns, signature.result());
        }
        _ => {}
    }
    parts
}

/// Returns the only alternative beside null, or the schema itself if there is none.
fn without_null(schema: &Map<String, Json>) -> &Map<String, Json> {
    let alternatives = schema.get("anyOf").or_else(|| schema.get("oneOf"));
    let alternatives = alternatives.and_then(Json::as_array).into_iter().flatten();
    let is_null = |it: &&Json| it["type"].as_str().and_then(plain) == Some("null");
    let mut others = alternatives.filter(|it| !is_null(it));
    match (others.next().and_then(Json::as_object), others.next()) {
        (Some(only), None) => only,
        _ => schema,
    }
}
