//! Checks the arguments of a tool against the input schema of the tool, so that a model learns
//! from the error which argument is wrong. The texts are those of the Python library `jsonschema`,
//! which the Python server uses.
//!
//! This is a subset of JSON Schema, because schemas come from services of other users: it has no
//! regular expressions, no remote references, and a bound on its work. The crate `jsonschema` has
//! no such bound, and its dependencies include several engines for regular expressions. Keywords
//! outside of the subset accept every value; the service then checks the argument itself.

use std::collections::HashSet;
use std::fmt::Write as _;

use hypha_wire::RawValue;
use serde_json::{Map, Value as Json};

type Schema = Map<String, Json>;

/// Maximum depth of schemas inside each other. Deeper schemas accept every value.
const DEPTH_MAX: usize = 128;
/// Number of steps for small arguments. A step applies a schema to a value.
const STEPS_MIN: usize = 10_000;
/// Number of further steps for each byte of the arguments.
const STEPS_PER_BYTE: usize = 8;
/// Number of bytes of a value that cost as much to read as one step.
const BYTES_PER_STEP: usize = 64;
/// Maximum length of a value in an error text, in bytes.
const SHOWN_MAX: usize = 200;

/// Returns the maximum number of steps for a check.
pub(super) fn steps(arguments: &RawValue) -> usize {
    STEPS_MIN + STEPS_PER_BYTE * arguments.as_bytes().len()
}

/// Checks arguments against a schema. Accepts the rest of the arguments after the number of
/// [`steps`].
///
/// # Errors
///
/// Returns the error text for the first argument that violates the schema.
pub(super) fn check(schema: &Schema, arguments: &RawValue) -> Result<(), String> {
    let mut check = Check {
        root: schema,
        steps: steps(arguments),
    };
    check.object(schema, arguments, 0).map_err(|fault| {
        let Fault { text, path } = fault;
        let mut place = String::new();
        for part in path.iter().rev() {
            match part {
                Part::Key(key) if place.is_empty() => place.push_str(key),
                Part::Key(key) => drop(write!(place, ".{key}")),
                Part::Index(index) => drop(write!(place, "[{index}]")),
            }
        }
        match place.as_str() {
            "" => format!("Input validation error: {text}"),
            place => format!("Input validation error: {text} (argument `{place}`)"),
        }
    })
}

/// A value that violates a schema.
struct Fault {
    text: String,
    /// Path of the value in the arguments, last part first.
    path: Vec<Part>,
}

enum Part {
    Key(String),
    Index(usize),
}

impl Fault {
    fn new(text: String) -> Fault {
        Fault {
            text,
            path: Vec::new(),
        }
    }

    fn at(mut self, part: Part) -> Fault {
        self.path.push(part);
        self
    }
}

struct Check<'a> {
    root: &'a Schema,
    steps: usize,
}

impl<'a> Check<'a> {
    /// Uses steps. Returns false if none are left.
    fn spend(&mut self, steps: usize) -> bool {
        self.steps = self.steps.saturating_sub(steps);
        self.steps > 0
    }

    fn schema(&mut self, schema: &'a Json, value: &RawValue, depth: usize) -> Result<(), Fault> {
        match schema {
            Json::Object(schema) => self.object(schema, value, depth),
            Json::Bool(false) => {
                let shown = shown(value);
                Err(Fault::new(format!("False schema does not allow {shown}")))
            }
            _ => Ok(()),
        }
    }

    fn object(&mut self, schema: &'a Schema, value: &RawValue, depth: usize) -> Result<(), Fault> {
        let cost = 1 + value.as_bytes().len() / BYTES_PER_STEP;
        if depth > DEPTH_MAX || !self.spend(cost) {
            return Ok(());
        }
        let depth = depth + 1;
        if let Some(target) = schema.get("$ref").and_then(|it| self.target(it)) {
            self.schema(target, value, depth)?;
        }
        let is_null = value.is_null();
        // OpenAPI writes optional values in this way.
        if is_null && schema.get("nullable") == Some(&Json::Bool(true)) {
            return Ok(());
        }
        check_type(schema, value)?;
        self.constants(schema, value)?;
        check_number(schema, value)?;
        check_length(schema, value)?;
        let is_map = value.entries().is_some();
        if is_map {
            self.keys(schema, value)?;
        }
        for all in schema
            .get("allOf")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
        {
            self.schema(all, value, depth)?;
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(Json::Array(any)) = schema.get(key) {
                let mut any = any.iter();
                if !any.any(|any| self.schema(any, value, depth).is_ok()) {
                    let text = "is not valid under any of the given schemas";
                    return Err(Fault::new(format!("{} {text}", shown(value))));
                }
            }
        }
        if is_map {
            self.members(schema, value, depth)
        } else {
            self.items(schema, value, depth)
        }
    }

