//! Uses the schema of an argument to find the fault in a value that could not be decoded.
//!
//! If a type is untagged, serde first reads the value into a buffer, and tries the variants in
//! turn. The message "data did not match any variant of untagged enum" does not name the fault. For
//! a missing member of a flattened or internally tagged type, the error names the member without
//! its path. The schema describes the structure of the type, so this module compares the value with
//! the schema, but only after decoding has failed. With and without this file:
//!
//! | with | without |
//! | --- | --- |
//! | `it.x`: missing | `it`: data did not match any variant of untagged enum Either |
//!
//! The crate `serde_path_to_error` does not help. It records the path while serde fills the buffer,
//! but the error occurs later, when serde reads from the buffer.

use serde_json::{Map as Object, Value as Schema};

use hypha_wire::keys::{RTYPE, SCHEMA_KIND};
use hypha_wire::{DecodeError, Value};

/// Maximum number of comparisons per error message. This limit bounds the time spent on a value
/// that a hostile caller sends for a type with many alternatives. If the limit is reached, the
/// error message is less precise.
const MAX_COMPARISONS: usize = 10_000;
/// Maximum depth of the comparison. This limit bounds the recursion for schemas that refer to
/// themselves.
const MAX_DEPTH: usize = 128;

/// Returns an error that names the fault inside the value, if the comparison with the schema finds
/// a fault deeper than `error` does. Otherwise, returns `error`.
pub(crate) fn nearest(
    error: DecodeError,
    value: &Value,
    schema: &Schema,
    root: &Schema,
) -> DecodeError {
    let unknown = error.message().strip_prefix("unknown field `");
    let mut search = Search {
        root,
        unknown: unknown.and_then(|rest| Some(rest.split_once('`')?.0.to_owned())),
        comparisons_left: MAX_COMPARISONS,
    };
    let Err(misfit) = search.fit(value, schema, 0) else {
        return error;
    };
    let unsure = error.message().contains("did not match any variant");
    let is_guess = misfit.path.len() == 1 && misfit.what == What::Missing { related: false };
    if is_guess && !unsure {
        return error;
    }
    let found = misfit.into_error();
    let (outer, inner) = (error.path(), found.path());
    if inner.starts_with(&outer) && (inner.len() > outer.len() || unsure) {
        found
    } else {
        error
    }
}

/// One comparison of a value with a schema.
struct Search<'a> {
    /// Schema with the definitions that `$ref` refers to.
    root: &'a Schema,
    /// Name of the member that the decoder does not know, if it has reported one. The schema lacks
    /// the aliases of members, which the decoder knows.
    unknown: Option<String>,
    /// Number of comparisons left.
    comparisons_left: usize,
}

/// A fault in a value.
struct Misfit {
    /// Path to the fault, from the innermost step to the outermost.
    path: Vec<Step>,
    what: What,
}

enum Step {
    Key(String),
    Index(usize),
}

#[derive(PartialEq)]
enum What {
    /// The value has a kind that the schema does not allow.
    Kind {
        expected: Vec<String>,
        got: String,
    },
    /// The value is not one of the allowed values.
    Choice {
        expected: Vec<String>,
        got: String,
    },
    /// A required member is missing. `related` is whether the value has any other member of this
    /// type. If the value has no such member, the caller probably did not mean this alternative.
    Missing {
        related: bool,
    },
    Other(String),
}

type Fit = Result<(), Misfit>;

impl Misfit {
    fn new(what: What) -> Misfit {
        Misfit {
            path: Vec::new(),
            what,
        }
    }

    fn within(mut self, step: Step) -> Misfit {
        self.path.push(step);
        self
    }

    /// Returns a rank for choosing among alternatives of which none fits. The caller more likely
    /// meant an alternative with a higher rank.
    fn likelihood(&self) -> (u8, usize) {
        let depth = self.path.len();
        let score = match self.what {
            _ if depth == 0 => 0,
            // The tag is wrong: the caller meant another alternative.
            What::Choice { .. } if depth == 1 => 1,
            What::Missing { .. } => 2,
            _ => 3,
        };
        (score, depth)
    }

