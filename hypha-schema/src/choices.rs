//! Reads schemas that list alternatives beside the members of an object. In Rust, they are structs
//! with flattened enums.

use std::collections::HashSet;

use serde_json::{Map, Value as Json, json};

use crate::keywords::{plain, plain_kind};
use crate::properties::has_members;
use crate::table::table_index;
use crate::types::{Body, Type, Types};

impl Types {
    /// Returns the choices of an object that also has members beside them. The form of such a
    /// schema is that of a struct with flattened enums. Returns `None` if there are none, or if a
    /// member of a choice is also another member: then each alternative gets all members.
    pub(crate) fn choices_beside_members(&mut self, map: &Map<String, Json>) -> Option<Vec<Json>> {
        fn choice(map: &Map<String, Json>) -> Option<Json> {
            let key = ["anyOf", "oneOf"]
                .into_iter()
                .find(|key| map.contains_key(*key))?;
            Some(json!({ (key): map[key] }))
        }
        if plain_kind(map) != Some("object") {
            return None;
        }
        let target = table_index(map).and_then(|index| self.schemas.get(index));
        let target = target.and_then(Json::as_object);
        let choices = match (map.get("allOf"), choice(map)) {
            // schemars refers to an enum inside a variant with an internal tag.
            (None, None) if has_members(map) => {
                let target = target.filter(|target| plain_kind(target).is_none());
                choice(target?)?;
                vec![json!({ "$ref": map["$ref"] })]
            }
            (None, Some(choice)) => vec![choice],
            (Some(Json::Array(parts)), None) => {
                let parts = parts.iter().map(|part| part.as_object());
                let parts = parts.map(|part| choice(part.filter(|part| part.len() == 1)?));
                parts.collect::<Option<Vec<_>>>()?
            }
            _ => return None,
        };
        let is_other = |key: &str| map.get(key).is_some_and(|others| *others != false);
        let others = [
            "additionalProperties",
            "unevaluatedProperties",
            "patternProperties",
        ];
        let has_others = others.into_iter().any(is_other);
        // serde gives the members of a flattened enum also to a flattened map, unless the enum has
        // external tags.
        if has_others && !choices.iter().all(has_external_tags) {
            return None;
        }
        if choices.len() == 1 && !has_members(map) && !has_others {
            return None;
        }
        let mut known = HashSet::new();
        names_of_members(map, &mut known);
        for choice in &choices {
            let mut names = HashSet::new();
            self.names_in_choice(choice, &mut names, &mut HashSet::new())?;
            // A choice without members restricts the members beside it.
            if names.is_empty() || !names.into_iter().all(|name| known.insert(name)) {
                return None;
            }
        }
        Some(choices)
    }

    /// Collects the names of the members of all alternatives of a schema. Returns `None` if the
    /// schemas are too large.
    fn names_in_choice(
        &mut self,
        schema: &Json,
        names: &mut HashSet<String>,
        seen: &mut HashSet<usize>,
    ) -> Option<()> {
        if !self.copies.take_json(schema) {
            return None;
        }
        let mut waiting = vec![schema.clone()];
        while let Some(schema) = waiting.pop() {
            let Json::Object(map) = &schema else {
                continue;
            };
            names_of_members(map, names);
            for key in ["anyOf", "oneOf", "allOf"] {
                let alternatives = map.get(key).and_then(Json::as_array);
                waiting.extend(alternatives.into_iter().flatten().cloned());
            }
            let target = table_index(map).filter(|index| seen.insert(*index));
            if let Some(target) = target.and_then(|index| self.schemas.get(index)) {
                if !self.copies.take_json(target) {
                    return None;
                }
                waiting.push(target.clone());
            }
        }
        Some(())
    }

    /// Returns whether the schema of a definition permits null.
    pub(crate) fn accepts_null(&self, index: usize) -> bool {
        let mut seen = HashSet::new();
        let mut schema = self.schemas.get(index);
        while let Some(Json::Object(map)) = schema {
            let is_null = |schema: &Json| schema["type"].as_str().and_then(plain) == Some("null");
            let alternatives = map
                .get("anyOf")
                .or(map.get("oneOf"))
                .and_then(Json::as_array);
            if alternatives.is_some_and(|all| all.iter().any(is_null))
                || plain_kind(map) == Some("null")
            {
                return true;
            }
            if let Some(Json::Array(kinds)) = map.get("type") {
                return kinds
                    .iter()
                    .any(|kind| kind.as_str().and_then(plain) == Some("null"));
            }
            let next = table_index(map).filter(|index| seen.insert(*index));
            schema = next.and_then(|index| self.schemas.get(index));
        }
        false
    }

    /// Returns the type of one choice beside the members of a struct.
    pub(crate) fn flattened(&mut self, choice: &Json, hint: &str) -> Type {
        let mut choice = choice.clone();
        let mut is_optional = false;
        for key in ["anyOf", "oneOf"] {
            // An alternative without keywords permits values without any members of the choice.
            if let Some(Json::Array(alternatives)) = choice.get_mut(key) {
                let count = alternatives.len();
                alternatives.retain(|schema| *schema != json!({}));
                is_optional |= alternatives.len() < count;
            }
        }
        let ty = self.read(&choice, &format!("{hint}Variant"));
        if let Some(Body::Choice(_)) = self.unnamed(&ty) {
            if let Type::Named(index) = ty {
                if let Body::Choice(choice) = &mut self.definitions[index].body {
                    choice.is_flattened = true;
                }
            }
        }
        match ty {
            Type::Any => Type::Any,
            ty if is_optional => Type::Optional(Box::new(ty)),
            ty => ty,
        }
    }
}

/// Returns whether each alternative of a choice is an object with one member, which is not a tag.
fn has_external_tags(choice: &Json) -> bool {
    let alternatives = choice["oneOf"].as_array();
    let is_external = |alternative: &Json| {
        let members = alternative["properties"].as_object();
        let required = alternative["required"].as_array();
        members.is_some_and(|members| members.len() == 1)
            && members.is_some_and(|members| members.values().all(|it| it.get("const").is_none()))
            && required.is_some_and(|required| required.len() == 1)
    };
    alternatives.is_some_and(|all| all.iter().all(is_external))
}

/// Adds the names of the members that a schema lists to `names`.
fn names_of_members(map: &Map<String, Json>, names: &mut HashSet<String>) {
    let members = map.get("properties").and_then(Json::as_object);
    names.extend(members.into_iter().flatten().map(|(name, _)| name.clone()));
    let required = map.get("required").and_then(Json::as_array);
    let required = required.into_iter().flatten().filter_map(Json::as_str);
    names.extend(required.map(str::to_owned));
}