    /// Returns the schema to which a reference within the document points.
    fn target(&mut self, reference: &Json) -> Option<&'a Json> {
        let path = reference.as_str()?.strip_prefix("#/")?;
        let mut parts = path.split('/');
        let mut found = self.root.get(&unescaped(parts.next()?))?;
        for part in parts {
            if !self.spend(1) {
                return None;
            }
            let part = unescaped(part);
            found = match found {
                Json::Array(items) => items.get(part.parse::<usize>().ok()?)?,
                found => found.get(part)?,
            };
        }
        Some(found)
    }

    /// Checks `enum` and `const`.
    fn constants(&mut self, schema: &'a Schema, value: &RawValue) -> Result<(), Fault> {
        if let Some(Json::Array(some)) = schema.get("enum")
            && !some.iter().any(|one| self.equal(one, value, 0))
        {
            let list = shown_json(&Json::Array(some.iter().take(50).cloned().collect()));
            let text = format!("{} is not one of {list}", shown(value));
            return Err(Fault::new(text));
        }
        match schema.get("const") {
            Some(one) if !self.equal(one, value, 0) => {
                Err(Fault::new(format!("{} was expected", shown_json(one))))
            }
            _ => Ok(()),
        }
    }

    /// Returns whether a value equals a constant of the schema. Returns true if no steps are left.
    fn equal(&mut self, constant: &Json, value: &RawValue, depth: usize) -> bool {
        let cost = 1 + value.as_bytes().len() / BYTES_PER_STEP;
        if depth > DEPTH_MAX || !self.spend(cost) {
            return true;
        }
        let depth = depth + 1;
        match constant {
            Json::Null => value.is_null(),
            Json::Bool(constant) => value.as_bool() == Some(*constant),
            Json::Number(constant) => match (constant.as_u64(), value.as_u64()) {
                (Some(constant), Some(value)) => constant == value,
                _ => constant.as_f64() == number(value),
            },
            Json::String(constant) => value.as_str() == Some(constant),
            Json::Array(constants) => value.items().is_some_and(|mut items| {
                let mut constants = constants.iter();
                let equal = constants.by_ref().all(|one| {
                    items
                        .next()
                        .is_some_and(|item| self.equal(one, &item, depth))
                });
                equal && items.next().is_none()
            }),
            Json::Object(constants) => value.entries().is_some_and(|mut entries| {
                let mut count = 0;
                let equal = entries.all(|(key, value)| {
                    count += 1;
                    let constant = key.as_str().and_then(|key| constants.get(key));
                    constant.is_some_and(|one| self.equal(one, &value, depth))
                });
                equal && count == constants.len()
            }),
        }
    }

    /// Checks that a map has all required keys, and no key that is not allowed.
    fn keys(&mut self, schema: &'a Schema, value: &RawValue) -> Result<(), Fault> {
        let entries = || value.entries().into_iter().flatten();
        let required = schema.get("required").and_then(Json::as_array);
        let required = || required.into_iter().flatten().filter_map(Json::as_str);
        if !self.spend(required().count()) {
            return Ok(());
        }
        let mut missing: HashSet<&str> = required().collect();
        for (key, _) in entries() {
            if missing.is_empty() {
                break;
            }
            missing.remove(key.as_str().unwrap_or_default());
        }
        if let Some(name) = required().find(|name| missing.contains(name)) {
            let name = shown_json(&name.into());
            return Err(Fault::new(format!("{name} is a required property")));
        }
        let has_patterns = schema.contains_key("patternProperties");
        if has_patterns || schema.get("additionalProperties") != Some(&Json::Bool(false)) {
            return Ok(());
        }
        let properties = schema.get("properties").and_then(Json::as_object);
        let is_known = |key: &str| properties.is_some_and(|some| some.contains_key(key));
        let unknown = entries().filter(|(key, _)| !key.as_str().is_some_and(is_known));
        let mut unknown: Vec<String> = unknown.take(8).map(|(key, _)| shown(&key)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        unknown.sort();
        let verb = if unknown.len() == 1 { "was" } else { "were" };
        let unknown = unknown.join(", ");
        let text = "Additional properties are not allowed";
        Err(Fault::new(format!("{text} ({unknown} {verb} unexpected)")))
    }

    /// Checks the values of a map.
    fn members(&mut self, schema: &'a Schema, value: &RawValue, depth: usize) -> Result<(), Fault> {
        let properties = schema.get("properties").and_then(Json::as_object);
        let has_patterns = schema.contains_key("patternProperties");
        let others = schema.get("additionalProperties").filter(|_| !has_patterns);
        if properties.is_none() && others.is_none() {
            return Ok(());
        }
        for (key, value) in value.entries().into_iter().flatten() {
            let Some(key) = key.as_str() else { continue };
            let property = properties.and_then(|properties| properties.get(key));
            if let Some(schema) = property.or(others) {
                let checked = self.schema(schema, &value, depth);
                checked.map_err(|fault| fault.at(Part::Key(clipped(key))))?;
            }
        }
        Ok(())
    }

    /// Checks the items of a list.
    fn items(&mut self, schema: &'a Schema, value: &RawValue, depth: usize) -> Result<(), Fault> {
        let first = schema.get("prefixItems").and_then(Json::as_array);
        let others = schema.get("items");
        if first.is_none() && others.is_none() {
            return Ok(());
        }
        for (index, item) in value.items().into_iter().flatten().enumerate() {
            if let Some(schema) = first.and_then(|first| first.get(index)).or(others) {
                let checked = self.schema(schema, &item, depth);
                checked.map_err(|fault| fault.at(Part::Index(index)))?;
            }
        }
        Ok(())
    }
}

