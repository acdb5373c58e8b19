//! Reads from the schema of a parameter which kinds of values the parameter takes.

use hypha_rpc::schema::KIND;
use hypha_wire::keys::SCHEMA_RETURNS;
use serde_json::{Map, Value as Json};

/// Maximum depth of references and alternatives. Schemas of services may refer to themselves.
const DEPTH_MAX: usize = 8;

/// Kind of value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Bytes,
    List,
    Map,
    /// A numeric array.
    Array,
    File,
    /// A function. The flag is true if callers expect a result of the function.
    Function {
        returns: bool,
    },
    /// Any value, or a value that is not described.
    Any,
}

impl Kind {
    pub(super) fn of(json: &Json) -> Kind {
        match json {
            Json::Null => Kind::Null,
            Json::Bool(_) => Kind::Boolean,
            Json::Number(_) => Kind::Number,
            Json::String(_) => Kind::String,
            Json::Array(_) => Kind::List,
            Json::Object(_) => Kind::Map,
        }
    }
}

/// The parameters of a method, as its schema describes them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parameters<'a> {
    properties: Option<&'a Map<String, Json>>,
    definitions: Option<&'a Json>,
}

impl<'a> Parameters<'a> {
    /// Reads the schema of a method.
    pub(crate) fn of(schema: Option<&'a Json>) -> Self {
        let parameters = schema.and_then(|schema| schema.get("parameters"));
        let member = |key: &str| parameters.and_then(|parameters| parameters.get(key));
        Parameters {
            properties: member("properties").and_then(Json::as_object),
            definitions: member("$defs"),
        }
    }

    /// Returns the names of the parameters, in the order of positional arguments.
    pub(crate) fn names(self) -> impl Iterator<Item = &'a str> {
        self.properties
            .into_iter()
            .flat_map(|all| all.keys().map(String::as_str))
    }

    /// Returns the values that a parameter takes.
    pub(super) fn takes(self, name: &str) -> Takes {
        let Some(schema) = self.properties.and_then(|all| all.get(name)) else {
            return Takes::anything();
        };
        let mut kinds = Vec::new();
        self.add(schema, DEPTH_MAX, &mut kinds);
        Takes(kinds)
    }

    /// Returns whether a parameter takes a function from which the service expects no result.
    pub(crate) fn takes_listener(self, name: &str) -> bool {
        self.takes(name).names(Kind::Function { returns: false })
    }

    /// Returns whether a parameter takes a function.
    pub(crate) fn takes_function(self, name: &str) -> bool {
        let returning = Kind::Function { returns: true };
        self.takes_listener(name) || self.takes(name).names(returning)
    }

    fn add(self, schema: &Json, depth: usize, kinds: &mut Vec<Kind>) {
        let Some(depth) = depth.checked_sub(1) else {
            return kinds.push(Kind::Any);
        };
        let text = |key: &str| schema.get(key).and_then(Json::as_str);
        let list = |key: &str| schema.get(key).and_then(Json::as_array);
        match text(KIND) {
            Some("ndarray") => return kinds.push(Kind::Array),
            Some("file") => return kinds.push(Kind::File),
            Some("function") => {
                let returns = schema.get(SCHEMA_RETURNS).is_some_and(|returns| {
                    let mut results = Vec::new();
                    self.add(returns, depth, &mut results);
                    !Takes(results).accepts(Kind::Null)
                });
                return kinds.push(Kind::Function { returns });
            }
            _ => {}
        }
        if let Some(name) = text("$ref") {
            let name = name.strip_prefix("#/$defs/");
            return match name.and_then(|name| self.definitions?.get(name)) {
                Some(found) => self.add(found, depth, kinds),
                None => kinds.push(Kind::Any),
            };
        }
        if let Some(all) = list("anyOf").or_else(|| list("oneOf")) {
            return all.iter().for_each(|one| self.add(one, depth, kinds));
        }
        // The members of `allOf` that pydantic generates are one reference.
        if let Some([only]) = list("allOf").map(Vec::as_slice) {
            return self.add(only, depth, kinds);
        }
        let of_type = |name: &str| match name {
            "null" => Kind::Null,
            "boolean" => Kind::Boolean,
            "integer" | "number" => Kind::Number,
            "string" if text("format") == Some("binary") => Kind::Bytes,
            "string" => Kind::String,
            "array" => Kind::List,
            "object" => Kind::Map,
            _ => Kind::Any,
        };
        match schema.get("type") {
            Some(Json::String(name)) => kinds.push(of_type(name)),
            Some(Json::Array(names)) => {
                kinds.extend(names.iter().filter_map(Json::as_str).map(of_type));
            }
            _ => match (list("enum"), schema.get("const")) {
                (Some(values), _) => kinds.extend(values.iter().map(Kind::of)),
                (None, Some(value)) => kinds.push(Kind::of(value)),
                (None, None) => kinds.push(Kind::Any),
            },
        }
    }
}

