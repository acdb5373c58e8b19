//! Writes default values as Rust expressions.

use serde_json::Value as Json;

use super::definitions::{is_three_state, only_part};
use super::member_names::{field_names, flattened_names, variants};
use super::tags::{Representation, Tagging, result_types};
use super::text::{ident, literal};
use super::writer::{Writer, literals};
use crate::keywords::is_plain;
use crate::names::pascal;
use crate::types::{Body, Choice, Integer, Keys, Struct, Type};

impl Writer<'_> {
    /// Returns the type of a parameter or field, and its default if it is `optional`. If the
    /// default is unknown or cannot be written, the type becomes an `Option` with the default
    /// `None`.
    pub(super) fn with_default(
        &mut self,
        ty: &Type,
        optional: bool,
        default: &Option<Json>,
        within: Option<usize>,
    ) -> (String, Option<String>) {
        let written = self.ty(ty, within);
        if !optional {
            return (written, None);
        }
        let default = default
            .as_ref()
            .and_then(|json| self.default(ty, json, within));
        match (&default, ty) {
            (Some(_), _) => (written, default),
            (None, Type::Optional(_)) => (written, Some("None".to_owned())),
            (None, _) => (format!("Option<{written}>"), Some("None".to_owned())),
        }
    }

    /// Returns a value as an expression inside the definition `within`. Returns `None` if the value
    /// does not fit the type or cannot be written.
    pub(super) fn default(&self, ty: &Type, json: &Json, within: Option<usize>) -> Option<String> {
        let all = |inner: &Type, items: &[Json]| -> Option<String> {
            let items: Option<Vec<_>> = items
                .iter()
                .map(|item| self.default(inner, item, None))
                .collect();
            Some(items?.join(", "))
        };
        Some(match (ty, json) {
            (Type::Optional(_), Json::Null) => "None".to_owned(),
            (Type::Optional(inner), json) => {
                format!("Some({})", self.default(inner, json, within)?)
            }
            (Type::Null, Json::Null) => "()".to_owned(),
            (Type::Bool, Json::Bool(value)) => value.to_string(),
            (Type::Integer(integer), Json::Number(number)) => {
                let value = number
                    .as_i64()
                    .map(i128::from)
                    .or(number.as_u64().map(i128::from))?;
                inside(*integer, value)?
            }
            (Type::Number | Type::Single, Json::Number(number)) => {
                format!("{:?}", number.as_f64()?)
            }
            (Type::Duration, Json::Number(number)) => {
                let seconds = number.as_f64()?;
                std::time::Duration::try_from_secs_f64(seconds).ok()?;
                format!("std::time::Duration::from_secs_f64({seconds:?})")
            }
            (Type::Number | Type::Single, Json::Object(mark)) => {
                let constant = match mark.get("$float")?.as_str()? {
                    "NaN" => "NAN",
                    "inf" => "INFINITY",
                    "-inf" => "NEG_INFINITY",
                    _ => return None,
                };
                let float = if *ty == Type::Single { "f32" } else { "f64" };
                format!("{float}::{constant}")
            }
            (Type::Literals(values), json) if values.contains(json) => {
                self.default(&literals(values), json, within)?
            }
            (Type::Text, Json::String(text)) => format!("{}.to_owned()", literal(text)),
            (Type::Any, json) => match json {
                Json::Null => "Value::Null".to_owned(),
                Json::Bool(value) => format!("Value::from({value})"),
                Json::Number(number) if number.is_i64() => format!("Value::from({number}i64)"),
                Json::Number(number) if number.is_u64() => format!("Value::from({number}u64)"),
                Json::Number(number) => format!("Value::from({:?}f64)", number.as_f64()?),
                Json::String(text) => format!("Value::from({})", literal(text)),
                Json::Array(items) => format!("Value::List(vec![{}])", all(&Type::Any, items)?),
                Json::Object(_) if !is_plain(json) => return None,
                Json::Object(map) => {
                    let entries = map.iter().map(|(key, value)| {
                        let value = self.default(&Type::Any, value, None)?;
                        Some(format!("({}.to_owned(), {value})", literal(key)))
                    });
                    let entries: Option<Vec<String>> = entries.collect();
                    format!(
                        "Value::Map(hypha_rpc::Map::from_iter([{}]))",
                        entries?.join(", ")
                    )
                }
            },
            (Type::List(inner), Json::Array(items)) => format!("vec![{}]", all(inner, items)?),
            (Type::Unique(inner), Json::Array(items)) if inner.is_ordered() => {
                let items = all(inner, items)?;
                format!("std::collections::BTreeSet::from([{items}])")
            }
            (Type::Unique(inner), Json::Array(items)) => format!("vec![{}]", all(inner, items)?),
            (Type::Fixed(inner, length), Json::Array(items)) if items.len() == *length => {
                format!("[{}]", all(inner, items)?)
            }
            (Type::Character, Json::String(text)) => {
                let mut letters = text.chars();
                match (letters.next(), letters.next()) {
                    (Some(only), None) => format!("'{}'", only.escape_unicode()),
                    _ => return None,
                }
            }
            (Type::Set(inner), Json::Array(items)) => {
                format!("hypha_rpc::Set(vec![{}])", all(inner, items)?)
            }
            (Type::Tuple(types), Json::Array(items)) if types.len() == items.len() => {
                let items = types.iter().zip(items);
                let items: Option<Vec<String>> = items
                    .map(|(ty, item)| self.default(ty, item, within))
                    .collect();
                let items = items?;
                match &items[..] {
                    [only] => format!("({only},)"),
                    items => format!("({})", items.join(", ")),
                }
            }
            (Type::Map(keys, inner), Json::Object(map)) => {
                let entries = map.iter().map(|(key, value)| {
                    let value = self.default(inner, value, None)?;
                    let key = match keys {
                        Keys::Text => format!("{}.to_owned()", literal(key)),
                        Keys::Bool => key.parse::<bool>().ok()?.to_string(),
                        Keys::Integer(integer) => inside(*integer, key.parse().ok()?)?,
                    };
                    Some(format!("({key}, {value})"))
                });
                let entries: Option<Vec<String>> = entries.collect();
                format!(
                    "std::collections::BTreeMap::from([{}])",
                    entries?.join(", ")
                )
            }
            (Type::Named(index), json) => {
                let value = self.named_default(*index, json)?;
                match self.is_boxed(within, *index) {
                    true => format!("Box::new({value})"),
                    false => value,
                }
            }
            _ => return None,
        })
    }

    fn named_default(&self, index: usize, json: &Json) -> Option<String> {
        let name = &self.names[index];
        match &self.model.types.definitions[index].body {
            Body::Alias(Type::Null) => json.is_null().then(|| name.clone()),
            Body::Alias(ty) => Some(applied(name, ty, &self.default(ty, json, Some(index))?)),
            Body::Struct(body) => self.struct_default(name, body, index, json),
            Body::Words(words) => {
                let mut taken = variants();
                let variants = words
                    .iter()
                    .map(|word| (word, taken.fresh(&pascal(&word.text))));
                let mut fitting =
                    variants.filter(|(word, _)| json.as_str() == Some(word.text.as_str()));
                fitting
                    .next()
                    .map(|(_, variant)| format!("{name}::{variant}"))
            }
            Body::Interface(_) => None,
            Body::Choice(choice) => {
                if let Some(types) = result_types(&self.model.types, index) {
                    let fits = |(name, ty): (&str, &Type)| {
                        Some(format!(
                            "{name}({})",
                            self.default(ty, json.get(name)?, None)?
                        ))
                    };
                    return ["Ok", "Err"].into_iter().zip(types).find_map(fits);
                }
                let representation = Representation::of(&self.model.types, choice);
                match &representation.tagging {
                    Tagging::Untagged => {}
                    Tagging::Internal { tag } => {
                        return self.internal_default(name, choice, index, tag, json);
                    }
                    Tagging::External | Tagging::Adjacent { .. } => {
                        return self.tagged_default(name, &representation, choice, index, json);
                    }
                }
                let variants = self.untagged_variants(choice, index).into_iter();
                variants.into_iter().find_map(|(variant, content)| {
                    let variant = format!("{name}::{variant}");
                    let types = &self.model.types;
                    if let Some(body) = representation.untagged(types, &content.ty) {
                        return self.struct_default(&variant, body, index, json);
                    }
                    let value = self.default(&content.ty, json, Some(index))?;
                    Some(match &content.ty {
                        Type::Null => variant,
                        ty => applied(&variant, ty, &value),
                    })
                })
            }
        }
    }

    /// Returns a value of an externally or adjacently tagged enum.
    fn tagged_default(
        &self,
        name: &str,
        representation: &Representation,
        choice: &Choice,
        index: usize,
        json: &Json,
    ) -> Option<String> {
        let types = &self.model.types;
        let mut taken = variants();
        let mut found = None;
        // Reserves the names of all variants in order, so that each gets the same name as in the
        // definition of the enum.
        for variant in &choice.variants {
            match (types.unnamed(&variant.ty)?, &representation.tagging) {
                (Body::Words(words), _) => {
                    for word in words {
                        let variant = taken.fresh(&pascal(&word.text));
                        if json.as_str() == Some(&word.text) {
                            found = found.or(Some(format!("{name}::{variant}")));
                        }
                    }
                }
                (Body::Struct(body), Tagging::Adjacent { tag, .. }) => {
                    let word = types.word_of(body, tag);
                    let variant = format!("{name}::{}", taken.fresh(&pascal(word)));
                    if json.get(tag).and_then(Json::as_str) != Some(word) {
                        continue;
                    }
                    let value = match body.fields.iter().find(|field| field.name != *tag) {
                        None => Some(variant),
                        Some(field) => json.get(&field.name).and_then(|content| {
                            let ty = &field.ty;
                            self.content_default(&variant, representation, ty, index, content)
                        }),
                    };
                    found = found.or(value);
                }
                (Body::Struct(body), _) => {
                    let field = body.fields.first()?;
                    let variant = format!("{name}::{}", taken.fresh(&pascal(&field.name)));
                    if let Some(content) = json.get(&field.name) {
                        let ty = &field.ty;
                        let value = match representation.is_unit(choice, ty) {
                            true => Some(variant),
                            false => {
                                self.content_default(&variant, representation, ty, index, content)
                            }
                        };
                        found = found.or(value);
                    }
                }
                _ => return None,
            }
        }
        found
    }

    /// Returns a value of a variant with content of the type `ty`.
    fn content_default(
        &self,
        variant: &str,
        representation: &Representation,
        ty: &Type,
        index: usize,
        content: &Json,
    ) -> Option<String> {
        if let Some(body) = representation.members(&self.model.types, ty) {
            return self.struct_default(variant, body, index, content);
        }
        Some(applied(
            variant,
            ty,
            &self.default(ty, content, Some(index))?,
        ))
    }

    /// Returns a value of an enum whose variants are objects with the member `tag`.
    fn internal_default(
        &self,
        name: &str,
        choice: &Choice,
        index: usize,
        tag: &str,
        json: &Json,
    ) -> Option<String> {
        let types = &self.model.types;
        let mut taken = variants();
        let mut found = None;
        for variant in &choice.variants {
            let Some(Body::Struct(body)) = types.unnamed(&variant.ty) else {
                continue;
            };
            let word = types.word_of(body, tag);
            let variant = taken.fresh(&pascal(word));
            if json.get(tag).and_then(Json::as_str) != Some(word) {
                continue;
            }
            let mut body = body.clone();
            body.fields.retain(|field| field.name != tag);
            let mut content = json.as_object()?.clone();
            content.shift_remove(tag);
            let content = Json::Object(content);
            let value = match body.base.filter(|base| self.is_all_of(&body, *base)) {
                Some(base) => self
                    .default(&Type::Named(base), &content, Some(index))
                    .map(|value| format!("{name}::{variant}({value})")),
                None if body.fields.is_empty()
                    && body.others.is_none()
                    && body.flattened.is_empty() =>
                {
                    Some(format!("{name}::{variant}"))
                }
                None if only_part(&body).is_some() => only_part(&body)
                    .and_then(|only| self.default(only, &content, Some(index)))
                    .map(|value| format!("{name}::{variant}({value})")),
                None => self.struct_default(&format!("{name}::{variant}"), &body, index, &content),
            };
            found = found.or(value);
        }
        found
    }

    fn struct_default(
        &self,
        name: &str,
        body: &Struct,
        index: usize,
        json: &Json,
    ) -> Option<String> {
        let given = json.as_object()?;
        let rest = given.iter();
        let rest = rest.filter(|(key, _)| body.fields.iter().all(|field| field.name != **key));
        let rest: serde_json::Map<String, Json> = rest
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let mut taken = self.scope(index, body);
        let names = field_names(body, &mut taken);
        let (flattened, others) = flattened_names(body, &mut taken);
        let mut fields = Vec::new();
        for (field, name) in body.fields.iter().zip(names) {
            let ident = ident(&name);
            let own = field.default.as_ref();
            let own = own.and_then(|json| self.default(&field.ty, json, Some(index)));
            // Same rule as in `with_default`.
            let is_wrapped = field.optional
                && own.is_none()
                && (!matches!(field.ty, Type::Optional(_)) || is_three_state(field));
            let value = match given.get(&field.name) {
                Some(json) if is_wrapped => {
                    format!("Some({})", self.default(&field.ty, json, Some(index))?)
                }
                Some(json) => self.default(&field.ty, json, Some(index))?,
                None if field.optional => own.unwrap_or_else(|| "None".to_owned()),
                None => return None,
            };
            fields.push(format!("{ident}: {value}"));
        }
        match (&body.flattened[..], &body.others) {
            ([], None) if rest.is_empty() => {}
            ([], Some(ty)) => {
                fields.push(format!(
                    "{others}: {}",
                    self.default(ty, &rest.into(), None)?
                ));
            }
            ([ty], None) => {
                let value = self.default(ty, &rest.into(), Some(index))?;
                fields.push(format!("{}: {value}", flattened[0]));
            }
            _ => return None,
        }
        Some(format!("{name} {{ {} }}", fields.join(", ")))
    }
}

/// Returns a value of a struct or variant whose fields have no names. The items of a tuple are
/// separate fields.
fn applied(name: &str, ty: &Type, value: &str) -> String {
    match ty {
        Type::Tuple(items) if items.len() > 1 => format!("{name}{value}"),
        _ => format!("{name}({value})"),
    }
}

/// Returns an integer as an expression, or `None` if the type cannot hold it.
fn inside(integer: Integer, value: i128) -> Option<String> {
    let (least, most) = integer.range();
    (least..=most).contains(&value).then(|| value.to_string())
}
