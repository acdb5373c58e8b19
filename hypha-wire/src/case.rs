//! Converts keys to camelCase and snake_case with the rules of the Python client and server.
//!
//! The crate `heck` splits some names differently, for example names with consecutive capitals.
//! With `heck`, the keys of a service would differ between a Rust client and a Python client.

use crate::keys;
use crate::values::value::{Map, Value};

/// Target case of a conversion of service keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// camelCase: `getService`.
    Camel,
    /// snake_case: `get_service`.
    Snake,
    /// Both forms of every key. A key that is the same in both forms appears once.
    Both,
}

impl Case {
    /// Parses the option `case_conversion`, a string that contains `camel`, `snake`, or both, as in
    /// `camel+snake`. Returns `None` if the string contains neither word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Case> {
        match (text.contains("camel"), text.contains("snake")) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::Camel),
            (false, true) => Some(Self::Snake),
            (false, false) => None,
        }
    }

    /// Returns the value of the option `case_conversion` for this case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Camel => "camel",
            Self::Snake => "snake",
            Self::Both => "camel+snake",
        }
    }
}

/// Returns `name` in camelCase: `get_service` becomes `getService`.
///
/// In a name without underscores, only the first letter is changed to lower case. In a name with
/// underscores, the first part stays unchanged, and every other part is capitalized.
pub fn to_camel_case(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or("");
    if first.len() == name.len() {
        let mut chars = name.chars();
        let lowered = chars.next().into_iter().flat_map(char::to_lowercase);
        return lowered.chain(chars).collect();
    }
    let mut camel = first.to_owned();
    for part in parts {
        // Python's `str.title` capitalizes the first letter of each run of letters and changes all
        // other letters to lower case.
        let mut in_word = false;
        for c in part.chars() {
            if in_word {
                camel.extend(c.to_lowercase());
            } else {
                camel.extend(c.to_uppercase());
            }
            in_word = c.is_alphabetic();
        }
    }
    camel
}

/// Returns `name` in snake_case: `getService` becomes `get_service`.
///
/// Every capital starts a new part, so `getURL` becomes `get_u_r_l`, as in Python.
#[must_use]
pub fn to_snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if c.is_uppercase() {
            snake.push('_');
            snake.extend(c.to_lowercase());
        } else {
            snake.push(c);
        }
    }
    snake.trim_start_matches('_').to_owned()
}

/// Returns `value` with the keys of its maps converted, at every nesting level.
///
/// Maps in lists and typed values (`_rtype`) keep their keys. If a value is a function, its new key
/// also becomes its name.
pub fn convert_keys(value: Value, case: Case) -> Value {
    match value {
        Value::Map(map) => Value::Map(convert_map_keys(map, case)),
        other => other,
    }
}

/// Returns `map` with its keys converted, like [`convert_keys`].
#[must_use]
pub fn convert_map_keys(map: Map, case: Case) -> Map {
    // The keys of typed values belong to the protocol, so peers would not find a converted key.
    if map
        .get(keys::RTYPE)
        .is_some_and(|tag| tag.as_str().is_some())
    {
        return map;
    }
    let mut converted = Map::with_capacity(map.len());
    for (key, value) in map {
        // Convert each inner map only to the case of its own key, even with `Both`. Converting the
        // map to both cases would double the number of keys at each level.
        if case != Case::Snake {
            let key = to_camel_case(&key);
            let value = renamed(convert_keys(value.clone(), Case::Camel), &key);
            converted.insert(key, value);
        }
        if case != Case::Camel {
            let key = to_snake_case(&key);
            let value = renamed(convert_keys(value, Case::Snake), &key);
            converted.insert(key, value);
        }
    }
    converted
}

/// Renames `value` if it is a function. Returns any other value unchanged.
fn renamed(value: Value, name: &str) -> Value {
    match value {
        Value::Handle(handle) => Value::Handle(handle.edited(|raw| rename(raw, name))),
        Value::Map(mut map) => {
            rename(&mut map, name);
            Value::Map(map)
        }
        other => other,
    }
}

/// Sets the name of a function in its map and in its schema. Leaves other maps unchanged.
fn rename(map: &mut Map, name: &str) {
    if map.get(keys::RTYPE).and_then(Value::as_str) != Some("method") {
        return;
    }
    map.insert(keys::RNAME.to_owned(), name.into());
    if let Some(Value::Map(schema)) = map.get_mut(keys::RSCHEMA) {
        schema.insert("name".to_owned(), name.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn converted(json: serde_json::Value, case: Case) -> serde_json::Value {
        convert_keys(json.into(), case).to_json()
    }

    #[test]
    fn keys_at_every_depth_are_converted() {
        let service =
            json!({"my_id": 1, "config": {"require_context": true}, "list": [{"a_b": 1}]});
        assert_eq!(
            converted(service.clone(), Case::Camel),
            json!({"myId": 1, "config": {"requireContext": true}, "list": [{"a_b": 1}]}),
        );
        assert_eq!(
            converted(json!({"my_id": {"aB": 1}}), Case::Both),
            json!({"myId": {"aB": 1}, "my_id": {"a_b": 1}}),
        );
        for case in [Case::Camel, Case::Snake, Case::Both] {
            assert_eq!(Case::parse(case.as_str()), Some(case));
        }
        assert_eq!(Case::parse("kebab"), None);
    }

    #[test]
    fn functions_take_the_new_name() {
        let function = |name| {
            json!({
                "_rtype": "method",
                "_rmethod": "services.s.get_it",
                "_rname": name,
                "_rschema": {"name": name},
            })
        };
        assert_eq!(
            converted(json!({"get_it": function("get_it")}), Case::Camel),
            json!({"getIt": function("getIt")}),
        );
    }
}