    fn into_error(self) -> DecodeError {
        let message = match self.what {
            What::Kind { expected, got } => {
                format!("expected {}, got {got}", expected.join(" or "))
            }
            What::Choice { expected, got } => match &expected[..] {
                [only] => format!("expected `{only}`, got {got}"),
                many => format!("expected one of `{}`, got {got}", many.join("`, `")),
            },
            What::Missing { .. } => "missing".to_owned(),
            What::Other(message) => message,
        };
        let error = <DecodeError as serde::de::Error>::custom(message);
        self.path.into_iter().fold(error, |error, step| match step {
            Step::Key(key) => error.in_key(&key),
            Step::Index(index) => error.in_index(index),
        })
    }
}

impl Search<'_> {
    /// Compares a value with a schema. Accepts unknown values and keywords, because only the
    /// decoder decides whether a value is valid.
    fn fit(&mut self, value: &Value, schema: &Schema, depth: usize) -> Fit {
        let Some(rest) = self.comparisons_left.checked_sub(1) else {
            return Ok(());
        };
        self.comparisons_left = rest;
        let Some(schema) = schema.as_object() else {
            return Ok(());
        };
        // Skip the schema of an `ndarray` array, because it does not mention lists of numbers,
        // which the decoder also accepts.
        let is_array = schema.get(SCHEMA_KIND).and_then(Schema::as_str) == Some("ndarray");
        if depth > MAX_DEPTH || is_array || may_have_another_kind(value) {
            return Ok(());
        }
        kind(value, schema)?;
        choice(value, schema)?;
        bounds(value, schema)?;
        match value {
            Value::List(items) => self.list(items, schema, depth)?,
            Value::Map(_) => self.object(value, schema, depth)?,
            _ => {}
        }
        // Check `$ref` after the keywords beside it. If a variant contains a separate type, these
        // keywords describe the tag of the variant, and `$ref` describes the content. A wrong tag
        // explains more than a fault in the content.
        if let Some(name) = schema.get("$ref").and_then(Schema::as_str) {
            let root = self.root;
            let found = name.strip_prefix('#').and_then(|path| root.pointer(path));
            found.map_or(Ok(()), |schema| self.fit(value, schema, depth + 1))?;
        }
        for part in alternatives(schema, "allOf") {
            self.fit(value, part, depth + 1)?;
        }
        for key in ["anyOf", "oneOf"] {
            self.any(value, alternatives(schema, key), depth)?;
        }
        Ok(())
    }

    /// Compares a value with each alternative. If no alternative fits, returns the fault of the
    /// alternative that the caller most likely meant.
    fn any(&mut self, value: &Value, schemas: &[Schema], depth: usize) -> Fit {
        let mut best: Option<Misfit> = None;
        for schema in schemas {
            let Err(misfit) = self.fit(value, schema, depth + 1) else {
                return Ok(());
            };
            best = Some(match best {
                None => misfit,
                Some(best) => likelier(best, misfit),
            });
        }
        best.map_or(Ok(()), Err)
    }

    fn list(&mut self, items: &[Value], schema: &Object<String, Schema>, depth: usize) -> Fit {
        let length = |key| schema.get(key).and_then(Schema::as_u64);
        let count = items.len() as u64;
        let (least, most) = (length("minItems"), length("maxItems"));
        let wanted = match (least, most) {
            (Some(least), _) if count < least => Some(("at least ", least)),
            (_, Some(most)) if count > most => Some(("at most ", most)),
            _ => None,
        };
        if let Some((limit, length)) = wanted {
            let limit = if least == most { "" } else { limit };
            let text = format!("expected a list of length {limit}{length}, got length {count}");
            return Err(Misfit::new(What::Other(text)));
        }
        for (index, item) in items.iter().enumerate() {
            let each = schema.get("prefixItems").and_then(Schema::as_array);
            let own = each.and_then(|each| each.get(index));
            if let Some(schema) = own.or(schema.get("items")) {
                let within = |misfit: Misfit| misfit.within(Step::Index(index));
                self.fit(item, schema, depth + 1).map_err(within)?;
            }
        }
        Ok(())
    }

    fn object(&mut self, value: &Value, schema: &Object<String, Schema>, depth: usize) -> Fit {
        let Some(map) = value.as_map() else {
            return Ok(());
        };
        let none = Object::new();
        let properties = schema.get("properties").and_then(Schema::as_object);
        let properties = properties.unwrap_or(&none);
        // Do not compare keys with the pattern. schemars writes only one pattern, for maps with
        // integer keys, and the decoder has already reported keys that are not integers.
        let patterns = schema.get("patternProperties").and_then(Schema::as_object);
        let others = match patterns.and_then(|patterns| patterns.values().next()) {
            Some(schema) => Some(schema),
            None => schema.get("additionalProperties"),
        };
        let mut first = None;
        for (key, item) in map {
            let fit = match properties.get(key).or(others) {
                Some(Schema::Bool(false)) if self.unknown.as_ref().is_some_and(|it| it != key) => {
                    Ok(())
                }
                Some(Schema::Bool(false)) => Err(Misfit::new(What::Other(unknown(properties)))),
                Some(schema) => self.fit(item, schema, depth + 1),
                None => Ok(()),
            };
            if let Err(misfit) = fit {
                let misfit = misfit.within(Step::Key(key.to_owned()));
                // Report a wrong tag rather than another fault, because a wrong tag usually causes
                // the other faults.
                let is_tag = misfit.likelihood().0 == 1;
                if is_tag || first.is_none() {
                    first = Some(misfit);
                }
                if is_tag {
                    break;
                }
            }
        }
        if let Some(misfit) = first {
            return Err(misfit);
        }
        let required = schema.get("required").and_then(Schema::as_array);
        let mut required = required.into_iter().flatten().filter_map(Schema::as_str);
        match required.find(|key| value.get(key).is_none()) {
            Some(key) => {
                let related = map.iter().any(|(name, _)| properties.contains_key(name));
                let misfit = Misfit::new(What::Missing { related });
                Err(misfit.within(Step::Key(key.to_owned())))
            }
            None => Ok(()),
        }
    }
}

