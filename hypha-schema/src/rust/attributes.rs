//! Writes `#[schemars(..)]` for the parts of a schema that do not follow from the Rust type.

use serde_json::Value as Json;

use super::text::literal;
use super::writer::Writer;
use crate::types::{Limits, Type};

impl Writer<'_> {
    /// Returns the attribute for a field of this type, written as `written`, if it needs one.
    pub(super) fn attribute(
        &mut self,
        ty: &Type,
        written: &str,
        limits: &Limits,
        within: Option<usize>,
    ) -> Option<String> {
        let with = self.described(ty, written, within);
        let with = with.map(|with| format!("with = {}", literal(&with)));
        attribute(with.into_iter().chain(extension(limits)).collect())
    }
}

/// Returns the attribute that adds keywords to a schema, if there are any. Arguments and results
/// need no other attribute, because the types of the keys of maps follow from signatures.
pub(super) fn extend(limits: &Limits) -> Option<String> {
    attribute(extension(limits).into_iter().collect())
}

fn attribute(keys: Vec<String>) -> Option<String> {
    (!keys.is_empty()).then(|| format!("#[schemars({})]", keys.join(", ")))
}

/// Returns the key that adds keywords to the schema.
fn extension(limits: &Limits) -> Option<String> {
    let words: Vec<String> = limits
        .iter()
        .filter_map(|(keyword, value)| Some(format!("{} = {}", literal(keyword), scalar(value)?)))
        .collect();
    (!words.is_empty()).then(|| format!("extend({})", words.join(", ")))
}

/// Returns a text, number or truth as an expression.
fn scalar(value: &Json) -> Option<String> {
    Some(match value {
        Json::String(text) => literal(text),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            // Without a suffix, a literal is an `i32`.
            (Some(number), _) if i32::try_from(number).is_err() => format!("{number}i64"),
            (None, Some(number)) => format!("{number}u64"),
            (Some(number), _) => number.to_string(),
            (None, None) => format!("{:?}", number.as_f64()?),
        },
        _ => return None,
    })
}
