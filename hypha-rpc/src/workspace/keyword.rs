//! Types for arguments that are one word of a fixed set, such as the permission of a token.

use std::borrow::Cow;
use std::fmt;

use hypha_wire::Case;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Permission;

/// A fixed set of words in messages. Implemented for every type that a [`Keyword`] can contain.
pub trait Words: Sized {
    /// Returns the member of the set that `text` denotes.
    fn from_word(text: &str) -> Option<Self>;

    /// Returns the word for this member.
    fn word(&self) -> &'static str;
}

/// Member of the fixed set `T`, or another string.
///
/// Decoding accepts every string. The manager can then reject an unknown word with a message that
/// lists the accepted words.
///
/// # Examples
///
/// ```
/// use hypha_rpc::workspace::{Keyword, Permission, TokenConfig};
///
/// let config = TokenConfig {
///     permission: Some(Permission::Read.into()),
///     ..TokenConfig::default()
/// };
/// assert_eq!(config.permission, Some(Keyword::Known(Permission::Read)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keyword<T> {
    /// A member of the set.
    Known(T),
    /// String that is not in the set.
    Other(String),
}

impl<T> From<T> for Keyword<T> {
    fn from(member: T) -> Self {
        Keyword::Known(member)
    }
}

impl<T: Words> From<&str> for Keyword<T> {
    /// Parses the word in a message.
    fn from(text: &str) -> Self {
        match T::from_word(text) {
            Some(member) => Keyword::Known(member),
            None => Keyword::Other(text.to_owned()),
        }
    }
}

impl<T: Words> fmt::Display for Keyword<T> {
    /// Writes the word in the form that messages contain.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Keyword::Known(member) => member.word(),
            Keyword::Other(text) => text,
        })
    }
}

impl<T: Words> Serialize for Keyword<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T: Words> Deserialize<'de> for Keyword<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Keyword::from(String::deserialize(deserializer)?.as_str()))
    }
}

/// Returns the schema of any string, because strings outside of the set can also be decoded.
impl<T> JsonSchema for Keyword<T> {
    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

impl Words for Permission {
    fn from_word(text: &str) -> Option<Self> {
        Permission::parse(text)
    }

    /// Returns a word instead of the letters that tokens contain, because the manager of the Python
    /// server accepts only words.
    fn word(&self) -> &'static str {
        match self {
            Permission::Read => "read",
            Permission::ReadWrite => "read_write",
            Permission::Admin => "admin",
        }
    }
}

impl Words for Case {
    fn from_word(text: &str) -> Option<Self> {
        Case::parse(text)
    }

    fn word(&self) -> &'static str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::super::BookmarkType;
    use super::*;

    #[test]
    fn every_string_survives_a_round_trip() {
        fn check<T: Words + PartialEq + fmt::Debug>(words: &[&str], other: &[&str]) {
            for word in words {
                let keyword = Keyword::<T>::from(*word);
                assert!(matches!(keyword, Keyword::Known(_)), "{word}");
                assert_eq!(keyword.to_string(), *word);
            }
            for text in other {
                assert_eq!(Keyword::<T>::from(*text), Keyword::Other((*text).into()));
            }
        }
        check::<Permission>(&["read", "read_write", "admin"], &["", "write", "Admin"]);
        check::<BookmarkType>(&["workspace", "service"], &["", "client"]);
        check::<Case>(&["camel", "snake", "camel+snake"], &["", "kebab"]);
        assert_eq!(Keyword::from("rw"), Keyword::Known(Permission::ReadWrite));
    }
}