/// Returns the message about a member that the schema does not allow.
fn unknown(properties: &Object<String, Schema>) -> String {
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    match &names[..] {
        [] => "unknown (expected: none)".to_owned(),
        names => format!("unknown (expected: {})", names.join(", ")),
    }
}

/// Returns whether the decoder may accept the value for a type of another kind, such as bytes for a
/// list. In that case, the schema cannot be used to check the value.
fn may_have_another_kind(value: &Value) -> bool {
    match value {
        Value::Bytes(_) | Value::Ext(..) | Value::Handle(_) => true,
        Value::Map(map) => map.contains_key(RTYPE),
        _ => false,
    }
}

/// Returns the list of schemas under a key such as `anyOf`.
fn alternatives<'a>(schema: &'a Object<String, Schema>, key: &str) -> &'a [Schema] {
    let list = schema.get(key).and_then(Schema::as_array);
    list.map_or(&[], Vec::as_slice)
}

/// Compares the kind of a value with the keyword `type`.
fn kind(value: &Value, schema: &Object<String, Schema>) -> Fit {
    let names: Vec<&str> = match schema.get("type") {
        Some(Schema::String(name)) => vec![name],
        Some(Schema::Array(names)) => names.iter().filter_map(Schema::as_str).collect(),
        _ => return Ok(()),
    };
    let is = |name: &&str| match *name {
        "null" => value.is_null(),
        "boolean" => matches!(value, Value::Bool(_)),
        "integer" => match value {
            Value::Float(number) => number.fract() == 0.0,
            value => matches!(value, Value::Int(_) | Value::UInt(_)),
        },
        "number" => matches!(value, Value::Int(_) | Value::UInt(_) | Value::Float(_)),
        "string" => matches!(value, Value::String(_)),
        "array" => matches!(value, Value::List(_)),
        "object" => matches!(value, Value::Map(_)),
        _ => true,
    };
    if names.iter().any(is) {
        return Ok(());
    }
    // Use the same words as the errors of the decoder.
    let word = |name: &str| match name {
        "boolean" => "bool".to_owned(),
        "number" => "float".to_owned(),
        "array" => "list".to_owned(),
        "object" => "map".to_owned(),
        other => other.to_owned(),
    };
    let meant = names
        .iter()
        .filter(|name| names.len() == 1 || **name != "null");
    Err(Misfit::new(What::Kind {
        expected: meant.map(|name| word(name)).collect(),
        got: value.kind().to_owned(),
    }))
}

