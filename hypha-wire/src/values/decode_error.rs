//! Defines [`DecodeError`], which describes why bytes are not the expected value, and where in the
//! value the error is.
//!
//! serde creates most error messages, and uses Rust types in them. This module rewrites the
//! messages in terms of the protocol, because the caller may be a Python program.

use std::fmt;

use serde::de;

use super::buffered::{
    self, Found, Kind, Last, PathStep, Shown, is_integer, is_integer_type, wanted_length,
};
use super::time_type::Time;

/// Maximum size of a peer's key or name in an error message, in bytes. A longer string is
/// truncated, because programs log errors and send them back to the caller.
const MAX_QUOTED: usize = 64;

/// Error returned when a received value cannot be decoded. Displays the path in the value and the
/// reason, such as `person.tags[2]: expected string, got integer`.
// The content is boxed, so that the results of the decoder stay small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    /// Steps of the path, the innermost first. Each level adds its own step while the decoder
    /// returns the error.
    path: Vec<PathStep>,
    message: String,
}

impl DecodeError {
    /// Creates an error with this reason and no path.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            path: Vec::new(),
            message: message.into(),
        }))
    }

    /// Creates the error `expected .., got ..`.
    pub(crate) fn expected(expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        Self::new(format!("expected {expected}, got {got}"))
    }

    /// Creates the error for a string that cannot be parsed as a key of the expected type.
    pub(super) fn unfit_key(expected: &str, key: &str) -> Self {
        let key = shorten(key);
        Self::expected(format_args!("{expected} as a key"), format_args!("`{key}`"))
    }

    /// Returns whether the error is in the value or key that was found.
    pub(super) fn may_be_in(&self, found: &Found) -> bool {
        let path = self.0.path.iter().rev();
        path.len() <= found.path.len() && path.zip(&found.path).all(|(ours, its)| ours == its)
    }

    /// Extends the path to the value or key that serde refused in a buffer.
    pub(super) fn found(mut self, found: Found, last: &Last) -> Self {
        if found.kind == Kind::Bytes {
            // serde describes the form of the bytes in the buffer.
            self.0.message = self.0.message.replace("got extension", "got bytes");
        }
        if let (Kind::Key, Some(Shown::Text(key))) = (found.kind, &last.shown) {
            match last.expected.as_deref() {
                Some("a boolean") => self = Self::unfit_key("`true` or `false`", key),
                Some(expected) if is_integer_type(expected) => {
                    self = match is_integer(key) {
                        // Another type of the same buffer needs the string.
                        true if fits(key, expected) => self,
                        true => Self::new(format!("{key} is out of range for {expected}")),
                        false => Self::unfit_key("an integer", key),
                    };
                }
                _ => {}
            }
        }
        self.at(found.path)
    }

    /// Adds that not all forms of the buffered value were tried.
    pub(super) fn after_attempts(mut self) -> Self {
        self.0.message += " (not all forms of the members were tried)";
        self
    }

    /// Replaces the path.
    pub(super) fn at(mut self, path: Vec<PathStep>) -> Self {
        self.0.path = path.into_iter().rev().collect();
        self
    }

    /// Adds a step to the front of the path: the member `key` of a map, or the argument `key`.
    #[must_use]
    pub fn in_key(mut self, key: &str) -> Self {
        self.0.path.push(PathStep::Key(shorten(key).into_owned()));
        self
    }

    /// Adds a step to the front of the path: the item `index` of a list.
    #[must_use]
    pub fn in_index(mut self, index: usize) -> Self {
        self.0.path.push(PathStep::Index(index));
        self
    }

    /// Returns the reason, without the path.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the path in the value, such as `person.tags[2]`. Returns an empty string if the
    /// error concerns the whole value.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = String::new();
        for step in self.0.path.iter().rev() {
            match step {
                PathStep::Key(key) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
                PathStep::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path();
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        buffered::failed(&message);
        Self::new(match &*message {
            // serde refuses to read integers of 128 bits from its buffers.
            "i128 is not supported" | "u128 is not supported" => {
                format!(
                    "{message} inside of tagged, untagged and flattened types; use 64 bits or a \
                     string"
                )
            }
            _ => message,
        })
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = expected.to_string();
        buffered::refused(unexpected, &expected);
        let kind = match Time::expected(&expected) {
            Some(time) => time.description(),
            None => expected_kind(&expected),
        };
        Self::expected(kind, unexpected_kind(unexpected))
    }

    fn invalid_value(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = expected.to_string();
        buffered::refused(unexpected, &expected);
        match unexpected {
            de::Unexpected::Unsigned(number) if is_integer_type(&expected) => {
                Self::new(format!("{number} is out of range for {expected}"))
            }
            de::Unexpected::Signed(number) if is_integer_type(&expected) => {
                Self::new(format!("{number} is out of range for {expected}"))
            }
            de::Unexpected::Str(text) => Self::expected(expected, format!("\"{}\"", shorten(text))),
            other => Self::expected(expected, other),
        }
    }

    fn invalid_length(len: usize, expected: &dyn de::Expected) -> Self {
        let expected = expected.to_string();
        buffered::refused(de::Unexpected::Seq, &expected);
        let got = format!("length {len}");
        match wanted_length(&expected) {
            Some(wanted) => Self::expected(format_args!("a list of length {wanted}"), got),
            None => Self::expected(expected, got),
        }
    }

    fn unknown_variant(variant: &str, allowed: &'static [&'static str]) -> Self {
        buffered::refused_name(variant, allowed);
        Self::new(format!(
            "unknown variant `{}`, {}",
            shorten(variant),
            choice(allowed)
        ))
    }

    fn unknown_field(field: &str, allowed: &'static [&'static str]) -> Self {
        buffered::refused_name(field, allowed);
        Self::new(format!(
            "unknown field `{}`, {}",
            shorten(field),
            choice(allowed)
        ))
    }

    fn missing_field(field: &'static str) -> Self {
        buffered::failed("");
        // Put the name of the field into the path, so that the path leads to the missing member.
        Self::new("missing").in_key(field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        buffered::failed("");
        Self::new("given twice").in_key(field)
    }
}