/// Returns the key in a part of a JSON pointer.
fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

fn check_type(schema: &Schema, value: &RawValue) -> Result<(), Fault> {
    let kinds = match schema.get("type") {
        Some(Json::Array(kinds)) => kinds.as_slice(),
        Some(kind) => std::slice::from_ref(kind),
        None => return Ok(()),
    };
    let fits = |kind: &Json| match kind.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.as_bool().is_some(),
        Some("string") => value.as_str().is_some(),
        Some("array") => value.items().is_some(),
        Some("object") => value.entries().is_some(),
        Some("number") => number(value).is_some(),
        Some("integer") => number(value).is_some_and(|number| number.fract() == 0.0),
        // An unknown type accepts every value.
        _ => true,
    };
    if kinds.iter().any(fits) {
        return Ok(());
    }
    let kinds: Vec<String> = kinds.iter().take(8).map(shown_json).collect();
    let (shown, kinds) = (shown(value), kinds.join(", "));
    Err(Fault::new(format!("{shown} is not of type {kinds}")))
}

fn check_number(schema: &Schema, value: &RawValue) -> Result<(), Fault> {
    let Some(number) = number(value) else {
        return Ok(());
    };
    type Fits = fn(f64, f64) -> bool;
    let limits: [(&str, Fits, &str); 4] = [
        ("minimum", |a, b| a < b, "less than the minimum of"),
        ("maximum", |a, b| a > b, "greater than the maximum of"),
        (
            "exclusiveMinimum",
            |a, b| a <= b,
            "less than or equal to the minimum of",
        ),
        (
            "exclusiveMaximum",
            |a, b| a >= b,
            "greater than or equal to the maximum of",
        ),
    ];
    for (key, exceeds, text) in limits {
        if let Some(limit) = schema.get(key)
            && limit.as_f64().is_some_and(|limit| exceeds(number, limit))
        {
            let text = format!("{} is {text} {}", shown(value), shown_json(limit));
            return Err(Fault::new(text));
        }
    }
    Ok(())
}