/// Compares a value with the keywords `enum` and `const`, if these contain strings.
fn choice(value: &Value, schema: &Object<String, Schema>) -> Fit {
    let values: Vec<&Schema> = match (schema.get("const"), schema.get("enum")) {
        (Some(only), _) => vec![only],
        (None, Some(Schema::Array(values))) => values.iter().collect(),
        _ => return Ok(()),
    };
    let Some(expected) = values
        .iter()
        .map(|value| value.as_str())
        .collect::<Option<Vec<_>>>()
    else {
        return Ok(());
    };
    let got = match value.as_str() {
        Some(text) if expected.contains(&text) => return Ok(()),
        Some(text) => format!("{text:.64?}"),
        None => value.kind().to_owned(),
    };
    let expected = expected.into_iter().map(str::to_owned).collect();
    Err(Misfit::new(What::Choice { expected, got }))
}

/// Compares a number with the keywords `minimum` and `maximum`.
fn bounds(value: &Value, schema: &Object<String, Schema>) -> Fit {
    let Some(number) = value.as_f64().filter(|_| !matches!(value, Value::Bool(_))) else {
        return Ok(());
    };
    let bound = |key| schema.get(key).and_then(Schema::as_f64);
    let text = match (bound("minimum"), bound("maximum")) {
        (Some(least), _) if number < least => format!("expected at least {least}, got {number}"),
        (_, Some(most)) if number > most => format!("expected at most {most}, got {number}"),
        _ => return Ok(()),
    };
    Err(Misfit::new(What::Other(text)))
}

/// Chooses between the faults of two alternatives. Returns the fault of the alternative that the
/// caller more likely meant. Faults of the same kind at the same position are merged into one, such
/// as `expected integer or map`.
fn likelier(mut a: Misfit, b: Misfit) -> Misfit {
    let same_place = a.path.len() == b.path.len()
        && a.path.iter().zip(&b.path).all(|steps| match steps {
            (Step::Key(a), Step::Key(b)) => a == b,
            (Step::Index(a), Step::Index(b)) => a == b,
            _ => false,
        });
    if same_place {
        match (&mut a.what, &b.what) {
            (What::Kind { expected, .. }, What::Kind { expected: more, .. })
            | (What::Choice { expected, .. }, What::Choice { expected: more, .. }) => {
                for word in more {
                    if !expected.contains(word) && word != "null" {
                        expected.push(word.clone());
                    }
                }
                return a;
            }
            _ => {}
        }
    }
    if b.likelihood() > a.likelihood() {
        b
    } else {
        a
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fault_of(value: Value, schema: &Schema) -> String {
        let error = <DecodeError as serde::de::Error>::custom("wrong");
        nearest(error, &value, schema, schema).to_string()
    }

    #[test]
    fn recursive_schemas_and_long_lists_end_the_search() {
        let itself = json!({"$ref": "#"});
        assert_eq!(fault_of(Value::from(1), &itself), "wrong");
        let twice = json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}], "type": "string"});
        assert_eq!(fault_of(Value::from("a"), &twice), "wrong");
        let wide = Value::List(vec![Value::from(1); MAX_COMPARISONS * 2]);
        assert_eq!(
            fault_of(wide, &json!({"items": {"type": "integer"}})),
            "wrong"
        );
    }

    #[test]
    fn tagged_values_fit_any_schema() {
        let schema = json!({"properties": {"a": {"type": "number"}}});
        let map = |value| Value::Map([("a".to_owned(), value)].into_iter().collect());
        let scalar = Value::Map(
            [("_rtype".to_owned(), Value::from("x"))]
                .into_iter()
                .collect(),
        );
        assert_eq!(fault_of(map(scalar), &schema), "wrong");
        assert_eq!(
            fault_of(map(Value::Null), &schema),
            "a: expected float, got null"
        );
    }
}
