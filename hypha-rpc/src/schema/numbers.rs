//! Replaces the names that schemars gives to number types by bounds, which every program
//! understands.
//!
//! schemars names the Rust type of a number in `format`. Other programs do not know these names.
//! [`SCHEMA_DTYPE`] keeps the name of a type that does not follow from the bounds: `f32`, the
//! pointer-sized and the 128-bit types, and each type whose schema has bounds of its own.

use hypha_wire::keys::SCHEMA_DTYPE;
use serde_json::{Map, Value, json};

/// A number type.
struct Number {
    /// Name in numpy's notation.
    dtype: &'static str,
    least: Option<Value>,
    most: Option<Value>,
    /// Whether a schema with these bounds means this type, if it names no type.
    is_usual: bool,
}

impl Number {
    /// Returns the type with this `format` of schemars.
    fn of(format: &str) -> Option<Number> {
        let (dtype, least, most, is_usual) = match format {
            "float" => ("float32", None, None, false),
            "double" => ("float64", None, None, true),
            "int8" => ("int8", Some(json!(i8::MIN)), Some(json!(i8::MAX)), true),
            "int16" => ("int16", Some(json!(i16::MIN)), Some(json!(i16::MAX)), true),
            "int32" => ("int32", Some(json!(i32::MIN)), Some(json!(i32::MAX)), true),
            // Programs that read every JSON number as an `f64` cannot represent the bounds.
            "int64" => ("int64", None, None, true),
            "int" => ("intp", None, None, false),
            "uint8" => ("uint8", Some(json!(0)), Some(json!(u8::MAX)), true),
            "uint16" => ("uint16", Some(json!(0)), Some(json!(u16::MAX)), true),
            "uint32" => ("uint32", Some(json!(0)), Some(json!(u32::MAX)), true),
            "uint64" => ("uint64", Some(json!(0)), None, true),
            "uint" => ("uintp", Some(json!(0)), None, false),
            // Larger integers cannot be sent.
            "int128" => (
                "int128",
                Some(json!(i64::MIN)),
                Some(json!(u64::MAX)),
                false,
            ),
            "uint128" => ("uint128", Some(json!(0)), Some(json!(u64::MAX)), false),
            _ => return None,
        };
        Some(Number {
            dtype,
            least,
            most,
            is_usual,
        })
    }
}

/// Adds the name of an integer type that its bounds identify, if it has no name yet. Call this
/// function before the bounds change.
pub(super) fn keep_name(schema: &mut Map<String, Value>) {
    const USUAL: [&str; 8] = [
        "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    ];
    let is_named = schema.contains_key(SCHEMA_DTYPE) || schema.contains_key("format");
    if is_named || schema.get("type").is_none_or(|kind| kind != "integer") {
        return;
    }
    let bounds = ["minimum", "maximum"].map(|key| schema.get(key).cloned());
    let mut types = USUAL.into_iter().filter_map(Number::of);
    if let Some(found) =
        types.find(|number| [&number.least, &number.most] == [&bounds[0], &bounds[1]])
    {
        schema.insert(SCHEMA_DTYPE.to_owned(), found.dtype.into());
    }
}

/// Replaces the `format` of a number type by its bounds. Adds the name of the type if the bounds in
/// the schema do not identify the type.
pub(super) fn normalise(schema: &mut Map<String, Value>) {
    let format = schema.get("format").and_then(Value::as_str);
    if format == Some("char") {
        schema.shift_remove("format");
        return;
    }
    let Some(number) = format.and_then(Number::of) else {
        return;
    };
    schema.shift_remove("format");
    let mut is_own_range = false;
    for (key, bound) in [("minimum", number.least), ("maximum", number.most)] {
        if let Some(bound) = &bound {
            schema.entry(key).or_insert(bound.clone());
        }
        is_own_range |= schema.get(key) != bound.as_ref();
    }
    // A number that is not an integer is an `f64` whatever its range.
    if !number.is_usual || is_own_range && number.dtype != "float64" {
        schema.insert(SCHEMA_DTYPE.to_owned(), number.dtype.into());
    }
}
