//! Keywords of a schema that restrict the values of a type: ranges, lengths, formats.
//!
//! These keywords are not part of [`Type`]. Only Rust contracts state them, in attributes of
//! arguments, fields and newtypes.

use serde_json::{Map, Value as Json};

use crate::keywords::plain;
use crate::types::{Limits, Type};

/// Returns the keywords that restrict the values of `ty`, the type of the schema, and that do not
/// follow from the type.
pub(crate) fn limits(schema: &Json, ty: &Type) -> Limits {
    let (schema, ty) = match (schema.as_object(), ty) {
        (None, _) => return Limits::new(),
        (Some(schema), Type::Optional(inner)) => (without_null(schema), &**inner),
        (Some(schema), ty) => (schema, ty),
    };
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
    let keywords: &[&str] = match ty {
        Type::Integer(_) | Type::Number | Type::Single => &NUMBER,
        Type::Text => &TEXT,
        Type::List(_) | Type::Unique(_) => &["minItems", "maxItems"],
        Type::Map(..) => &["minProperties", "maxProperties"],
        _ => &[],
    };
    let mut limits = Limits::new();
    for keyword in keywords {
        if let Some(value) = schema.get(*keyword) {
            limits.insert((*keyword).to_owned(), value.clone());
        }
    }
    if let Type::Integer(integer) = ty {
        let (least, most) = integer.stated();
        for (keyword, bound) in [("minimum", least), ("maximum", most)] {
            let is_bound = |value: &Json| {
                let whole = value.as_i64().map(i128::from);
                whole.or(value.as_u64().map(i128::from)) == bound && bound.is_some()
            };
            if limits.get(keyword).is_some_and(is_bound) {
                limits.shift_remove(keyword);
            }
        }
    }
    limits
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
