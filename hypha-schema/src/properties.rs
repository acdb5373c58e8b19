//! Lists the members that the schema of an object describes.

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};

/// A member of an object schema.
pub(crate) struct Property<'a> {
    pub(crate) name: &'a str,
    pub(crate) schema: &'a Json,
    pub(crate) required: bool,
}

/// Returns the members of an object schema in order. Includes a member that `required` contains and
/// `properties` does not.
///
/// The Python client removes every key `title` from its schemas. It thereby also removes a member
/// that is called `title` from `properties`. The order of arguments matters to callers, so this
/// function inserts the removed member at its original position.
pub(crate) fn properties(object: &Map<String, Json>) -> Vec<Property<'_>> {
    const ANY: &Json = &Json::Bool(true);
    let names = object.get("required").and_then(Json::as_array);
    let names = names
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .enumerate();
    // Use an `IndexMap`, because the order of the names matters. Lookups in a list would take
    // quadratic time.
    let places: IndexMap<&str, usize> = names.map(|(place, name)| (name, place)).collect();
    let given = object.get("properties").and_then(Json::as_object);
    let is_given = |name: &str| given.is_some_and(|given| given.contains_key(name));
    let lost = places.iter().filter(|(name, _)| !is_given(name));
    let mut lost = lost.map(|(name, place)| (*name, *place)).peekable();
    let mut properties = Vec::new();
    for (name, schema) in given.into_iter().flatten() {
        let place = places.get(name.as_str()).copied();
        // First, insert the removed members that originally came before this member. If this member
        // is optional, all required members came before it.
        while let Some((name, _)) =
            lost.next_if(|(_, lost)| place.is_none_or(|place| *lost < place))
        {
            properties.push(Property {
                name,
                schema: ANY,
                required: true,
            });
        }
        properties.push(Property {
            name,
            schema,
            required: place.is_some(),
        });
    }
    properties.extend(lost.map(|(name, _)| Property {
        name,
        schema: ANY,
        required: true,
    }));
    properties
}

/// Returns the schema of a map's values, if any key is allowed.
pub(crate) fn values(map: &Map<String, Json>) -> Option<&Json> {
    let patterns = map.get("patternProperties").and_then(Json::as_object);
    match (patterns, map.get("additionalProperties")) {
        (None, others) => others,
        // The keys must match a pattern, such as the pattern of integers. The type of the values is
        // known.
        (Some(patterns), Some(Json::Bool(false))) if patterns.len() == 1 => {
            patterns.values().next()
        }
        _ => None,
    }
}

/// Returns whether the schema lists members in `properties`.
pub(crate) fn has_members(map: &Map<String, Json>) -> bool {
    let some = |properties: &Map<String, Json>| !properties.is_empty();
    map.get("properties")
        .and_then(Json::as_object)
        .is_some_and(some)
}