/// Returns whether an integer fits the integer type with the name `expected`.
fn fits(key: &str, expected: &str) -> bool {
    let (is_nonzero, name) = match expected.strip_prefix("a nonzero ") {
        Some(name) => (true, name),
        None => (false, expected),
    };
    let Ok(number) = key.parse::<i128>() else {
        return false;
    };
    let bits = name.get(1..).and_then(|bits| bits.parse().ok());
    let bits = bits.unwrap_or(usize::BITS).min(65);
    let range = match name.starts_with('i') {
        true => -(1i128 << (bits - 1))..1i128 << (bits - 1),
        false => 0..1i128 << bits,
    };
    range.contains(&number) && !(is_nonzero && number == 0)
}

/// Returns `text`, truncated at a character boundary if it has more than [`MAX_QUOTED`] bytes.
pub(crate) fn shorten(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= MAX_QUOTED {
        return text.into();
    }
    let end = (0..=MAX_QUOTED)
        .rev()
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(0);
    format!("{}…", &text[..end]).into()
}

/// Returns the part of an error message that lists the `allowed` names.
fn choice(allowed: &[&str]) -> String {
    match allowed {
        [] => "none are allowed".to_owned(),
        [only] => format!("expected `{only}`"),
        many => format!("expected one of `{}`", many.join("`, `")),
    }
}

/// Returns the protocol's name of the type that a serde visitor expects. Omits the names of Rust
/// types, which are unknown to a caller.
fn expected_kind(expected: &str) -> &str {
    let bare = ["a ", "an ", "any "]
        .iter()
        .find_map(|article| expected.strip_prefix(article))
        .unwrap_or(expected);
    match bare {
        "borrowed string" | "formatted string" => "string",
        "boolean" => "bool",
        "unit" => "null",
        "sequence" => "list",
        "ndarray representation" => "array",
        "byte array" | "borrowed byte array" | "borrowed bytes" => "bytes",
        "f32" | "f64" => "float",
        _ if is_integer_type(bare) => "integer",
        _ if bare.starts_with("struct ") => "map",
        _ if bare.starts_with("internally tagged enum ") => "map",
        _ if bare.starts_with("adjacently tagged enum ") => "map",
        _ if bare.starts_with("tuple ") || bare.starts_with("array of length ") => "list",
        _ if bare.starts_with("unit struct ") => "null",
        // The text comes from a visitor of this crate, or from a handwritten visitor.
        _ => bare,
    }
}

/// Returns the protocol's name of the value that serde found.
fn unexpected_kind(unexpected: de::Unexpected<'_>) -> String {
    match unexpected {
        de::Unexpected::Bool(_) => "bool".into(),
        de::Unexpected::Unsigned(_) | de::Unexpected::Signed(_) => "integer".into(),
        de::Unexpected::Float(_) => "float".into(),
        de::Unexpected::Str(_) | de::Unexpected::Char(_) => "string".into(),
        de::Unexpected::Bytes(_) => "bytes".into(),
        de::Unexpected::Unit | de::Unexpected::Option => "null".into(),
        de::Unexpected::Seq => "list".into(),
        de::Unexpected::Map => "map".into(),
        // The only values that the decoder presents as newtypes are extension values.
        de::Unexpected::NewtypeStruct => "extension".into(),
        other => other.to_string(),
    }
}