/// Checks the number of characters of a string, and of the items of a list.
fn check_length(schema: &Schema, value: &RawValue) -> Result<(), Fault> {
    let limit = |key: &str| {
        let limit = schema.get(key).and_then(Json::as_u64);
        limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
    };
    let keys = match value.as_str() {
        Some(_) => ["minLength", "maxLength"],
        None => ["minItems", "maxItems"],
    };
    let (min, max) = (limit(keys[0]), limit(keys[1]));
    if min.is_none() && max.is_none() {
        return Ok(());
    }
    let len = match (value.as_str(), value.items()) {
        (Some(text), _) => text.chars().count(),
        (None, Some(items)) => items.count(),
        (None, None) => return Ok(()),
    };
    let text = match () {
        () if min.is_some_and(|min| len < min) => "is too short",
        () if max.is_some_and(|max| len > max) => "is too long",
        () => return Ok(()),
    };
    Err(Fault::new(format!("{} {text}", shown(value))))
}

fn number(value: &RawValue) -> Option<f64> {
    let is_other = value.is_null() || value.as_bool().is_some() || value.as_str().is_some();
    if is_other || value.items().is_some() || value.entries().is_some() {
        return None;
    }
    value.decode().ok()
}

/// Returns the beginning of a text.
fn clipped(text: &str) -> String {
    match text.char_indices().find(|(at, _)| *at >= SHOWN_MAX) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

/// Returns a value as Python's `repr` shows it, up to a maximum length.
fn shown(value: &RawValue) -> String {
    let mut text = String::new();
    show(value, &mut text);
    clipped(&text)
}

fn show(value: &RawValue, out: &mut String) {
    if out.len() > SHOWN_MAX {
        return;
    }
    if value.is_null() {
        out.push_str("None");
    } else if let Some(value) = value.as_bool() {
        out.push_str(if value { "True" } else { "False" });
    } else if let Some(text) = value.as_str() {
        let text = clipped(text);
        let (quote, escaped) = match (text.contains('\''), text.contains('"')) {
            (true, false) => ('"', ""),
            (true, true) => ('\'', "'"),
            (false, _) => ('\'', ""),
        };
        out.push(quote);
        for c in text.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\'' if escaped == "'" => out.push_str("\\'"),
                c if c.is_control() => out.extend(c.escape_default()),
                c => out.push(c),
            }
        }
        out.push(quote);
    } else if let Some(items) = value.items() {
        out.push('[');
        for (index, item) in items.enumerate() {
            if out.len() > SHOWN_MAX {
                return;
            }
            if index > 0 {
                out.push_str(", ");
            }
            show(&item, out);
        }
        out.push(']');
    } else if let Some(entries) = value.entries() {
        out.push('{');
        for (index, (key, value)) in entries.enumerate() {
            if out.len() > SHOWN_MAX {
                return;
            }
            if index > 0 {
                out.push_str(", ");
            }
            show(&key, out);
            out.push_str(": ");
            show(&value, out);
        }
        out.push('}');
    } else if let Ok(number) = value.decode::<serde_json::Number>() {
        out.push_str(&number.to_string());
    }
}

