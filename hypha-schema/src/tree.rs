//! Reads the `service_schema` of a service record. It contains the schemas of the members by name,
//! nested as in the service.
//!
//! The record of a service may lack some functions, because not every client publishes schemas.
//! `fetch` then adds the missing functions, which the service itself lists.

use serde_json::{Map, Value as Json};

/// Returns the members of a `service_schema`. Returns an empty map if `tree` is not an object.
pub(crate) fn members(tree: Json) -> Map<String, Json> {
    match tree {
        Json::Object(tree) => tree,
        _ => Map::new(),
    }
}

/// Adds the schema and the description of the function at `path`, unless the record already
/// contains them.
pub(crate) fn add_function(
    tree: &mut Map<String, Json>,
    path: &str,
    schema: Json,
    doc: Option<String>,
) {
    let (mut place, mut rest) = (tree, path);
    loop {
        // A dot in a path separates the names of two members, or is a part of one name.
        let known = place.contains_key(rest);
        let Some((part, after)) = rest.split_once('.').filter(|_| !known) else {
            let entry = place
                .entry(rest)
                .or_insert_with(|| Json::Object(Map::new()));
            // If the record has another kind of member with this name, the record is outdated.
            // Replace the member.
            if entry["type"] != "function" {
                *entry = serde_json::json!({ "type": "function" });
            }
            if !entry["function"].is_object() {
                entry["function"] = match schema {
                    Json::Object(_) => schema,
                    _ => serde_json::json!({ "name": rest }),
                };
            }
            let function = &mut entry["function"];
            if let (Some(doc), None | Some("")) = (doc, function["description"].as_str()) {
                function["description"] = doc.into();
            }
            return;
        };
        rest = after;
        let group = place
            .entry(part)
            .or_insert_with(|| Json::Object(Map::new()));
        match group {
            Json::Object(group) => place = group,
            // Skip a function inside a member that is not a map, such as a list, because generated
            // code could not refer to the function.
            _ => return,
        }
    }
}