/// Kinds of values that a parameter takes.
#[derive(Debug)]
pub(super) struct Takes(Vec<Kind>);

impl Takes {
    /// Returns the kinds for a parameter that is not described.
    pub(super) fn anything() -> Takes {
        Takes(vec![Kind::Any])
    }

    /// Returns whether the schema names this kind.
    pub(super) fn names(&self, kind: Kind) -> bool {
        self.0.contains(&kind)
    }

    /// Returns whether the schema allows a value of this kind.
    pub(super) fn accepts(&self, kind: Kind) -> bool {
        self.names(kind) || self.names(Kind::Any)
    }

    /// Returns whether bytes are the only form of a value that the parameter takes from a file or
    /// from the standard input.
    pub(super) fn is_bytes(&self) -> bool {
        let other = |kind: &Kind| !matches!(kind, Kind::Bytes | Kind::Null);
        self.names(Kind::Bytes) && !self.0.iter().any(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_follow_references_and_alternatives() {
        let schema = json!({"parameters": {
            "properties": {
                "name": {"$ref": "#/$defs/Name"},
                "optional": {"anyOf": [{"$ref": "#/$defs/Name"}, {"type": "null"}]},
                "described": {"allOf": [{"$ref": "#/$defs/Name"}], "description": "A name."},
                "either": {"type": ["string", "integer"]},
                "choice": {"enum": ["a", 1]},
                "raw": {"type": "string", "format": "binary", KIND: "bytes"},
                "any": true,
                "loop": {"$ref": "#/$defs/Loop"},
                "foreign": {"$ref": "other.json"},
                "listener": {KIND: "function", SCHEMA_RETURNS: {"type": "null"}},
                "unknown": {"anyOf": [{KIND: "function"}, {"type": "null"}]},
                "filter": {KIND: "function", SCHEMA_RETURNS: {"type": "boolean"}},
            },
            "$defs": {"Name": {"type": "string"}, "Loop": {"$ref": "#/$defs/Loop"}},
        }});
        let parameters = Parameters::of(Some(&schema));
        let listener = Kind::Function { returns: false };
        for (name, expected) in [
            ("name", vec![Kind::String]),
            ("optional", vec![Kind::String, Kind::Null]),
            ("described", vec![Kind::String]),
            ("either", vec![Kind::String, Kind::Number]),
            ("choice", vec![Kind::String, Kind::Number]),
            ("raw", vec![Kind::Bytes]),
            ("any", vec![Kind::Any]),
            ("loop", vec![Kind::Any]),
            ("foreign", vec![Kind::Any]),
            ("missing", vec![Kind::Any]),
            ("listener", vec![listener]),
            ("unknown", vec![listener, Kind::Null]),
            ("filter", vec![Kind::Function { returns: true }]),
        ] {
            assert_eq!(parameters.takes(name).0, expected, "{name}");
        }
        assert!(parameters.takes_listener("unknown"));
        assert!(!parameters.takes_listener("filter"));
        assert!(parameters.takes_function("filter") && !parameters.takes_function("any"));
    }
}