/// Returns a value of the schema as [`shown`].
fn shown_json(value: &Json) -> String {
    let packed = hypha_wire::to_vec(value).ok();
    let raw = packed.and_then(|packed| RawValue::new(packed.into()).ok());
    raw.map_or_else(String::new, |raw| shown(&raw))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;

    fn raw(value: &Json) -> RawValue {
        RawValue::new(hypha_wire::to_vec(value).unwrap().into()).unwrap()
    }

    /// Checks the argument `a`. Returns the error text without its prefix.
    fn checked(schema: Json, value: Json) -> String {
        let schema = json!({"properties": {"a": schema}, "$defs": {"n": {"type": "number"}}});
        let arguments = raw(&json!({"a": value}));
        match check(schema.as_object().unwrap(), &arguments) {
            Ok(()) => String::new(),
            Err(text) => {
                let text = text.strip_prefix("Input validation error: ").unwrap();
                text.replace(" (argument `a`)", "")
            }
        }
    }

    #[test]
    fn texts_are_those_of_python() {
        for (schema, value, text) in [
            (
                json!({"type": "integer"}),
                json!("x"),
                "'x' is not of type 'integer'",
            ),
            (
                json!({"type": "integer"}),
                json!(1.5),
                "1.5 is not of type 'integer'",
            ),
            (
                json!({"type": "integer"}),
                json!(true),
                "True is not of type 'integer'",
            ),
            (
                json!({"type": ["string", "null"]}),
                json!([1, null, {"b": false}]),
                "[1, None, {'b': False}] is not of type 'string', 'null'",
            ),
            (
                json!({"type": "object"}),
                json!("it's"),
                "\"it's\" is not of type 'object'",
            ),
            (
                json!({"enum": ["b", 1]}),
                json!("c"),
                "'c' is not one of ['b', 1]",
            ),
            (json!({"const": [1]}), json!([2]), "[1] was expected"),
            (
                json!({"minimum": 1}),
                json!(-2),
                "-2 is less than the minimum of 1",
            ),
            (
                json!({"exclusiveMaximum": 3}),
                json!(3),
                "3 is greater than or equal to the maximum of 3",
            ),
            (json!({"maxLength": 1}), json!("ab"), "'ab' is too long"),
            (json!({"minItems": 2}), json!([1]), "[1] is too short"),
            (
                json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
                json!(1),
                "1 is not valid under any of the given schemas",
            ),
            (
                json!({"$ref": "#/$defs/n"}),
                json!("x"),
                "'x' is not of type 'number'",
            ),
            (
                json!({"required": ["b", "c"]}),
                json!({"b": 1}),
                "'c' is a required property",
            ),
            (
                json!({"additionalProperties": false}),
                json!({"c": 1, "b": 1}),
                "Additional properties are not allowed ('b', 'c' were unexpected)",
            ),
            (json!(false), json!(1), "False schema does not allow 1"),
        ] {
            assert_eq!(checked(schema.clone(), value), text, "{schema}");
        }
    }

    #[test]
    fn values_that_fit_are_accepted() {
        for (schema, value) in [
            (json!({"type": "integer"}), json!(1.0)),
            (json!({"type": "integer"}), json!(-1)),
            (json!({"type": "number"}), json!(u64::MAX)),
            (json!({"type": "string", "nullable": true}), json!(null)),
            (json!({"type": "unknown"}), json!(1)),
            (json!({"enum": [1.0]}), json!(1)),
            (json!({"enum": [{"b": [1]}]}), json!({"b": [1]})),
            (json!({"minLength": 2, "maxLength": 2}), json!("éé")),
            (
                json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
                json!(null),
            ),
            (json!({"$ref": "https://example.org/schema"}), json!(1)),
            (
                json!({"prefixItems": [{"type": "string"}]}),
                json!(["a", 1]),
            ),
            (json!({"minimum": 5}), json!("x")),
            (json!({"pattern": "("}), json!("x")),
        ] {
            assert_eq!(checked(schema.clone(), value), "", "{schema}");
        }
    }

    #[test]
    fn the_argument_is_named() {
        let schema = json!({"properties": {"a": {"items": {"properties": {
            "b": {"type": "string"}}}}}});
        let arguments = raw(&json!({"a": [{"b": "x"}, {"b": 1}]}));
        let error = check(schema.as_object().unwrap(), &arguments).unwrap_err();
        let expected = "1 is not of type 'string' (argument `a[1].b`)";
        assert_eq!(error, format!("Input validation error: {expected}"));
        let long = raw(&json!({"a": {"x".repeat(100_000): vec![0; 100_000]}}));
        let schema = json!({"properties": {"a": {"type": "string"}}});
        let error = check(schema.as_object().unwrap(), &long).unwrap_err();
        assert!(error.len() < 2 * SHOWN_MAX, "{}", error.len());
    }

    #[test]
    fn hostile_schemas_end() {
        let endless = json!({"$ref": "#"});
        let wide: Vec<Json> = (0..50).map(|_| json!({"$ref": "#/$defs/a"})).collect();
        let wide = json!({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": wide.clone(),
            "anyOf": wide}}});
        let begun = Instant::now();
        for schema in [endless, wide] {
            let arguments = raw(&json!({"a": 1}));
            assert_eq!(check(schema.as_object().unwrap(), &arguments), Ok(()));
        }
        // Far above the time for the number of steps.
        assert!(begun.elapsed().as_secs() < 20);
    }
}
